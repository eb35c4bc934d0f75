"""Packets that are almost right: valid ones of both versions of MQTT, changed here and there. The same from a seed."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from support.mqtt311 import length, packet, puback, pubcomp, pubrec, pubrel
from support.mqtt_frames import MQTT5, Frames

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

_BYTES = (0x00, 0x01, 0x02, 0x7F, 0x80, 0x81, 0xC0, 0xFE, 0xFF)
_NUMBERS = (b"\0\0", b"\0\0", b"\0\x01", b"\x7f\xff", b"\xff\xff")
_LENGTHS = (
    b"\x00",
    b"\x01",
    b"\x7f",
    b"\x80\x01",
    b"\xff\xff\x03",
    b"\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff\x01",
    b"\x80",
)
_LONGEST_COPY = 64
_UNCHANGED = 0.1
_MOST_CHANGES = 3


class Corpus:
    """Valid packets of one device; ``body`` is what it publishes. ``logins`` are CONNECTs that are let in."""

    def __init__(self, version: int, username: str, token: str, prefix: str, body: bytes) -> None:
        self.frames = Frames(version)
        self._login = (username, token)
        self._prefix = prefix
        self._topic = f"{prefix}telemetry"
        self._body = body
        self.others = self._others() + (self._of_mqtt5() if version == MQTT5 else [])

    def login(self, chance: random.Random) -> bytes:
        """A CONNECT that is right."""
        return self.frames.connect(
            *self._login,
            f"fuzz-{chance.randrange(8)}",
            clean=chance.random() < 0.5,
            keepalive_s=chance.choice((0, 60)),
            expiry_s=chance.choice((0, 0, 60)),
            will=(self._topic, self._body) if chance.random() < 0.2 else None,
        )

    def publish(self, chance: random.Random) -> bytes:
        """A PUBLISH that is right."""
        qos, ident = chance.randrange(3), chance.randrange(1, 20)
        return self.frames.publish(self._topic, self._body, qos, ident, dup=bool(qos) and chance.random() < 0.2)

    def any(self, chance: random.Random) -> bytes:
        """Any packet that is right by itself."""
        kind = chance.random()
        if kind < 0.4:
            return self.publish(chance)
        return self.login(chance) if kind < 0.45 else chance.choice(self.others)

    def _others(self) -> list[bytes]:
        frames, commands = self.frames, f"{self._prefix}cmd/"
        return [
            *(acknowledgement(7) for acknowledgement in (puback, pubrec, pubrel, pubcomp)),
            frames.subscribe(3, (f"{commands}#", 1), (f"{commands}+", 2), ("tenant/#", 0)),
            frames.unsubscribe(4, f"{commands}#", "never/seen"),
            frames.publish(f"{self._prefix}event", b'{"site_id":"s-1","metrics":{"a":1}}', 1, 9, retain=True),
            frames.publish(f"{self._prefix}nothing", b"{}", 2, 11),
            frames.publish("elsewhere", b"\xff\xfe", 0),
            packet(0xC0),
            frames.disconnect(),
        ]

    def _of_mqtt5(self) -> list[bytes]:
        frames = self.frames
        said = b"\x01\x01\x02\x00\x00\x00\x3c\x03\x00\x04json\x08\x00\x03r/t\x09\x00\x02id\x26\x00\x01a\x00\x01b"
        return [
            frames.publish(self._topic, self._body, 1, 12, properties=said),
            frames.publish(self._topic, self._body, 1, 13, properties=b"\x23\x00\x01"),
            frames.publish("", self._body, 0, properties=b"\x23\x00\x01"),
            frames.subscribe(5, (f"{self._prefix}cmd/#", 0x2D), properties=b"\x0b\x07"),
            frames.subscribe(6, (f"$share/g/{self._prefix}cmd/#", 1)),
            *(packet(first, b"\x00\x07\x00\x00") for first in (0x40, 0x50, 0x62, 0x70)),
            packet(0x62, b"\x00\x07\x92\x06\x1f\x00\x03why"),
            packet(0xE0, b"\x04\x05\x11\x00\x00\x00\x3c"),
            packet(0xF0, b"\x18\x00"),
        ]


def mutant(chance: random.Random, corpus: Corpus, original: bytes) -> bytes:
    """Change a packet, a few times over; now and then not at all. Half of the changed ones have the right length."""
    if chance.random() < _UNCHANGED:
        return original
    changed = original
    for _ in range(chance.randint(1, _MOST_CHANGES)):
        changed = chance.choice(_CHANGES)(chance, changed, corpus)
    return _measured(changed) if chance.random() < 0.5 else changed


def cut(chance: random.Random, data: bytes) -> Sequence[bytes]:
    """The same bytes in pieces."""
    edges = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(chance.choice((0, 0, 1, 2, 6))))})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


def _measured(data: bytes) -> bytes:
    """Give a packet the remaining length that it has."""
    body = 1
    while body < min(len(data), 5) and data[body] & 0x80:
        body += 1
    return data[:1] + length(len(data[body + 1 :])) + data[body + 1 :] if data else data


def _flip(chance: random.Random, data: bytes, _: Corpus) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << chance.randrange(8)]) + data[at + 1 :]


def _set(chance: random.Random, data: bytes, _: Corpus) -> bytes:
    if not data:
        return data
    at = chance.randrange(len(data))
    return data[:at] + bytes([chance.choice(_BYTES)]) + data[at + 1 :]


def _number(chance: random.Random, data: bytes, _: Corpus) -> bytes:
    """Two bytes: a length, a packet id, an alias, half of a time."""
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.choice(_NUMBERS) + data[at + 2 :]


def _start(chance: random.Random, data: bytes, _: Corpus) -> bytes:
    return bytes([chance.randrange(256)]) + data[1:]


def _drop(chance: random.Random, data: bytes, _: Corpus) -> bytes:
    start, end = _slice(chance, data)
    return data[:start] + data[end:]


def _double(chance: random.Random, data: bytes, _: Corpus) -> bytes:
    start, end = _slice(chance, data)
    return data[:end] + data[start:]


def _insert(chance: random.Random, data: bytes, _: Corpus) -> bytes:
    at = chance.randrange(len(data) + 1)
    return data[:at] + chance.randbytes(chance.choice((1, 1, 2, 4, 16))) + data[at:]


def _splice(chance: random.Random, data: bytes, corpus: Corpus) -> bytes:
    other = corpus.any(chance)
    start, end = _slice(chance, other)
    at = chance.randrange(len(data) + 1)
    return data[:at] + other[start:end] + data[at:]


def _truncate(chance: random.Random, data: bytes, _: Corpus) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _lie(chance: random.Random, data: bytes, _: Corpus) -> bytes:
    """Another remaining length than it has."""
    return data[:1] + chance.choice(_LENGTHS) + data[2:]


_CHANGES: tuple[Callable[[random.Random, bytes, Corpus], bytes], ...] = (
    *(_flip, _flip, _set, _set, _number, _number, _start, _drop, _double, _insert, _splice, _truncate, _lie),
)


def _slice(chance: random.Random, data: bytes) -> tuple[int, int]:
    start = chance.randrange(len(data) + 1)
    return start, min(len(data), start + chance.randint(1, _LONGEST_COPY))
