"""The HTTP client and TLS: names, authorities, and a port that speaks none."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pulse_core.errors import TemporaryFailure
from pulse_core.outbound import HttpClient, Outbound
from pulse_core.testing.receivers import http_receiver
from support.certificates import Authority
from support.scripted import scripted
from support.telling import SECRET, tells_no_secret

if TYPE_CHECKING:
    from pathlib import Path


async def loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


async def test_tls_checks_the_original_name(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    guard = Outbound(["127.0.0.1/32"], look_up=loopback, tls=authority.client())
    async with scripted(ok, tls=authority.server("hooks.example")) as peer, HttpClient(guard) as client:
        assert (await client.get(f"https://hooks.example:{peer.port}/")).status == 200
        for host in ("other.example", "127.0.0.1"):
            with pytest.raises(TemporaryFailure, match="the certificate is not accepted") as caught:
                await client.get(f"https://{host}:{peer.port}/{SECRET}")
            tells_no_secret(caught.value, peer.port)
        assert len(peer.requests) == 1, "something was sent before the certificate was checked"


async def test_an_unknown_authority_is_not_trusted(tmp_path: Path) -> None:
    guard = Outbound(["127.0.0.1/32"], look_up=loopback)
    async with scripted(b"", tls=Authority(tmp_path).server("hooks.example")) as peer, HttpClient(guard) as client:
        with pytest.raises(TemporaryFailure, match="the certificate is not accepted"):
            await client.get(f"https://hooks.example:{peer.port}/")
        assert peer.requests == []


async def test_https_to_a_plain_port_says_so() -> None:
    async with http_receiver() as receiver, HttpClient(Outbound(["127.0.0.1/32"])) as client:
        with pytest.raises(TemporaryFailure, match="TLS failed"):
            await client.get(f"https://127.0.0.1:{receiver.port}/")
