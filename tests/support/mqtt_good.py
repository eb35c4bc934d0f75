"""A device that does everything right, beside others that do not: it must be answered in time."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from support.mqtt_frames import MQTT5, Frames, Packet, split

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

IN_TIME_S = 5.0
"""On a machine that others load, too; what hangs takes for ever."""
_EVERY_S = 0.02


class Talk:
    """A connection that packets are read from."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self._packets: list[Packet] = []
        self._rest = b""

    def say(self, *packets: bytes) -> None:
        """Write."""
        self.writer.write(b"".join(packets))

    async def hear(self, within_s: float = 15.0) -> Packet:
        """The next packet. ConnectionResetError: there is none, and there will be none."""
        async with asyncio.timeout(within_s):
            while not self._packets:
                data = await self.reader.read(65_536)
                if not data:
                    raise ConnectionResetError("the peer closed")
                self._packets, self._rest = split(self._rest + data)
        return self._packets.pop(0)

    async def closed(self, within_s: float = 15.0) -> list[Packet]:
        """Wait for the peer to close; what it still said."""
        said = []
        while True:
            try:
                said.append(await self.hear(within_s))
            except ConnectionError:
                return said

    def abort(self) -> None:
        """Vanish."""
        self.writer.transport.abort()


@asynccontextmanager
async def talking(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Talk]:
    """Connect to a port of this machine, and say nothing."""
    name = "localhost" if tls else None
    talk = Talk(*await asyncio.open_connection("127.0.0.1", port, ssl=tls, server_hostname=name))
    try:
        yield talk
    finally:
        talk.abort()


class Good:
    """What the device that does everything right has lived through."""

    def __init__(self) -> None:
        self.answers = 0
        self.slowest_s = 0.0

    def beyond(self, answers: int) -> bool:
        """Whether it has been answered more often than that."""
        return self.answers > answers


@asynccontextmanager
async def good_device(
    port: int,
    username: str,
    token: str,
    topic: str,
    body: bytes,
    *,
    version: int = MQTT5,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Good]:
    """Publish with QoS 1, one message after the other, while the block runs; each is answered :data:`IN_TIME_S`."""
    good, frames = Good(), Frames(version)

    async def publish(talk: Talk) -> None:
        while True:
            began = time.monotonic()
            talk.say(frames.publish(topic, body, 1, good.answers % 1000 + 1))
            assert (await talk.hear(IN_TIME_S)).kind == "PUBACK"
            good.slowest_s = max(good.slowest_s, time.monotonic() - began)
            good.answers += 1
            await asyncio.sleep(_EVERY_S)

    async with talking(port, tls) as talk:
        talk.say(frames.connect(username, token, "good"))
        assert (await talk.hear()).kind == "CONNACK"
        publishing = asyncio.create_task(publish(talk))
        try:
            yield good
        finally:
            publishing.cancel()
            await asyncio.wait((publishing,))
        if not publishing.cancelled():
            publishing.result()
        assert good.answers
