"""Sends frames that are almost right to a listener, over many connections at once, and watches how it takes them.

Every connection ends with our half of it closed: the listener has to close the other half, and soon. Beside them a
device that does everything right must be answered all the time.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.mqtt311 import PINGREQ
from support.mqtt_frames import MQTT5, MQTT311, split
from support.mqtt_mutants import Corpus, cut, mutant

if TYPE_CHECKING:
    from collections.abc import Sequence

HANG_S = 5.0
"""A connection that is not closed, or a device that is not answered, so long after the last word hangs."""
_FRAMES = (1, 2, 4, 8)
"""On one connection: what follows the first wrong frame is not read any more, so that many would be a waste."""
_STRANGERS = 0.3
"""So many of the connections begin with something else than a login that is right."""
_WATCH_EVERY_S = 0.2
_READ = 65_536


@dataclass(frozen=True)
class Target:
    """Where to send it, and as whom: (tenant_id, device_id, site_id, token). The last device is the good one."""

    port: int
    devices: Sequence[tuple[str, str, str, str]]


@dataclass
class Found:
    """What came of it. Connections are named by their number: with the seed that is all it takes to send one again."""

    seed: int
    frames: int = 0
    connections: int = 0
    seconds: float = 0.0
    slowest_close_s: float = 0.0
    slowest_answer_s: float = 0.0
    hangs: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    """Connections that could not be made: nobody listens any more."""
    garbled: list[int] = field(default_factory=list)
    """Connections on which something else than packets of a server came."""

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.frames:,} frames over {self.connections:,} connections in {self.seconds:.0f} s; "
            f"hangs {self.hangs[:5]}, not connected {self.refused[:5]}, garbled answers {self.garbled[:5]}; "
            f"slowest close {self.slowest_close_s:.2f} s, slowest answer beside {self.slowest_answer_s:.2f} s"
        )


class Fuzzer:
    """One run of so many frames, ``at_once`` connections at a time."""

    def __init__(self, target: Target, *, seed: int, frames: int, at_once: int = 16) -> None:
        self._target = target
        self._seed = seed
        self._frames = frames
        self._at_once = at_once
        self.found = Found(seed)
        self._corpora = [
            Corpus(version, f"{tenant}/{device}", token, f"tenant/{tenant}/device/{device}/", _body(site))
            for version in (MQTT311, MQTT5)
            for tenant, device, site, token in target.devices[:-1]
        ]

    async def run(self) -> Found:
        """Send all of them."""
        began = time.monotonic()
        watching = asyncio.create_task(self._watch())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._at_once):
                    group.create_task(self._work())
        finally:
            watching.cancel()
            await asyncio.wait((watching,))
        if not watching.cancelled() and (error := watching.exception()) is not None:
            raise error
        self.found.seconds = time.monotonic() - began
        return self.found

    def frames_of(self, number: int) -> tuple[random.Random, list[bytes]]:
        """What the connection of this number says."""
        chance = random.Random(f"{self._seed} {number}")
        corpus = chance.choice(self._corpora)
        login = corpus.login(chance)
        first = mutant(chance, corpus, login) if chance.random() < _STRANGERS else login
        return chance, [
            first,
            *(mutant(chance, corpus, corpus.any(chance)) for _ in range(chance.choice(_FRAMES))),
        ]

    async def _work(self) -> None:
        while self.found.frames < self._frames:
            number = self.found.connections
            self.found.connections += 1
            chance, frames = self.frames_of(number)
            self.found.frames += len(frames)
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self._target.port)
            except OSError:
                self.found.refused.append(number)
                await asyncio.sleep(0.1)
                continue
            try:
                await self._converse(number, cut(chance, b"".join(frames)), reader, writer)
            finally:
                writer.transport.abort()

    async def _converse(
        self, number: int, pieces: Sequence[bytes], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        with suppress(OSError, RuntimeError):  # closed, or reset, before all is said
            for piece in pieces:
                writer.write(piece)
                await asyncio.sleep(0)
            writer.write_eof()
        said, ended = b"", time.monotonic()
        try:
            async with asyncio.timeout(HANG_S):
                with suppress(OSError):
                    while more := await reader.read(_READ):
                        said += more
        except TimeoutError:
            self.found.hangs.append(number)
        self.found.slowest_close_s = max(self.found.slowest_close_s, time.monotonic() - ended)
        try:
            split(said)
        except ValueError:
            self.found.garbled.append(number)

    async def _watch(self) -> None:
        """The device that behaves: logs in once, is answered all the time."""
        tenant, device, _, token = self._target.devices[-1]
        reader, writer = await asyncio.open_connection("127.0.0.1", self._target.port)
        frames = Corpus(MQTT5, f"{tenant}/{device}", token, "", b"").frames
        writer.write(frames.connect(f"{tenant}/{device}", token, "good"))
        assert (await reader.readexactly(1))[0] == 0x20
        await reader.readexactly((await reader.readexactly(1))[0])
        try:
            while True:
                began = time.monotonic()
                writer.write(PINGREQ)
                async with asyncio.timeout(HANG_S):
                    assert await reader.readexactly(2) == b"\xd0\x00"
                self.found.slowest_answer_s = max(self.found.slowest_answer_s, time.monotonic() - began)
                await asyncio.sleep(_WATCH_EVERY_S)
        finally:
            writer.transport.abort()


def _body(site: str) -> bytes:
    return b'{"site_id":"%b","metrics":{"temp_c":21.5,"n":3,"ok":true,"s":"text"}}' % site.encode()
