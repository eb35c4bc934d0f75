"""How each version of MQTT says what the front door has to say, and hears what it listens for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from pulse_mqtt import codec5, codec311
from pulse_mqtt.codes import FAILURE, IN_311, OF_REASON, Code
from pulse_mqtt.packets import V5, V311, Goodbye
from pulse_mqtt.properties import Property
from pulse_mqtt.wire import PUBCOMP, PUBCOMP_HEAD, PacketError, packet, topic_name, with_length

if TYPE_CHECKING:
    from pulse_core.api import Outcome
    from pulse_mqtt.packets import Connect, Order, Subscribe, Unsubscribe

RECEIVE_MAXIMUM = 200
"""Messages of QoS 1 and 2 that a device may have unanswered; less than a window, so that more are noticed."""
MOST_ALIASES = 16
"""Topic aliases a connection."""
_LONGEST_REASON = 200
_LEAST_WITH_REASON = 16
_LONGEST_BEFORE_CODES = 7
"""What stands before the reason codes of a SUBACK or UNSUBACK."""


class Welcome(Struct, frozen=True, gc=False):
    """What a CONNACK says beside yes."""

    session_present: bool
    maximum_packet_size: int
    """Longest packet that we read."""
    assigned_client_id: str | None = None
    expiry_s: int | None = None
    """The session's expiry, when it is not the one asked for."""
    keepalive_s: int | None = None
    """Likewise."""


class Dialect(Protocol):
    """One connection's version of MQTT."""

    version: int
    receive_maximum: int
    """So many messages of QoS 1 and 2 may be unanswered."""

    def read_publish(self, data: bytes, first: int, body: int, end: int) -> tuple[bytes, int, bytes, bytes]:
        """Read a PUBLISH: topic as sent, QoS, packet id, payload. The hot path."""

    def read_acknowledgement(self, first: int, body: bytes) -> tuple[bytes, int]:
        """Read a PUBACK, PUBREC, PUBREL or PUBCOMP: packet id and reason code."""

    def read_subscribe(self, body: bytes) -> Subscribe:
        """Read a SUBSCRIBE."""

    def read_unsubscribe(self, body: bytes) -> Unsubscribe:
        """Read an UNSUBSCRIBE."""

    def read_disconnect(self, body: bytes) -> Goodbye:
        """Read a DISCONNECT."""

    def welcome(self, welcome: Welcome) -> bytes:
        """Write the CONNACK of a login that succeeded."""

    def answer(self, acknowledgement: bytes, outcome: Outcome) -> bytes:
        """Write what is answered to a refused message instead of ``acknowledgement``."""

    def released(self, packet_id: bytes, *, known: bool) -> bytes:
        """Write a PUBCOMP."""

    def subscribed(self, packet_id: bytes, codes: list[int]) -> bytes:
        """Write a SUBACK."""

    def unsubscribed(self, packet_id: bytes, codes: list[int]) -> bytes:
        """Write an UNSUBACK; empty where the version has none for a failure."""

    def goodbye(self, code: Code, why: str) -> bytes:
        """Write a DISCONNECT, if the version has one for servers."""

    def order(self, order: Order) -> bytes | None:
        """Write a command; None: the device does not take packets that long."""


