"""What is said after the login: packets are read, messages handed to the intake, and acknowledged once decided.

The hot path is :meth:`Conversation.read`: all packets of a received chunk in one loop, one submit, one write.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pulse_core.api import Ending, RawMessage, Reason, StoreUnavailable
from pulse_mqtt import wire
from pulse_mqtt.codes import FAILURE, Code
from pulse_mqtt.link import Pause
from pulse_mqtt.packets import IDENTIFIER_SHIFT, V311
from pulse_mqtt.subscriptions import grant
from pulse_mqtt.topics import Topics, prefix_of
from pulse_mqtt.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulse_mqtt.courier import Outbox
    from pulse_mqtt.dialects import Dialect
    from pulse_mqtt.door import Door
    from pulse_mqtt.link import Link
    from pulse_mqtt.packets import Connect, Goodbye, Subscribe, Unsubscribe
    from pulse_mqtt.session import Session

WINDOW_MESSAGES = 256
"""Undecided messages a connection; beyond it nothing more is read."""
WINDOW_BYTES = 1024 * 1024
"""Undecided bytes a connection, likewise."""
LONGEST_PACKET = 262_144 + 65_535 + 4
"""The largest payload that can be configured, the longest topic, and what stands around them."""
FIRST_QUOTA = 32
"""Messages that are read at once from a connection whose rate is not known yet."""
MOST_CONTROLS = 256
"""Packets other than PUBLISH that are read at once from one connection: nobody else waits for a flood of them."""
_PUBLISH = 3
_HEADS = (b"", wire.PUBACK_HEAD, wire.PUBREC_HEAD)


class Conversation:
    """One device's, on one connection, in its version of MQTT."""

    __slots__ = (
        "_door",
        "_link",
        "_quota",
        "_receive_limit",
        "_receive_maximum",
        "_replies",
        "_topics",
        "_window",
        "dialect",
        "outbox",
        "session",
        "will",
    )

    def __init__(self, link: Link, door: Door, session: Session, dialect: Dialect, connect: Connect) -> None:
        self._link = link
        self._door = door
        self._topics = Topics(session.key.device)
        self._window = Window(door.intake, self, session.unreleased, dialect.answer)
        self._quota = FIRST_QUOTA
        self._receive_maximum = connect.receive_maximum
        self._receive_limit = dialect.receive_maximum + len(session.unreleased)
        self._replies: list[bytes] = []
        self.session = session
        self.dialect = dialect
        self.will = connect.will
        """What is to be published when the connection breaks."""
        self.outbox: Outbox | None = None
        """None for as long as it has subscribed to nothing."""

    @property
    def closed(self) -> bool:
        """Whether nothing can be said any more."""
        return self._link.closed

    @property
    def undecided(self) -> int:
        """Messages without an outcome."""
        return self._window.undecided

    def send(self, data: bytes) -> None:
        """Write."""
        self._link.send(data)

    def resume(self) -> None:
        """The session goes on with its subscriptions: send what is open for them."""
        if self.session.subscriptions:
            self._door.courier.subscribed(self, self._receive_maximum)

    def drain(self) -> None:
        """Wait for outcomes, but for no room any more."""
        self._window.drain()

    def close(self) -> None:
        """Nobody is left to acknowledge to."""
        if undecided := self._window.close():
            self.session.settling = [*self.session.settling, *undecided]

    # What the window says

    def decided(self, acknowledgements: bytes) -> None:
        """Messages up to here are decided."""
        link, window = self._link, self._window
        if link.closed:
            return
        if acknowledgements:
            link.transport.write(acknowledgements)
        if window.undecided < WINDOW_MESSAGES and window.undecided_bytes < WINDOW_BYTES:
            link.resume(Pause.WINDOW)
        if not window.undecided:
            link.answered()

    def waiting(self, waits: bool) -> None:
        """The intake has no room, or has it again."""
        if waits:
            self._link.pause(Pause.ROOM)
        else:
            self._link.resume(Pause.ROOM)

    def failed(self, error: BaseException) -> None:
        """The intake raised: nothing of this connection can be acknowledged any more."""
        self._link.failed(error)

    # Reading

    def read(self, data: bytes, pos: int) -> int:
        """Read packets from ``pos`` on while there is room for their messages; return where the rest begins."""
        link, topics, window = self._link, self._topics, self._window
        size, start, source = len(data), pos, self._door.source
        device, known = self.session.key.device, topics.known
        tenant_id, device_id = device.tenant_id, device.device_id
        unreleased, read_publish = window.unreleased, self.dialect.read_publish
        room = min(WINDOW_MESSAGES - window.undecided, self._quota)
        now_us, padded = time.time_ns() // 1000, self.dialect.version == V311
        messages: list[RawMessage] = []
        acks: list[bytes] = []
        controls = 0
        try:
            while pos < size and len(messages) < room and not link.paused:
                header = wire.read_header(data, pos, LONGEST_PACKET, padded)
                if header is None or header[2] > size:
                    link.needed = header[2] - pos if header else 0
                    break
                first, body, end = header
                if first >> 4 != _PUBLISH:
                    self._control(first, data[body:end])
                    pos = end
                    if (controls := controls + 1) == MOST_CONTROLS:
                        link.take_turns()
                    continue
                topic, qos, packet_id, payload = read_publish(data, first, body, end)
                msg_type, refused = known.get(topic) or self._judge(topics, topic)
                if qos == 2 and packet_id in unreleased:  # noqa: PLR2004 - exactly once
                    self._submit(messages, acks, pos - start)
                    messages, acks, start, pos = [], [], end, end
                    window.owe(wire.PUBREC_HEAD + packet_id)
                    continue
                if qos == 2:  # noqa: PLR2004 - as above
                    unreleased.add(packet_id)
                messages.append(
                    RawMessage(tenant_id, device_id, msg_type, payload, now_us, source, True, None, qos > 0, refused)
                )
                acks.append(_HEADS[qos] + packet_id)
                pos = end
        finally:
            self._submit(messages, acks, pos - start)
        if window.undecided + len(unreleased) > self._receive_limit:
            self._check_quota()
        return pos

    def reply(self) -> None:
        """Write the answers that need no commit."""
        if self._replies:
            self.send(b"".join(self._replies))
            self._replies.clear()

    def _submit(self, messages: list[RawMessage], acks: list[bytes], size: int) -> None:
        if not messages:
            return
        window = self._window
        window.submit(messages, acks, size)
        if window.undecided >= WINDOW_MESSAGES or window.undecided_bytes >= WINDOW_BYTES:
            self._link.pause(Pause.WINDOW)
        if charged := len(acks) - acks.count(b""):
            self._pace(charged)

    def _check_quota(self) -> None:
        """4.9 of MQTT 5: messages of QoS 1 and 2 without an answer are counted; MQTT 3.1.1 only has our own bound."""
        if self._window.owed() + len(self._window.unreleased) > self._receive_limit:
            raise wire.PacketError("more messages at once than the receive maximum", Code.RECEIVE_MAXIMUM_EXCEEDED)

    def _pace(self, count: int) -> None:
        """Charge messages that may wait. Where the limit bites, about a second's worth is read at a time."""
        link = self._link
        pause_s = self._door.intake.pace(self.session.key.device, count)
        if pause_s > 0:
            self._quota = max(1, min(WINDOW_MESSAGES, int(count / pause_s)))
            link.pause(Pause.PACE)
            link.after("pace", pause_s, lambda: link.resume(Pause.PACE))
        elif self._quota < WINDOW_MESSAGES:
            self._quota *= 2

    def _judge(self, topics: Topics, topic: bytes) -> tuple[str, Reason | None]:
        """Any topic for the first time. MQTT 3.1.1 has no other answer to a foreign one than the door (3.3.5 there)."""
        msg_type, refused, own = topics.judge(topic)
        if not own:
            self._door.log.info("mqtt.foreign_topic", device=str(self.session.key.device), topic=msg_type)
            if self.dialect.version == V311:
                self._link.bow_out(Ending.PROTOCOL_ERROR)
        return msg_type, refused

    def _control(self, first: int, body: bytes) -> None:
        """Any packet but PUBLISH."""
        dialect = self.dialect
        if first == wire.PINGREQ and not body:
            self._replies.append(wire.PINGRESP)
        elif first == wire.PUBACK:
            packet_id, code = dialect.read_acknowledgement(first, body)
            self._door.courier.acknowledged(self, int.from_bytes(packet_id, "big"), code)
        elif first == wire.PUBREL:
            self._release(dialect.read_acknowledgement(first, body)[0])
        elif first == wire.SUBSCRIBE:
            self._subscribe(dialect.read_subscribe(body))
        elif first == wire.UNSUBSCRIBE:
            self._unsubscribe(dialect.read_unsubscribe(body))
        elif first == wire.DISCONNECT:
            self._take_leave(dialect.read_disconnect(body))
        elif first in (wire.PUBREC, wire.PUBCOMP):
            dialect.read_acknowledgement(first, body)  # of nothing: what we send is never of QoS 2
        else:
            raise wire.PacketError(f"a packet that begins with 0x{first:02x}", wire.code_of(first))

    def _release(self, packet_id: bytes) -> None:
        known = packet_id in self._window.unreleased
        self._window.unreleased.discard(packet_id)
        self._replies.append(self.dialect.released(packet_id, known=known))

    def _take_leave(self, goodbye: Goodbye) -> None:
        """3.14.4. A will is dropped when nothing is wrong."""
        session = self.session
        if goodbye.expiry_s is not None:
            if goodbye.expiry_s and not session.stored:
                raise wire.PacketError("a session expiry that CONNECT ruled out", Code.PROTOCOL_ERROR)
            session.expiry_s = min(goodbye.expiry_s, self._door.config.longest_session_s)
        if not goodbye.code:
            self.will = None
        self._link.bow_out(Ending.CLIENT_CLOSED)

    # Subscriptions

    def _subscribe(self, subscribe: Subscribe) -> None:
        prefix, wanted = prefix_of(self.session.key.device), dict(self.session.subscriptions)
        codes = []
        for topic_filter, options in subscribe.filters:
            code = grant(prefix, topic_filter, options, wanted)
            if code < FAILURE:
                wanted[topic_filter] = code | subscribe.identifier << IDENTIFIER_SHIFT
            codes.append(code)
        self._change_to(wanted, subscribe.packet_id, self.dialect.subscribed, codes)

    def _unsubscribe(self, unsubscribe: Unsubscribe) -> None:
        wanted = dict(self.session.subscriptions)
        none = Code.NO_SUBSCRIPTION_EXISTED
        codes = [none if wanted.pop(one, None) is None else Code.SUCCESS for one in unsubscribe.filters]
        self._change_to(wanted, unsubscribe.packet_id, self.dialect.unsubscribed, list(codes))

    def _change_to(
        self, wanted: dict[str, int], packet_id: bytes, answer: Callable[[bytes, list[int]], bytes], codes: list[int]
    ) -> None:
        """Answer, after the commit where the session is to outlive the connection; then send what is open.

        It counts as one message against the device's rate limit.
        """
        self._pace(1)
        self._link.take_turns()
        if self.session.stored:
            self.reply()
            self._link.do(Pause.SESSION, self._store(wanted, packet_id, answer, codes))
        else:
            self.session.subscriptions = wanted
            self._replies.append(answer(packet_id, codes))
            self._door.courier.subscribed(self, self._receive_maximum)

    async def _store(
        self, wanted: dict[str, int], packet_id: bytes, answer: Callable[[bytes, list[int]], bytes], codes: list[int]
    ) -> None:
        session = self.session
        try:
            await self._door.intake.save_session(session.key.device, session.key.client_id, wanted)
        except StoreUnavailable:
            codes = [max(code, Code.IMPLEMENTATION_SPECIFIC_ERROR) for code in codes]
        else:
            session.subscriptions = wanted
        if said := answer(packet_id, codes):
            self.send(said)
            self._door.courier.subscribed(self, self._receive_maximum)
        else:
            self._link.close("subscriptions cannot be stored", Ending.SERVER_ERROR)
