"""Against a certified OpenID provider (npm's ``oidc-provider``): login, renewal, fifty rotations under load, logout."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from pulse_core.api import Principal, Role
from pulse_oidc.fetching import fetched
from support.openid_browser import HOME, OpenIdBrowser
from support.openid_lent import CALLBACK, at_work
from support.openid_peer import openid_peer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulse_core.api import HttpClient


SECRET = "a secret, with: everything%+ in it"
BROWSERS: dict[str, Any] = {
    "redirect_uris": [CALLBACK],
    "post_logout_redirect_uris": [HOME],
    "grant_types": ["authorization_code", "refresh_token"],
}
CLIENTS = [
    {"client_id": "pulse", "client_secret": SECRET, **BROWSERS},
    {"client_id": "posting", "client_secret": SECRET, "token_endpoint_auth_method": "client_secret_post", **BROWSERS},
    {"client_id": "public", "token_endpoint_auth_method": "none", **BROWSERS},
    {"client_id": "robot", "client_secret": "r", "grant_types": ["client_credentials"], "redirect_uris": [],
     "response_types": []},
]  # fmt: skip
USERS = {
    "ada": {"tenant_id": "tenant-a", "role": "customer_admin"},
    "olga": {"role": "operator"},
    "nobody": {},
    "robot": {"tenant_id": "tenant-b", "role": "customer_viewer"},
}
ADA = Principal("oidc:ada", Role.CUSTOMER_ADMIN, "tenant-a", "ada@example.com")
ROBOT = Principal("oidc:robot", Role.CUSTOMER_VIEWER, "tenant-b")
ROTATIONS = 50


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with openid_peer(CLIENTS, USERS) as found:
        yield found


@pytest.mark.parametrize("client", ["pulse", "posting", "public"])
async def test_a_login_a_renewal_and_a_logout(issuer: str, client: str) -> None:
    secret = None if client == "public" else SECRET
    async with at_work(issuer, client_id=client, client_secret=secret) as provider, OpenIdBrowser() as browser:
        tokens = await browser.log_in(provider, "&login_hint=ada")
        assert tokens is not None
        assert await provider.holder(tokens) == ADA
        found = await provider.verify_bearer(tokens.access_token)
        assert found == Principal("oidc:ada", Role.CUSTOMER_ADMIN, "tenant-a"), "an access token names no address"
        assert await provider.verify_bearer(tokens.id_token) is None, (
            "what says who logged in does not let a program in"
        )

        renewed = await provider.renew(tokens)
        assert renewed is not None
        assert await provider.holder(renewed) == ADA
        assert renewed.access_token != tokens.access_token

        leave = await provider.end(renewed, HOME)
        assert leave is not None
        url, page = await browser.go(leave)
        url, _ = await browser.submit(url, page, logout="yes")
        assert url == HOME, "back where it came from"
        assert await browser.log_in(provider, "&login_hint=ada&prompt=none") is None, (
            "nobody is logged in there any more"
        )
        assert await provider.renew(renewed) is None


async def test_a_refresh_token_that_was_stolen_ends_its_session(issuer: str) -> None:
    async with at_work(issuer, client_secret=SECRET) as provider, OpenIdBrowser() as browser:
        tokens = await browser.log_in(provider, "&login_hint=ada")
        assert tokens is not None
        renewed = await provider.renew(tokens)
        assert renewed is not None
        if renewed.refresh_token != tokens.refresh_token:
            assert await provider.renew(tokens) is None
            assert await provider.renew(renewed) is None


async def test_operators_and_those_without_a_role(issuer: str) -> None:
    async with at_work(issuer, client_secret=SECRET) as provider:
        async with OpenIdBrowser() as browser:
            tokens = await browser.log_in(provider, "&login_hint=olga")
            assert tokens is not None
            assert await provider.holder(tokens) == Principal("oidc:olga", Role.OPERATOR, None, "olga@example.com")
        async with OpenIdBrowser() as browser:
            assert await browser.log_in(provider, "&login_hint=nobody") is None


async def test_opaque_access_tokens() -> None:
    with openid_peer(CLIENTS, USERS, opaque=True) as issuer:
        async with at_work(issuer, client_secret=SECRET) as provider, OpenIdBrowser() as browser:
            tokens = await browser.log_in(provider, "&login_hint=ada")
            assert tokens is not None
            assert "." not in tokens.access_token
            assert await provider.holder(tokens) == ADA


async def test_the_self_check_is_content(issuer: str) -> None:
    async with at_work(issuer) as provider:
        await type(provider).check(provider.config)


async def minted(session: aiohttp.ClientSession, issuer: str) -> str:
    async with session.post(
        f"{issuer}/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": aiohttp.encode_basic_auth("robot", "r")},
    ) as answer:
        return str((await answer.json())["access_token"])


async def test_fifty_rotations_under_load_refuse_no_valid_token(issuer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every token is shown from the moment that it was made; nothing is known of its key until we look."""
    fetches: list[str] = []

    async def counted(http: HttpClient, url: str) -> dict[str, Any]:
        fetches.append(url)
        return await fetched(http, url)

    monkeypatch.setattr("pulse_oidc.keys.fetched", counted)
    refused: list[str] = []
    shown = 0
    async with at_work(issuer) as provider, aiohttp.ClientSession() as session:
        tokens: list[str] = []
        working = True

        async def load(number: int) -> None:
            nonlocal shown
            while working:
                for token in list(tokens[-10:]):
                    if await provider.verify_bearer(token) != ROBOT:
                        refused.append(f"{number}: {token}")
                    shown += 1
                await asyncio.sleep(0.005)

        began = time.monotonic()
        loads = [asyncio.create_task(load(number)) for number in range(4)]
        for _ in range(ROTATIONS):
            async with session.post(f"{issuer}/rotate") as answer:
                await answer.read()
            tokens.append(await minted(session, issuer))
            await asyncio.sleep(0.1)
        assert await asyncio.gather(*(provider.verify_bearer(each) for each in tokens)) == [ROBOT] * ROTATIONS
        working = False
        await asyncio.gather(*loads)
        took_s = time.monotonic() - began
    assert refused == []
    assert len(set(tokens)) == ROTATIONS
    assert shown > ROTATIONS
    assert len(fetches) <= 3 + took_s / 2, "and the provider was asked every two seconds at most"
