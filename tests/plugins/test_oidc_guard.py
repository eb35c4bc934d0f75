"""Where an OpenID provider's metadata may send us: to its own place, to public addresses, to what is written down."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import pytest

from pulse_core.api import TemporaryFailure
from support.openid_lent import CALLBACK, Lent, at_work
from support.openid_standin import KEYS, TOKEN, StandIn, answering, standing_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def peer() -> AsyncIterator[StandIn]:
    async with standing_in() as made:
        yield made


@pytest.fixture
async def other() -> AsyncIterator[StandIn]:
    """Somebody else on this machine, whom nobody named."""
    async with standing_in() as made:
        yield made


ELSEWHERE = [
    "http://169.254.169.254/latest/meta-data",
    "http://[fd00:ec2::254]/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://10.0.0.1/",
    "http://2130706433:{port}/",
    "http://127.1:{port}/",
]


@pytest.mark.parametrize("url", ELSEWHERE)
@pytest.mark.parametrize("endpoint", ["jwks_uri", "token_endpoint"])
async def test_metadata_leads_nowhere_inside(
    peer: StandIn, other: StandIn, url: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer.metadata[endpoint] = url.format(port=other.issuer.rpartition(":")[2])
    connected: list[object] = []
    connect = socket.socket.connect

    def noting(sock: socket.socket, address: object) -> None:
        connected.append(address)
        connect(sock, address)  # type: ignore[arg-type]

    monkeypatch.setattr(socket.socket, "connect", noting)
    async with at_work(peer.issuer) as provider:
        with pytest.raises(TemporaryFailure):
            await peer.logged_in(provider)
    assert other.asked == {}
    own = ("127.0.0.1", int(peer.issuer.rpartition(":")[2]))
    assert {address for address in connected if isinstance(address, tuple)} == {own}


async def test_a_logout_revokes_nothing_inside(peer: StandIn, other: StandIn) -> None:
    peer.metadata |= {"end_session_endpoint": None, "revocation_endpoint": f"{other.issuer}/revoke"}
    async with at_work(peer.issuer) as provider:
        tokens = await peer.logged_in(provider)
        assert tokens is not None
        assert await provider.end(tokens, "http://127.0.0.1:1/") is None
    assert other.asked == {}


@pytest.mark.parametrize("named", ["origin", "network"])
async def test_what_the_operator_wrote_down_may_be_anywhere(peer: StandIn, other: StandIn, named: str) -> None:
    """The keys are at another place, which is written down as such, or whose network is allowed to all."""
    peer.metadata["jwks_uri"] = f"{other.issuer}{KEYS}"
    other.keys = peer.keys
    lent = Lent(allow=("127.0.0.0/8",) if named == "network" else ())
    origins = [f"{other.issuer}/any/path"] if named == "origin" else []
    async with at_work(peer.issuer, lent, origins=origins) as provider:
        assert await peer.logged_in(provider)
    assert other.asked[KEYS] == 1
    assert peer.asked[KEYS] == 0


async def test_a_redirect_to_the_inside_is_not_followed(peer: StandIn, other: StandIn) -> None:
    for path in (KEYS, TOKEN):
        peer.instead = {path: answering(b"", 302, Location=f"{other.issuer}{path}")}
        async with at_work(peer.issuer) as provider:
            with pytest.raises(TemporaryFailure):
                await peer.logged_in(provider)
    assert other.asked == {}


async def test_the_self_check_is_guarded_too(peer: StandIn, other: StandIn) -> None:
    async with at_work(peer.issuer) as provider:
        await type(provider).check(provider.config)
        peer.metadata["jwks_uri"] = f"{other.issuer}{KEYS}"
        with pytest.raises(TemporaryFailure, match="not, or not only, at a public address"):
            await type(provider).check(provider.config)
    assert other.asked == {}


async def test_production_asks_nothing_in_the_clear(peer: StandIn) -> None:
    async with at_work("https://127.0.0.1:1", Lent(production=True)) as provider:
        with pytest.raises(TemporaryFailure):
            await provider.begin(CALLBACK)
