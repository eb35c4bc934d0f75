"""A device's side of MQTT 5 in tests. Every answer is also read by ``mqtt5``, a strict reader by another hand."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import mqtt5
from msgspec import Struct

from support import mqtt5_packets as say
from support.mqtt5_packets import BINARIES, BYTES, TEXTS, Prop, Value
from support.mqtt311 import Client, connected

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.mqtt5_packets import Property

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 2, 3, 4, 5, 6, 7
SUBACK, UNSUBACK, PINGRESP, DISCONNECT, AUTH = 9, 11, 13, 14, 15
_ACKNOWLEDGEMENTS = (PUBACK, PUBREC, PUBREL, PUBCOMP)
_PATIENCE = 6
"""A command of FakeIntake's is there before the second PINGRESP."""


class Answer(Struct, frozen=True):
    """A packet of the listener's."""

    raw: bytes
    kind: int
    flags: int
    """The lowest four bits of the first byte."""
    packet_id: int = 0
    codes: tuple[int, ...] = ()
    session_present: bool = False
    topic: str = ""
    payload: bytes = b""
    properties: tuple[tuple[int, Value], ...] = ()

    @property
    def code(self) -> int:
        """The one reason code."""
        (code,) = self.codes
        return code

    @property
    def summary(self) -> tuple[int, int, int]:
        """Kind, packet id, reason code."""
        return self.kind, self.packet_id, self.code

    def all(self, ident: int) -> list[Value]:
        """Every value of a property."""
        return [value for name, value in self.properties if name == ident]

    def get(self, ident: int) -> Value | None:
        """A property's value; None when it is not there. AssertionError when it is there twice."""
        values = self.all(ident)
        if len(values) > 1:
            raise AssertionError(f"{Prop(ident).name} twice")
        return values[0] if values else None


class _Bytes:
    def __init__(self, raw: bytes) -> None:
        self.left = raw

    def take(self, count: int) -> bytes:
        assert count <= len(self.left), "a packet that ends too early"
        part, self.left = self.left[:count], self.left[count:]
        return part

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def varint(self) -> int:
        value = shift = 0
        while True:
            digit = self.number(1)
            value |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                assert digit or shift == 7, "longer than it need be"
                return value

    def text(self) -> str:
        return self.take(self.number(2)).decode()

    def value(self, ident: int) -> Value:
        if ident in BYTES:
            return self.number(BYTES[ident])
        if ident in TEXTS:
            return self.text()
        if ident in BINARIES:
            return self.take(self.number(2))
        return self.varint() if ident == Prop.SUBSCRIPTION_ID else (self.text(), self.text())

    def properties(self) -> tuple[tuple[int, Value], ...]:
        block = _Bytes(self.take(self.varint()))
        found = []
        while block.left:
            ident = Prop(block.number(1))
            found.append((int(ident), block.value(ident)))
        return tuple(found)


def read_answer(raw: bytes) -> Answer:
    """Read one whole packet. AssertionError for anything that is none, or that ``mqtt5`` reads otherwise."""
    body = _Bytes(raw[1:])
    assert body.varint() == len(body.left)
    judged, read_to = mqtt5.read(memoryview(raw))
    assert read_to == len(raw), judged
    kind, flags = raw[0] >> 4, raw[0] & 15
    assert kind == PUBLISH or not flags
    answer = _READERS[kind](raw, kind, flags, body)
    assert not body.left
    return answer


def _connack(raw: bytes, kind: int, flags: int, body: _Bytes) -> Answer:
    acknowledged, code = body.number(1), body.number(1)
    assert acknowledged in (0, 1)
    return Answer(raw, kind, flags, 0, (code,), bool(acknowledged), properties=body.properties())


def _publish(raw: bytes, kind: int, flags: int, body: _Bytes) -> Answer:
    topic = body.text()
    packet_id = body.number(2) if flags & 6 else 0
    properties = body.properties()
    return Answer(raw, kind, flags, packet_id, topic=topic, payload=body.take(len(body.left)), properties=properties)


def _acknowledgement(raw: bytes, kind: int, flags: int, body: _Bytes) -> Answer:
    packet_id = body.number(2)
    code = body.number(1) if body.left else 0
    return Answer(raw, kind, flags, packet_id, (code,), properties=body.properties() if body.left else ())


def _of_filters(raw: bytes, kind: int, flags: int, body: _Bytes) -> Answer:
    packet_id, properties = body.number(2), body.properties()
    return Answer(raw, kind, flags, packet_id, tuple(body.take(len(body.left))), properties=properties)


