"""Attacks on the outbound guard, run inside a network namespace of their own: ``python -m support.netns_attacks``.

There, every address of the world is local, so one listener sees every connection that escapes. Prints one JSON
object: for each attack what it raised (or "") and the addresses that were connected to.
"""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import uvloop

from pulse_core.errors import PulseError
from pulse_core.outbound import HttpClient, Outbound, names
from support.dns_stub import NXDOMAIN, SERVFAIL, SILENT, DnsStub
from support.hostile import NOT_PUBLIC, PUBLIC, UNUSUAL
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PORT = 8000
NAMES: dict[str, list[list[str] | int]] = {
    "public.test": [["8.8.8.8"]],
    "dual.test": [["8.8.8.8", "2001:4860:4860::8888"]],
    "private.test": [["10.0.0.1"]],
    "metadata.test": [["169.254.169.254"]],
    "loopback.test": [["127.0.0.1"]],
    "loopback6.test": [["::1"]],
    "mapped.test": [["::ffff:127.0.0.1"]],
    "nat64.test": [["64:ff9b::a9fe:a9fe"]],
    "mixed.test": [["8.8.8.8", "10.0.0.1"]],
    "mixed6.test": [["8.8.8.8", "::1"]],
    "mixed-order.test": [["10.0.0.1", "8.8.8.8"]],
    "rebind.test": [["8.8.8.8"], ["127.0.0.1"]],
    "rebind-raw.test": [["8.8.8.8"], ["127.0.0.1"]],
    "nowhere.test": [NXDOMAIN],
    "broken.test": [SERVFAIL],
    "empty.test": [[]],
    "silent.test": [SILENT],
    "allowed.test": [["10.1.2.3"]],
    "half-allowed.test": [["10.1.2.3", "10.2.0.1"]],
}
HOSTILE_NAMES = (
    "private.test",
    "metadata.test",
    "loopback.test",
    "loopback6.test",
    "mapped.test",
    "nat64.test",
    "mixed.test",
    "mixed6.test",
    "mixed-order.test",
    "nowhere.test",
    "broken.test",
    "empty.test",
    "silent.test",
    "PRIVATE.test",
    "private.test.",
    "localhost",
    "localhost.",
    "LOCALHOST",
)


