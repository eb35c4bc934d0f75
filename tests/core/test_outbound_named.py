"""The outbound guard and what the operator named: that place, and nothing else at its address."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from pulse_core.errors import OutboundRefused
from pulse_core.outbound import HttpClient, Outbound
from support.scripted import scripted

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
INSIDE = "10.1.2.3"


async def inside(_host: str, _port: int) -> list[str]:
    return [INSIDE]


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("login.internal", 8443), ("LOGIN.internal", 8443), ("login.internal.", 8443),
    ],
)  # fmt: skip
async def test_the_place_that_was_named(host: str, port: int) -> None:
    guard = Outbound(named=["https://Login.internal:8443/realms/x"], look_up=inside)
    assert await guard.resolve(host, port) == [INSIDE]
    guard.check_socket(ip_address(INSIDE), port)


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("login.internal", 443), ("login.internal", 80), ("evil.internal", 8443), ("login.internal.evil.com", 8443),
        (INSIDE, 8443),
    ],
)  # fmt: skip
async def test_nothing_else_at_its_address(host: str, port: int) -> None:
    guard = Outbound(named=["https://login.internal:8443"], look_up=inside)
    assert await guard.resolve("login.internal", 8443) == [INSIDE]
    with pytest.raises(OutboundRefused, match="public address"):
        await guard.resolve(host, port)


async def test_a_socket_is_checked_against_what_the_name_was_found_at() -> None:
    answers = [[INSIDE], ["10.9.9.9"]]

    async def moving(_host: str, _port: int) -> list[str]:
        return answers.pop(0)

    guard = Outbound(named=["https://login.internal"], look_up=moving)
    for address, port in ((INSIDE, 443), ("10.9.9.9", 443)):
        with pytest.raises(OutboundRefused):
            guard.check_socket(ip_address(address), port)
        await guard.resolve("login.internal", 443)
        guard.check_socket(ip_address(address), port)
        with pytest.raises(OutboundRefused):
            guard.check_socket(ip_address(address), 22)
    with pytest.raises(OutboundRefused):
        guard.check_socket(ip_address(INSIDE), 443)


@pytest.mark.parametrize("written", ["http://127.0.0.1:{}", "http://[::1]:{}"])
async def test_an_address_may_be_named(written: str) -> None:
    guard = Outbound(named=[written.format(8080)])
    host = written.removeprefix("http://").removesuffix(":{}")
    assert await guard.resolve(host, 8080) == [host.strip("[]")]
    with pytest.raises(OutboundRefused):
        await guard.resolve(host, 8081)


async def test_names_that_are_none_stay_refused() -> None:
    guard = Outbound(named=["http://127.0.0.1:8080"])
    for host in ("2130706433", "127.1", "0x7f.1", "[::ffff:127.0.0.1]"):
        with pytest.raises(OutboundRefused):
            await guard.resolve(host, 8080)


async def test_requests_go_to_what_was_named_and_to_nobody_else() -> None:
    async def here(_host: str, _port: int) -> list[str]:
        return ["127.0.0.1"]

    async with scripted(OK) as named, scripted(OK) as other:
        guard = Outbound(named=[f"http://login.internal:{named.port}"], look_up=here)
        async with HttpClient(guard, allow_plain_http=True) as client:
            assert (await client.get(f"http://login.internal:{named.port}/x")).text == "ok"
            for url in (
                f"http://login.internal:{other.port}/",
                f"http://evil.internal:{named.port}/",
                f"http://127.0.0.1:{named.port}/",
            ):
                with pytest.raises(OutboundRefused):
                    await client.get(url)
        assert (named.connections, other.connections) == (1, 0)