class Dialect311:
    """MQTT 3.1.1: codes are few, and a refusal cannot be told from an acknowledgement."""

    version = V311
    receive_maximum = 1024
    read_publish = staticmethod(codec311.read_publish)
    read_subscribe = staticmethod(codec311.read_subscribe)
    read_unsubscribe = staticmethod(codec311.read_unsubscribe)
    subscribed = staticmethod(codec311.suback)

    def read_acknowledgement(self, first: int, body: bytes) -> tuple[bytes, int]:  # noqa: ARG002 - see Dialect
        """Always a success."""
        return codec311.read_acknowledgement(body), 0

    def read_disconnect(self, body: bytes) -> Goodbye:
        """Nothing but the word."""
        if body:
            raise PacketError("a DISCONNECT with bytes to spare")
        return Goodbye()

    def welcome(self, welcome: Welcome) -> bytes:
        """CONNACK."""
        return codec311.connack(0, session_present=welcome.session_present)

    def answer(self, acknowledgement: bytes, outcome: Outcome) -> bytes:  # noqa: ARG002 - see Dialect
        """A refused message is acknowledged like any other, or it would come again for ever."""
        return acknowledgement

    def released(self, packet_id: bytes, *, known: bool) -> bytes:  # noqa: ARG002 - see Dialect
        """PUBCOMP."""
        return PUBCOMP_HEAD + packet_id

    def unsubscribed(self, packet_id: bytes, codes: list[int]) -> bytes:
        """UNSUBACK, which cannot say no."""
        return codec311.unsuback(packet_id) if max(codes) < FAILURE else b""

    def goodbye(self, code: Code, why: str) -> bytes:  # noqa: ARG002 - see Dialect
        """A server has no last word in this version."""
        return b""

    def order(self, order: Order) -> bytes | None:
        """PUBLISH."""
        ident = order.packet_id.to_bytes(2, "big") if order.qos else b""
        first = 0x30 | order.repeated << 3 | order.qos << 1
        return packet(first, with_length(order.topic.encode()) + ident + order.payload)


