"""The guard on names and connections; loopback plays the public network here, by being allowed."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from pulse_core.errors import NameUnresolved, OutboundRefused, TemporaryFailure
from pulse_core.outbound import Outbound, names
from pulse_core.outbound.names import Resolver
from support.certificates import Authority
from support.waiting import until

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from pulse_core.outbound.names import LookUp


class Names:
    """A name service that counts; each question takes the next answer, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.questions: list[str] = []

    async def look_up(self, host: str, port: int) -> list[str]:
        self.questions.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Listener:
    """Counts connections and says hello."""

    def __init__(self) -> None:
        self.connections: list[str] = []
        self.server_names: list[str | None] = []
        self.port = 0

    async def start(self, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> asyncio.Server:
        server = await asyncio.start_server(self._greet, host, 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer.get_extra_info("sockname")[0])
        writer.write(b"hello\n")
        writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    made = Listener()
    server = await made.start()
    yield made
    server.close()
    await server.wait_closed()


def _guard(look_up: LookUp, *allow: str, tls: ssl.SSLContext | None = None) -> Outbound:
    return Outbound(allow or ("127.0.0.1/32",), look_up=look_up, tls=tls)


async def test_it_connects_to_the_address_it_checked_and_asks_once(listener: Listener) -> None:
    dns = Names(["127.0.0.1"], ["127.0.0.2"])
    reader, writer = await _guard(dns.look_up).connect("hooks.example", listener.port)
    assert await reader.readline() == b"hello\n"
    assert dns.questions == ["hooks.example"]
    assert listener.connections == ["127.0.0.1"]
    writer.close()
    await writer.wait_closed()


@pytest.mark.parametrize(
    "answers", [["127.0.0.2"], ["127.0.0.1", "127.0.0.2"], ["127.0.0.1", "::1"], ["127.0.0.1", "not an address"]]
)
async def test_one_bad_address_among_the_answers_refuses_all(listener: Listener, answers: list[str]) -> None:
    guard = _guard(Names(answers).look_up)
    with pytest.raises(OutboundRefused) as caught:
        await guard.connect("hooks.example", listener.port)
    assert listener.connections == []
    assert "127.0.0.2" not in str(caught.value), "an internal address is told to a stranger"


async def test_no_address_is_unresolved(listener: Listener) -> None:
    with pytest.raises(NameUnresolved):
        await _guard(Names([]).look_up).connect("hooks.example", listener.port)


async def test_an_address_is_not_looked_up(listener: Listener) -> None:
    dns = Names(["127.0.0.1"])
    for host in ("127.0.0.1", "[::1]", "127.1", "2130706433"):
        guard = _guard(dns.look_up)
        if host == "127.0.0.1":
            assert await guard.resolve(host, 1) == [host]
        else:
            with pytest.raises(OutboundRefused):
                await guard.resolve(host, 1)
    assert dns.questions == []


async def test_a_name_is_asked_for_as_dns_knows_it() -> None:
    dns = Names(["127.0.0.1"])
    await _guard(dns.look_up).resolve("bücher.example", 1)
    assert dns.questions == ["xn--bcher-kva.example"]
    with pytest.raises(OutboundRefused):
        await _guard(dns.look_up).resolve("\uff11\uff12\uff17.0.0.2", 1)
    with pytest.raises(OutboundRefused):
        await _guard(dns.look_up).resolve("ä" * 80 + ".example", 1)


async def test_the_next_address_is_tried_when_one_is_dead(listener: Listener) -> None:
    guard = _guard(Names(["127.0.0.2", "127.0.0.1"]).look_up, "127.0.0.0/8")
    _, writer = await guard.connect("hooks.example", listener.port)
    await until(lambda: listener.connections == ["127.0.0.1"])
    writer.close()
    await writer.wait_closed()


async def test_nobody_listening_is_temporary_and_says_so() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(TemporaryFailure, match=r"'hooks.example' port .*: connection refused"):
        await _guard(Names(["127.0.0.1"]).look_up).connect("hooks.example", port)


async def test_a_slow_name_service_is_bounded_by_the_time_out() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(TemporaryFailure, match=r"within 0\.05 s"):
        await _guard(never).connect("hooks.example", 1, timeout_s=0.05)


async def test_a_peer_that_never_finishes_tls_is_bounded_by_the_time_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(TemporaryFailure, match=r"within 0\.2 s"):
            await _guard(Names(["127.0.0.1"]).look_up).connect("hooks.example", port, tls=True, timeout_s=0.2)


# TLS


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_tls_checks_the_original_name(authority: Authority) -> None:
    listener = Listener()
    context = authority.server("hooks.example")
    context.sni_callback = lambda _, name, __: listener.server_names.append(name)
    server = await listener.start(context)
    guard = _guard(Names(["127.0.0.1"]).look_up, tls=authority.client())
    for host in ("hooks.example", "hooks.example."):
        reader, writer = await guard.connect(host, listener.port, tls=True)
        assert await reader.readline() == b"hello\n"
        writer.close()
        await writer.wait_closed()
    assert listener.server_names == ["hooks.example"] * 2
    with pytest.raises(TemporaryFailure, match="certificate is not accepted: Hostname mismatch"):
        await guard.connect("other.example", listener.port, tls=True)
    with pytest.raises(TemporaryFailure, match="certificate is not accepted"):
        await guard.connect("127.0.0.1", listener.port, tls=True)
    server.close()


@pytest.mark.parametrize(
    ("days", "client", "message"),
    [(-5, Authority.client, "expired"), (1, lambda _: None, "local issuer|self-signed")],
    ids=["expired", "unknown authority"],
)
async def test_an_untrustworthy_certificate_is_temporary_and_named(
    authority: Authority, days: int, client: Callable[[Authority], ssl.SSLContext | None], message: str
) -> None:
    listener = Listener()
    server = await listener.start(authority.server("hooks.example", valid_days=days))
    guard = _guard(Names(["127.0.0.1"]).look_up, tls=client(authority))
    with pytest.raises(TemporaryFailure, match=f"the certificate is not accepted: .*({message})"):
        await guard.connect("hooks.example", listener.port, tls=True)
    server.close()


async def test_tls_to_a_plain_port_says_so(listener: Listener) -> None:
    guard = _guard(Names(["127.0.0.1"]).look_up)
    with pytest.raises(TemporaryFailure, match="TLS failed"):
        await guard.connect("hooks.example", listener.port, tls=True)


# The system's resolver


async def test_the_system_resolves_localhost() -> None:
    assert set(await Resolver().look_up("localhost", 80)) <= {"127.0.0.1", "::1"}


async def test_a_failing_look_up_is_unresolved(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fails)
    with pytest.raises(NameUnresolved, match=r"'nowhere\.example' cannot be resolved: Name or service not known"):
        await Outbound().resolve("nowhere.example", 443)


async def test_a_hanging_look_up_gives_up_and_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    released = threading.Event()

    def hangs(host: str, *_: object, **__: object) -> list[object]:
        if host == "slow.example":
            released.wait(60)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    monkeypatch.setattr(names, "_PATIENCE_S", 0.3)
    resolver = Resolver()
    slow = [asyncio.create_task(resolver.look_up("slow.example", 443)) for _ in range(20)]
    assert await resolver.look_up("fast.example", 443) == ["8.8.8.8"]
    for outcome in await asyncio.gather(*slow, return_exceptions=True):
        assert isinstance(outcome, NameUnresolved)
        assert "no answer from DNS" in str(outcome)
    released.set()
    await until(lambda: not [t for t in threading.enumerate() if t.name == "name look-up"])


async def test_threads_for_look_ups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    released, running, most = threading.Event(), [0], [0]

    def hangs(*_: object, **__: object) -> list[object]:
        running[0] += 1
        most[0] = max(most[0], running[0])
        released.wait(60)
        running[0] -= 1
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hangs)
    monkeypatch.setattr(names, "_PATIENCE_S", 0.3)
    resolver = Resolver()
    asked = [asyncio.create_task(resolver.look_up(f"{number}.example", 443)) for number in range(200)]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    assert all(isinstance(outcome, NameUnresolved) for outcome in outcomes)
    assert 0 < most[0] <= 64
    released.set()
    await until(lambda: not [t for t in threading.enumerate() if t.name == "name look-up"])
    assert await resolver.look_up("again.example", 443) == [], "a slot was not given back"
