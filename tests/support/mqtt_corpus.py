"""Hostile byte strings for a listener, made from valid packets of MQTT 3.1.1 and 5.0, always the same ones."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from support import mqtt311 as mqtt

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 311_500
RANDOM_STRINGS = 150
LENGTHS = (
    b"\x00",
    b"\x01",
    b"\x02",
    b"\x7f",
    b"\x80\x00",
    b"\x80\x01",
    b"\xff\x7f",
    b"\x80\x80\x01",
    b"\xff\xff\x7f",
    b"\x80\x80\x80\x01",
    b"\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80",
    b"\xff\xff\xff\xff\x7f",
)
"""Remaining lengths: too short, too long, longer than they need be, of 256 MB, of five bytes."""


def packets_311(prefix: str, body: bytes) -> list[bytes]:
    """One valid packet of each kind that a client may send after login, and some in a row."""
    topic = prefix + "telemetry"
    each = [
        *(mqtt.publish(topic, body, qos, 7) for qos in (0, 1, 2)),
        mqtt.publish(prefix + "event", body, 1, 8, dup=True, retain=True),
        mqtt.puback(7),
        mqtt.pubrec(7),
        mqtt.pubrel(7),
        mqtt.pubcomp(7),
        mqtt.subscribe(9, (prefix + "cmd/#", 1), (prefix + "+", 0)),
        mqtt.unsubscribe(10, prefix + "cmd/#", prefix + "+"),
        mqtt.PINGREQ,
        mqtt.DISCONNECT,
    ]
    return [*each, mqtt.PINGREQ + mqtt.publish("a", b"", 2, 1) + mqtt.pubrel(1)]


def _publish5(topic: str, body: bytes, qos: int, properties: bytes) -> bytes:
    ident = b"\0\7" if qos else b""
    return mqtt.packet(0x30 | qos << 1, mqtt.text(topic) + ident + mqtt.length(len(properties)) + properties + body)


def packets_5(prefix: str, body: bytes) -> list[bytes]:
    """The same for MQTT 5.0, with every property that a client may send."""
    topic = prefix + "telemetry"
    said = b"\x26" + mqtt.text("key") + mqtt.text("value")
    rich = (
        *(b"\x01\x01", b"\x02\0\0\0\x3c", b"\x03" + mqtt.text("application/json"), b"\x08" + mqtt.text("reply")),
        *(b"\x09" + mqtt.text("42"), b"\x23\0\1", said),
    )
    subscribe = b"\0\x09\x02\x0b\x05" + mqtt.text(prefix + "cmd/#") + b"\x2d" + mqtt.text(prefix + "+") + b"\0"
    return [
        *(_publish5(topic, body, qos, b"") for qos in (0, 1, 2)),
        _publish5(topic, body, 1, b"".join(rich)),
        mqtt.packet(0x40, b"\0\7\x10\0"),
        mqtt.packet(0x50, b"\0\7\x80" + mqtt.length(len(said)) + said),
        mqtt.packet(0x62, b"\0\7\x92\0"),
        mqtt.packet(0x70, b"\0\7"),
        mqtt.packet(0x82, subscribe),
        mqtt.packet(0xA2, b"\0\x0a" + mqtt.length(len(said)) + said + mqtt.text(prefix + "cmd/#")),
        mqtt.packet(0xE0, b"\x04\x05\x11\0\0\0\x3c"),
        mqtt.packet(0xE0, b""),
        mqtt.packet(0xF0, b"\x18\x06\x15\0\x03abc"),
    ]


def connect_5(alias: str, token: str, client_id: str, will_topic: str = "", will: bytes = b"") -> bytes:
    """A CONNECT of MQTT 5.0; with a will, one that has every property."""
    flags, properties, last = 0xC2, b"", b""
    if will_topic:
        flags |= 0x0C
        properties = b"\x11\0\0\0\x3c\x21\0\x14\x27\0\1\0\0\x22\0\x0a\x19\1\x17\1\x26" + mqtt.text("k") + mqtt.text("v")
        of_will = b"\x18\0\0\0\1\x01\1\x02\0\0\0\x3c\x03" + mqtt.text("text/plain")
        last = mqtt.length(len(of_will)) + of_will + mqtt.text(will_topic) + mqtt.text(will)
    head = mqtt.text("MQTT") + bytes((5, flags)) + b"\0\x3c" + mqtt.length(len(properties)) + properties
    return mqtt.packet(0x10, head + mqtt.text(client_id) + last + mqtt.text(alias) + mqtt.text(token))


def hostile(valid: list[bytes]) -> Iterator[bytes]:
    """Each packet cut at every byte, with every byte changed, and with wrong lengths; then random bytes."""
    chance = random.Random(SEED)
    for packet in valid:
        yield from (packet[:end] for end in range(1, len(packet) + 1))
        for at in range(len(packet)):
            changed = packet[at] ^ chance.choice((0x01, 0x02, 0x04, 0x08, 0x10, 0x40, 0x80, 0xFF))
            yield packet[:at] + bytes([changed]) + packet[at + 1 :]
        body = packet[next(at for at, digit in enumerate(packet[1:], 2) if digit < 128) :]
        yield from (packet[:1] + wrong + body for wrong in LENGTHS)
    for _ in range(RANDOM_STRINGS):
        yield chance.randbytes(chance.choice((1, 2, 5, 30, 300)))
        first = bytes([chance.choice((0x10, 0x30, 0x32, 0x34, 0x3D, 0x62, 0x82, 0xA2, 0xE0, 0xF0))])
        yield first + mqtt.length(size := chance.choice((2, 7, 40, 200))) + chance.randbytes(size)
