"""Whom an attempt talked to is noted by itself, whichever way a channel takes."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING

import pytest

from pulse_core.errors import TemporaryFailure
from pulse_core.outbound import HttpClient, Outbound
from pulse_core.outbound.contact import noting
from pulse_core.testing.receivers import http_receiver
from support.certificates import Authority
from support.product import free_ports

if TYPE_CHECKING:
    from pathlib import Path

ALLOW = ["127.0.0.0/8", "::1/128"]


async def loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


async def test_http_and_again_over_the_kept_connection() -> None:
    async with http_receiver() as receiver, HttpClient(Outbound(ALLOW), allow_plain_http=True) as client:
        for _ in range(2):
            with noting() as contact:
                await client.get(receiver.url)
            assert (contact.address, contact.tls) == (f"127.0.0.1:{receiver.port}", "")


async def test_attempts_side_by_side_do_not_mix() -> None:
    async with (
        http_receiver() as one,
        http_receiver() as other,
        HttpClient(Outbound(ALLOW), allow_plain_http=True) as c,
    ):

        async def attempt(url: str) -> str:
            with noting() as contact:
                await asyncio.create_task(c.get(url))
            return contact.address

        addresses = await asyncio.gather(*(attempt(each.url) for each in (one, other) * 10))
    assert addresses == [f"127.0.0.1:{each.port}" for each in (one, other) * 10]


async def test_a_connection_that_is_refused_was_refused_by_somebody() -> None:
    (port,) = free_ports(1)
    async with HttpClient(Outbound(ALLOW), allow_plain_http=True) as client:
        with noting() as contact, pytest.raises(TemporaryFailure):
            await client.get(f"http://127.0.0.1:{port}/")
    assert contact.address == f"127.0.0.1:{port}"
    with noting() as contact, pytest.raises(TemporaryFailure):
        await Outbound(ALLOW).connect("::1", port)
    assert contact.address == f"[::1]:{port}"


async def test_tls_is_told_where_it_was_agreed_on(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = await asyncio.start_server(
        lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=authority.server("hooks.example")
    )
    port = server.sockets[0].getsockname()[1]
    outbound = Outbound(ALLOW, tls=authority.client(), look_up=loopback)
    async with server:
        with noting() as contact:
            _, writer = await outbound.connect("hooks.example", port, tls=True)
        assert contact.address == f"127.0.0.1:{port}"
        assert contact.tls.startswith("TLSv1.3, TLS_")
        with noting() as again:
            outbound.uses(writer)
        assert (again.address, again.tls) == (contact.address, contact.tls)
        writer.close()
        with noting() as contact, pytest.raises(TemporaryFailure, match="certificate"):
            await Outbound(ALLOW, tls=ssl.create_default_context(), look_up=loopback).connect(
                "hooks.example", port, tls=True
            )
        assert (contact.address, contact.tls) == (f"127.0.0.1:{port}", "")


async def test_a_datagram_has_an_address_too() -> None:
    with noting() as contact:
        sock = await Outbound(ALLOW).open_datagram_socket("127.0.0.1", 162)
    sock.close()
    assert contact.address == "127.0.0.1:162"


async def test_nobody_need_be_interested() -> None:
    sock = await Outbound(ALLOW).open_datagram_socket("127.0.0.1", 162)
    Outbound().uses(sock)
    sock.close()
    with noting() as contact:
        Outbound().uses(sock)
    assert contact.address == ""