class Dialect5:
    """MQTT 5.0, with what its CONNECT has said about packets and reasons."""

    __slots__ = ("_aliases", "_longest", "_reasons")

    version = V5
    receive_maximum = RECEIVE_MAXIMUM
    read_acknowledgement = staticmethod(codec5.read_acknowledgement)
    read_disconnect = staticmethod(codec5.read_disconnect)

    def __init__(self, connect: Connect) -> None:
        self._longest = connect.maximum_packet_size
        self._reasons = connect.wants_reasons
        self._aliases: dict[int, bytes] | None = None

    def read_publish(self, data: bytes, first: int, body: int, end: int) -> tuple[bytes, int, bytes, bytes]:
        """3.3: with topic aliases resolved; without RETAIN, which CONNACK has ruled out."""
        topic, qos, packet_id, payload, said = codec5.read_publish(data, first, body, end)
        if first & 1:
            raise PacketError("RETAIN, which is not available", Code.RETAIN_NOT_SUPPORTED)
        if said or not topic:
            topic = self._resolved(topic, said.get(Property.TOPIC_ALIAS))
        return topic, qos, packet_id, payload

    def _resolved(self, topic: bytes, alias: int | None) -> bytes:
        """3.3.2.3.4."""
        if alias is None:
            if not topic:
                raise PacketError("a PUBLISH with neither topic nor alias", Code.PROTOCOL_ERROR)
            return topic
        if alias > MOST_ALIASES:
            raise PacketError(f"topic alias {alias}, where {MOST_ALIASES} are allowed", Code.TOPIC_ALIAS_INVALID)
        if topic:
            topic_name(topic)
            self._aliases = self._aliases or {}
            self._aliases[alias] = topic
            return topic
        known = (self._aliases or {}).get(alias)
        if known is None:
            raise PacketError("a topic alias that was never set", Code.TOPIC_ALIAS_INVALID)
        return known

    def read_subscribe(self, body: bytes) -> Subscribe:
        """3.8."""
        found = codec5.read_subscribe(body)
        self._check_answer(len(found.filters))
        return found

    def read_unsubscribe(self, body: bytes) -> Unsubscribe:
        """3.10."""
        found = codec5.read_unsubscribe(body)
        self._check_answer(len(found.filters))
        return found

    def _check_answer(self, codes: int) -> None:
        """[MQTT-3.1.2-24]: an answer has a byte a filter."""
        if self._longest is not None and codes + _LONGEST_BEFORE_CODES > self._longest:
            raise PacketError("more topic filters than this device takes an answer for", Code.QUOTA_EXCEEDED)

    def welcome(self, welcome: Welcome) -> bytes:
        """CONNACK, with what this server is and is not."""
        properties: dict[int, Any] = {
            Property.RECEIVE_MAXIMUM: RECEIVE_MAXIMUM,
            Property.RETAIN_AVAILABLE: 0,
            Property.MAXIMUM_PACKET_SIZE: welcome.maximum_packet_size,
            Property.TOPIC_ALIAS_MAXIMUM: MOST_ALIASES,
            Property.SHARED_SUBSCRIPTION_AVAILABLE: 0,
        }
        if welcome.expiry_s is not None:
            properties[Property.SESSION_EXPIRY] = welcome.expiry_s
        if welcome.assigned_client_id is not None:
            properties[Property.ASSIGNED_CLIENT_IDENTIFIER] = welcome.assigned_client_id
        if welcome.keepalive_s is not None:
            properties[Property.SERVER_KEEP_ALIVE] = welcome.keepalive_s
        return codec5.connack(0, properties, session_present=welcome.session_present)

    def answer(self, acknowledgement: bytes, outcome: Outcome) -> bytes:
        """PUBACK or PUBREC with the reason for people."""
        code = OF_REASON[outcome.reason] if outcome.reason else Code.UNSPECIFIED_ERROR
        why = f"{outcome.reason}: {outcome.detail}" if outcome.detail else str(outcome.reason or "")
        return codec5.acknowledgement(acknowledgement[0], acknowledgement[2:4], code, self._told(why))

    def released(self, packet_id: bytes, *, known: bool) -> bytes:
        """PUBCOMP; an unknown id is no error (3.6.2.1)."""
        if known:
            return PUBCOMP_HEAD + packet_id
        return codec5.acknowledgement(PUBCOMP, packet_id, Code.PACKET_IDENTIFIER_NOT_FOUND, "")

    def subscribed(self, packet_id: bytes, codes: list[int]) -> bytes:
        """SUBACK."""
        return codec5.suback(0x90, packet_id, codes)

    def unsubscribed(self, packet_id: bytes, codes: list[int]) -> bytes:
        """UNSUBACK."""
        return codec5.suback(0xB0, packet_id, codes)

    def goodbye(self, code: Code, why: str) -> bytes:
        """DISCONNECT."""
        return codec5.disconnect(code, self._told(why))

    def order(self, order: Order) -> bytes | None:
        """PUBLISH; [MQTT-3.1.2-24]: none that is too long."""
        written = codec5.publish(order)
        return None if self._longest is not None and len(written) > self._longest else written

    def _told(self, why: str) -> str:
        """A reason string, unless it is not wanted (3.1.2.11.7) or might not fit (3.1.2.11.4)."""
        if not self._reasons:
            return ""
        why = why[:_LONGEST_REASON].replace("\0", "\ufffd").encode("utf-8", "replace").decode()
        return why if _fits(why, self._longest) else ""


def _fits(why: str, longest: int | None) -> bool:
    """Whether there is a reason string, and room for it."""
    return bool(why) and (longest is None or len(why.encode()) + _LEAST_WITH_REASON <= longest)


def dialect_of(connect: Connect) -> Dialect:
    """Speak as the device does."""
    return Dialect5(connect) if connect.version == V5 else _DIALECT_311


def refusal(version: int, code: Code, why: str, longest: int | None = None) -> bytes:
    """Write the CONNACK of a login that is refused; nothing where the version has no code for it.

    :param longest: the peer's maximum packet size, as far as it is known.
    """
    if version == V5:
        told = codec5.connack(code, {Property.REASON_STRING: why[:_LONGEST_REASON]} if _fits(why, longest) else {})
        return told if longest is None or len(told) <= longest else b""
    return codec311.connack(IN_311[code]) if code in IN_311 else b""


_DIALECT_311 = Dialect311()
