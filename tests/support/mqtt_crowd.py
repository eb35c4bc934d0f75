"""Many devices in one process: that wait for commands, or log in all the time."""

from __future__ import annotations

import asyncio
import resource
import time
from typing import TYPE_CHECKING, cast

from support.mqtt_frames import Frames, Packet, split

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from support.product import Device

_AT_ONCE = 200
_WITHIN_S = 60.0
_PATIENCE_S = 10.0
_TICK_S = 0.005


def allow_files(count: int) -> None:
    """Let this process, and those that it starts from now on, have so many files open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard >= count, f"ulimit -Hn is {hard}, and {count} are needed"
    if soft < count:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Waiting(asyncio.Protocol):
    """A device that is logged in, and has subscribed to its commands. ``told`` gets those; they are acknowledged."""

    def __init__(self, device: Device, version: int, told: Callable[[bytes], None] | None = None) -> None:
        tenant, name, _, token = device
        self._frames = Frames(version)
        self._commands = f"tenant/{tenant}/device/{name}/cmd/#"
        self._login = self._frames.connect(f"{tenant}/{name}", token, name)
        self._told = told
        self._rest = b""
        self._transport: asyncio.Transport | None = None
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._login)

    def data_received(self, data: bytes) -> None:
        packets, self._rest = split(self._rest + data)
        for each in packets:
            self._take(each)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionResetError("the peer closed"))

    def close(self) -> None:
        """Vanish."""
        if self._transport is not None:
            self._transport.abort()

    def _take(self, answer: Packet) -> None:
        assert self._transport is not None
        if answer.kind == "CONNACK" and not answer.body[1]:
            self._transport.write(self._frames.subscribe(1, (self._commands, 1)))
        elif answer.kind == "SUBACK":
            self.ready.set_result(None)
        elif answer.kind == "PUBLISH":
            at = 2 + int.from_bytes(answer.body[:2], "big")
            self._transport.write(b"\x40\x02" + answer.body[at : at + 2])
            if self._told is not None:
                self._told(answer.body[at + 2 :])
        else:
            self._transport.abort()


async def gathered(
    port: int, devices: Sequence[Device], version: int, told: Callable[[bytes], None] | None = None
) -> list[Waiting]:
    """Log all of them in, and let them wait."""
    loop, turns = asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)

    async def one(device: Device) -> Waiting:
        async with turns, asyncio.timeout(_WITHIN_S):
            _, waiting = await loop.create_connection(lambda: Waiting(device, version, told), "127.0.0.1", port)
            await waiting.ready
            return waiting

    return await asyncio.gather(*map(one, devices))


class Logins:
    """Logs devices in and out again, so many a second, whether or not the earlier ones have their answer."""

    def __init__(self, port: int, devices: Sequence[Device], version: int) -> None:
        self._port = port
        self._frames = Frames(version)
        self._devices = devices
        self.took_s: list[float] = []
        """From the first packet of TCP to CONNACK."""
        self.failed = 0

    async def run(self, rate: float, seconds: float) -> float:
        """Do it; return how many a second were let in."""
        began, given = time.monotonic(), 0
        async with asyncio.TaskGroup() as group:
            while (now := time.monotonic()) - began < seconds:
                due = int((now - began) * rate)
                for number in range(given, due):
                    group.create_task(self._one(self._devices[number % len(self._devices)]))
                given = due
                await asyncio.sleep(_TICK_S)
        return len(self.took_s) / (time.monotonic() - began)

    async def _one(self, device: Device) -> None:
        tenant, name, _, token = device
        began = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                writer.write(self._frames.connect(f"{tenant}/{name}", token, name))
                head = await reader.readexactly(4)
        except (OSError, EOFError):
            self.failed += 1
            return
        if head[0] == 0x20 and not head[3]:
            self.took_s.append(time.monotonic() - began)
        else:
            self.failed += 1
        writer.write(self._frames.disconnect())
        writer.close()
