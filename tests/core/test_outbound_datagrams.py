"""UDP through the guard: one look-up, every address checked, and datagrams to the checked address alone."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

import pytest

from pulse_core.errors import NameUnresolved, OutboundRefused, TemporaryFailure
from pulse_core.outbound import Outbound

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = ("127.0.0.0/8", "::1/128")


class Names:
    """A name service whose answers change, and that counts."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.questions = 0

    async def look_up(self, host: str, port: int) -> list[str]:
        self.questions += 1
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
def receiver() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(30)
        yield sock


async def test_a_datagram_goes_to_the_checked_address_and_answers_come_from_there(receiver: socket.socket) -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    outbound = Outbound(LOOPBACK, look_up=names.look_up)
    with await outbound.open_datagram_socket("manager.example", receiver.getsockname()[1]) as sock:
        sock.send(b"trap")
        data, sender = receiver.recvfrom(100)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(("127.0.0.1", 0))
            stranger.sendto(b"not asked", sender)
        receiver.sendto(b"answer", sender)
        async with asyncio.timeout(30):
            assert await asyncio.get_running_loop().sock_recv(sock, 100) == b"answer"
    assert data == b"trap"
    assert names.questions == 1


@pytest.mark.parametrize("host", ["10.1.2.3", "169.254.169.254", "[fd00::1]", "0.0.0.0", "::ffff:10.0.0.1"])
async def test_an_internal_address_gets_no_datagram(host: str) -> None:
    with pytest.raises(OutboundRefused):
        await Outbound(LOOPBACK).open_datagram_socket(host, 162)


async def test_one_internal_address_among_others_is_enough_to_refuse() -> None:
    outbound = Outbound(LOOPBACK, look_up=Names(["127.0.0.1", "192.168.1.1"]).look_up)
    with pytest.raises(OutboundRefused, match=r"manager\.example"):
        await outbound.open_datagram_socket("manager.example", 162)


async def test_no_name_no_datagram() -> None:
    with pytest.raises(NameUnresolved):
        await Outbound(look_up=Names([]).look_up).open_datagram_socket("manager.example", 162)


async def test_a_name_service_that_hangs_is_temporary() -> None:
    async def never(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    with pytest.raises(TemporaryFailure, match="port 162: no address within 0"):
        await Outbound(look_up=never).open_datagram_socket("manager.example", 162, timeout_s=0.05)


async def test_an_address_without_a_route_is_passed_over(receiver: socket.socket) -> None:
    """To the broadcast address a socket is not allowed to connect: here it plays the one without a route."""
    broadcast = "255.255.255.255"
    port = receiver.getsockname()[1]
    names = Names([broadcast, "127.0.0.1"])
    outbound = Outbound((*LOOPBACK, f"{broadcast}/32"), look_up=names.look_up)
    with await outbound.open_datagram_socket("manager.example", port) as sock:
        assert sock.getpeername() == ("127.0.0.1", port)
    with pytest.raises(TemporaryFailure, match=f"'{broadcast}' port {port}: permission denied"):
        await outbound.open_datagram_socket(broadcast, port)