class World:
    """Every address there is. Answers HTTP, and remembers whom somebody connected to."""

    def __init__(self) -> None:
        self.connected: list[str] = []
        self.requests = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take requests; ``/redirect/CODE`` points inside, ``/close`` ends the connection."""
        self.connected.append(writer.get_extra_info("sockname")[0])
        try:
            while request := await reader.readuntil(b"\r\n\r\n"):
                self.requests += 1
                path = request.split(b" ")[1].decode()
                status, more = "200 OK", ""
                if path.startswith("/redirect/"):
                    status = f"{path.removeprefix('/redirect/')} Over there"
                    inside = f"http://169.254.169.254:{PORT}/latest"
                    more = f"Location: {inside}\r\nRefresh: 0; url={inside}\r\nContent-Location: {inside}\r\n"
                if path == "/close":
                    more = "Connection: close\r\n"
                writer.write(f"HTTP/1.1 {status}\r\n{more}Content-Length: 0\r\n\r\n".encode())
                if path == "/close":
                    break
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def seen_by(self, attack: Callable[[], Awaitable[object]]) -> dict[str, Any]:
        """Run one attack; tell what it raised and where it got."""
        self.connected, self.requests = [], 0
        raised = ""
        try:
            async with asyncio.timeout(20):
                await attack()
        except (PulseError, OSError) as error:
            raised = type(error).__name__
        await self._settled()
        return {"raised": raised, "connected": list(self.connected), "requests": self.requests}

    async def _settled(self) -> None:
        """Let a connection that was made be counted: one of ours, made afterwards, is counted after it."""
        mark = len(self.connected)
        _, writer = await asyncio.open_connection("127.99.99.99", PORT)
        await until(lambda: "127.99.99.99" in self.connected[mark:], every_s=0.001)
        self.connected.remove("127.99.99.99")
        writer.close()


def _shell(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


async def attacks() -> dict[str, Any]:
    """Run them all."""
    names._PATIENCE_S = 1.0
    world, loop = World(), asyncio.get_running_loop()
    found: dict[str, Any] = {"loop": type(loop).__module__}
    servers = [await asyncio.start_server(world.serve, "0.0.0.0", PORT)]
    found["ipv6"] = _shell("ip", "-6", "route", "add", "local", "::/0", "dev", "lo")
    if found["ipv6"]:
        servers.append(await asyncio.start_server(world.serve, "::", PORT))
    dns = DnsStub(NAMES)
    endpoints = [await loop.create_datagram_endpoint(lambda: dns, local_addr=("0.0.0.0", 53))]
    found["trap"] = {host: await world.seen_by(partial(_unguarded, host)) for host in NOT_PUBLIC}
    await _guarded(world, dns, found)
    for transport, _ in endpoints:
        transport.close()
    for server in servers:
        server.close()
    return found


async def _guarded(world: World, dns: DnsStub, found: dict[str, Any]) -> None:
    guard = Outbound()
    hosts = [*NOT_PUBLIC, *UNUSUAL, *HOSTILE_NAMES, socket.gethostname()]
    async with HttpClient(guard, allow_plain_http=True) as http:
        for host in hosts:
            found.setdefault("http", {})[host] = await world.seen_by(
                partial(http.get, f"http://{_in_url(host)}:{PORT}/", timeout_s=5)
            )
            found.setdefault("https", {})[host] = await world.seen_by(
                partial(http.get, f"https://{_in_url(host)}:{PORT}/", timeout_s=5)
            )
            found.setdefault("connect", {})[host] = await world.seen_by(partial(_connect, guard, host))
            found.setdefault("socket", {})[host] = await world.seen_by(partial(_socket, guard, host))
        for host in [*PUBLIC, "public.test", "dual.test"]:
            found.setdefault("control", {})[host] = [
                await world.seen_by(partial(http.get, f"http://{_in_url(host)}:{PORT}/")),
                await world.seen_by(partial(_connect, guard, host)),
            ]
        for code in (301, 302, 303, 307, 308):
            found.setdefault("redirect", {})[str(code)] = await world.seen_by(
                partial(http.post, f"http://8.8.4.4:{PORT}/redirect/{code}", content=b"x")
            )
    async with HttpClient(guard, allow_plain_http=True) as http:
        url = f"http://rebind.test:{PORT}"
        found["rebind"] = [await world.seen_by(partial(http.get, url + path)) for path in ("/", "/close", "/")]
        found["rebind asked"] = dns.asked.get("rebind.test")
    found["rebind raw"] = await world.seen_by(partial(_connect, guard, "rebind-raw.test"))
    found["rebind raw asked"] = dns.asked.get("rebind-raw.test")
    allowing = Outbound(["10.1.0.0/16"])
    for host in ("10.1.2.3", "allowed.test", "10.2.0.1", "half-allowed.test", "127.0.0.1"):
        found.setdefault("allow", {})[host] = await world.seen_by(partial(_connect, allowing, host))


async def _unguarded(host: str) -> None:
    _, writer = await asyncio.open_connection(host, PORT)
    writer.close()


async def _connect(guard: Outbound, host: str) -> None:
    _, writer = await guard.connect(host, PORT, timeout_s=5)
    writer.close()


async def _socket(guard: Outbound, host: str) -> None:
    (await guard.open_socket(host, PORT, timeout_s=5)).close()


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


if __name__ == "__main__":
    if not (
        _shell("ip", "link", "set", "lo", "up") and _shell("ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo")
    ):
        sys.exit("this needs a network namespace of its own")
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop if "--uvloop" in sys.argv else None)
    with runner:
        json.dump(runner.run(attacks()), sys.stdout)
