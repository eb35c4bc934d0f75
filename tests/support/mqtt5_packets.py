"""MQTT 5 packets as a device writes them: small and not strict, so that tests can also say wrong things."""

from __future__ import annotations

from enum import IntEnum
from typing import TypeAlias

from support.mqtt311 import length, packet, text

__all__ = [
    "BINARIES",
    "BYTES",
    "NONE",
    "PINGREQ",
    "TEXTS",
    "Prop",
    "Property",
    "Value",
    "Will",
    "acknowledge",
    "auth",
    "block",
    "connect",
    "disconnect",
    "length",
    "packet",
    "prop",
    "properties",
    "puback",
    "pubcomp",
    "publish",
    "pubrec",
    "pubrel",
    "subscribe",
    "text",
    "unsubscribe",
]


class Prop(IntEnum):
    """Property identifiers (2.2.2.2)."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_ID = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT_ID = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTH_METHOD = 0x15
    AUTH_DATA = 0x16
    REQUEST_PROBLEM = 0x17
    WILL_DELAY = 0x18
    REQUEST_RESPONSE = 0x19
    RESPONSE_INFO = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON = 0x1F
    RECEIVE_MAX = 0x21
    ALIAS_MAX = 0x22
    ALIAS = 0x23
    MAX_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER = 0x26
    PACKET_MAX = 0x27
    WILDCARD_AVAILABLE = 0x28
    SUBSCRIPTION_ID_AVAILABLE = 0x29
    SHARED_AVAILABLE = 0x2A


BYTES = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4),
}
"""Properties that are integers of a fixed size."""
TEXTS = frozenset({0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F})
BINARIES = frozenset({0x09, 0x16})

Value: TypeAlias = "int | str | bytes | tuple[str | bytes, str | bytes]"
Property: TypeAlias = tuple[int, Value]


def prop(ident: int, value: Value) -> bytes:
    """One property. A text may be given as bytes that are none."""
    head = bytes([ident])
    if isinstance(value, tuple):
        return head + text(value[0]) + text(value[1])
    if isinstance(value, int):
        return head + (length(value) if ident == Prop.SUBSCRIPTION_ID else value.to_bytes(BYTES[ident], "big"))
    return head + text(value)


def properties(*pairs: Property) -> bytes:
    """Properties with their length."""
    return block(b"".join(prop(*pair) for pair in pairs))


def block(raw: bytes) -> bytes:
    """Anything, as if it were properties."""
    return length(len(raw)) + raw


NONE = b"\0"
"""No properties."""


class Will:
    """What is said after a device's unexpected end."""

    def __init__(
        self, topic: str | bytes, payload: bytes, qos: int = 0, *, retain: bool = False, props: bytes = NONE
    ) -> None:
        self.flags = 0x04 | qos << 3 | retain << 5
        self.fields = props + text(topic) + text(payload)


def connect(
    username: str | bytes | None,
    password: str | bytes | None,
    client_id: str | bytes = "client-1",
    *pairs: Property,
    clean: bool = True,
    keepalive_s: int = 60,
    will: Will | None = None,
    name: bytes = b"MQTT",
    level: int = 5,
    flags: int = 0,
    props: bytes | None = None,
) -> bytes:
    """A CONNECT. ``flags`` are set in addition, ``props`` are said instead of ``pairs``."""
    flags |= clean << 1 | (username is not None) << 7 | (password is not None) << 6
    if will is not None:
        flags |= will.flags
    body = text(name) + bytes([level, flags]) + keepalive_s.to_bytes(2, "big")
    body += properties(*pairs) if props is None else props
    body += text(client_id) + (will.fields if will is not None else b"")
    for secret in (username, password):
        body += text(secret) if secret is not None else b""
    return packet(0x10, body)


def publish(
    topic: str | bytes,
    payload: bytes,
    qos: int = 1,
    packet_id: int = 1,
    *pairs: Property,
    dup: bool = False,
    retain: bool = False,
    props: bytes | None = None,
) -> bytes:
    """A PUBLISH. ``props`` are said instead of ``pairs``."""
    ident = packet_id.to_bytes(2, "big") if qos else b""
    said = properties(*pairs) if props is None else props
    return packet(0x30 | dup << 3 | qos << 1 | retain, text(topic) + ident + said + payload)


def subscribe(packet_id: int, *filters: tuple[str | bytes, int], props: bytes = NONE) -> bytes:
    """A SUBSCRIBE: filters with their options, of which the lowest two bits are the QoS."""
    return packet(
        0x82, packet_id.to_bytes(2, "big") + props + b"".join(text(one) + bytes([options]) for one, options in filters)
    )


def unsubscribe(packet_id: int, *filters: str | bytes, props: bytes = NONE) -> bytes:
    """An UNSUBSCRIBE."""
    return packet(0xA2, packet_id.to_bytes(2, "big") + props + b"".join(text(one) for one in filters))


def acknowledge(first: int, packet_id: int, code: int | None = None, props: bytes | None = None) -> bytes:
    """A PUBACK (0x40), PUBREC (0x50), PUBREL (0x62) or PUBCOMP (0x70), as short as may be."""
    said = b"" if code is None else bytes([code])
    return packet(first, packet_id.to_bytes(2, "big") + said + (props or b""))


def puback(packet_id: int, code: int | None = None, props: bytes | None = None) -> bytes:
    """A PUBACK."""
    return acknowledge(0x40, packet_id, code, props)


def pubrec(packet_id: int, code: int | None = None, props: bytes | None = None) -> bytes:
    """A PUBREC."""
    return acknowledge(0x50, packet_id, code, props)


def pubrel(packet_id: int, code: int | None = None, props: bytes | None = None) -> bytes:
    """A PUBREL."""
    return acknowledge(0x62, packet_id, code, props)


def pubcomp(packet_id: int, code: int | None = None, props: bytes | None = None) -> bytes:
    """A PUBCOMP."""
    return acknowledge(0x70, packet_id, code, props)


def disconnect(code: int | None = None, *pairs: Property, props: bytes | None = None) -> bytes:
    """A DISCONNECT, as short as may be."""
    said = b"" if code is None else bytes([code])
    if pairs or props is not None:
        said += properties(*pairs) if props is None else props
    return packet(0xE0, said)


def auth(code: int | None = None, *pairs: Property) -> bytes:
    """An AUTH."""
    return packet(0xF0, b"" if code is None else bytes([code]) + properties(*pairs))


PINGREQ = b"\xc0\x00"