def _last_word(raw: bytes, kind: int, flags: int, body: _Bytes) -> Answer:
    code = body.number(1) if body.left else 0
    return Answer(raw, kind, flags, 0, (code,), properties=body.properties() if body.left else ())


def _pingresp(raw: bytes, kind: int, flags: int, body: _Bytes) -> Answer:
    return Answer(raw, kind, flags)


_READERS = {
    CONNACK: _connack,
    PUBLISH: _publish,
    **dict.fromkeys(_ACKNOWLEDGEMENTS, _acknowledgement),
    SUBACK: _of_filters,
    UNSUBACK: _of_filters,
    PINGRESP: _pingresp,
    DISCONNECT: _last_word,
    AUTH: _last_word,
}


def read_answers(raw: bytes) -> list[Answer]:
    """Read all packets of what was said."""
    answers = []
    while raw:
        size = _Bytes(raw[1:])
        count = size.varint()
        end = len(raw) - len(size.left) + count
        answers.append(read_answer(raw[:end]))
        raw = raw[end:]
    return answers


class Device5:
    """A connection of MQTT 5 that has been made, logged in or not."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.connack: Answer | None = None

    def write(self, *packets: bytes) -> None:
        """Send packets, or anything."""
        if packets:
            self._client.write(b"".join(packets))

    async def answer(self, within_s: float = 15.0) -> Answer:
        """The next packet; ConnectionError when there is none any more."""
        return read_answer(await self._client.read(within_s))

    async def answers(self, count: int) -> list[Answer]:
        """The next packets."""
        return [await self.answer() for _ in range(count)]

    async def ask(self, *packets: bytes) -> Answer:
        """Send packets and read one answer."""
        self.write(*packets)
        return await self.answer()

    async def until_pong(self) -> list[Answer]:
        """What is said before the answer to a PINGREQ of now."""
        said = [await self.ask(say.PINGREQ)]
        while said[-1].kind != PINGRESP:
            said.append(await self.answer())
        return said[:-1]

    async def at_peace(self) -> bool:
        """Whether nothing more is said and the connection lives. What comes by way of the intake has time to come."""
        return not any([await self.until_pong() for _ in range(_PATIENCE)])

    async def silent(self) -> bool:
        """Whether nothing is said for a while, PINGRESP among it: for a device that is not read."""
        self.write(say.PINGREQ)
        return await self._client.silent(0.1)

    async def last_words(self, *packets: bytes) -> list[Answer]:
        """Send packets, if any, and wait for the listener to close; return what it still said."""
        self.write(*packets)
        return read_answers(await self.rest())

    async def rest(self) -> bytes:
        """Wait for the listener to close; return what it still said, as it came."""
        return await self._client.closed()

    async def leave(self, *packets: bytes) -> list[Answer]:
        """Send the last packets and say that there is no more; return what the listener still said."""
        self.write(*packets)
        self._client.writer.write_eof()
        return await self.last_words()

    def cut(self) -> None:
        """Be lost."""
        self._client.writer.transport.abort()

    async def subscribed(self, *filters: str, qos: int = 1, packet_id: int = 1, props: bytes = say.NONE) -> None:
        """Subscribe. AssertionError when that is not granted as asked."""
        said = await self.ask(say.subscribe(packet_id, *((one, qos) for one in filters), props=props))
        assert (said.kind, said.packet_id, said.codes) == (SUBACK, packet_id, (qos,) * len(filters)), said


@asynccontextmanager
async def stranger(address: str) -> AsyncIterator[Device5]:
    """Connect, and say nothing."""
    async with connected(address) as client:
        yield Device5(client)


@asynccontextmanager
async def device5(
    address: str, username: str, password: str, client_id: str = "client-1", *pairs: Property, **more: object
) -> AsyncIterator[Device5]:
    """Connect and log in; ConnectionRefusedError when that is refused. ``more`` is for the CONNECT."""
    async with stranger(address) as device:
        device.write(say.connect(username, password, client_id, *pairs, **more))  # type: ignore[arg-type]
        device.connack = await device.answer()
        if device.connack.kind != CONNACK or device.connack.code:
            raise ConnectionRefusedError(f"{device.connack}")
        yield device


async def last_words_of(address: str, *packets: bytes) -> list[Answer]:
    """What the listener says to a stranger before it closes."""
    async with asyncio.timeout(20), stranger(address) as device:
        return await device.last_words(*packets)
