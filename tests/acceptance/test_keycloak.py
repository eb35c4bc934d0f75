"""A real Keycloak with the realm of ``contrib/keycloak``: who its users are to us, how their sessions go on and end.

It takes half a minute to start, and far longer on a busy machine.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import Principal, Role, TemporaryFailure, taken_apart
from support.keycloak import PASSWORD, REALM
from support.openid_browser import OpenIdBrowser
from support.openid_lent import at_work

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from pulse_oidc.provider import OidcProvider
    from support.keycloak import Keycloak

pytestmark = pytest.mark.timeout(900)

USERS = {
    "customer1": (Role.CUSTOMER_ADMIN, "tenant-a"),
    "viewer1": (Role.CUSTOMER_VIEWER, "tenant-a"),
    "customer2": (Role.CUSTOMER_ADMIN, "tenant-b"),
    "operator1": (Role.OPERATOR, None),
    "admin1": (Role.OPERATOR_ADMIN, None),
}


def provider_of(keycloak: Keycloak, **config: Any) -> AbstractAsyncContextManager[OidcProvider]:
    usual = {"client_secret": keycloak.client_secret, "name_claim": "preferred_username"}
    return at_work(keycloak.issuer, **usual | config)


def browser_of(keycloak: Keycloak) -> OpenIdBrowser:
    return OpenIdBrowser(f"{keycloak.public_url}/")


@pytest.mark.parametrize("username", USERS)
async def test_a_user_from_login_to_logout(keycloak: Keycloak, username: str) -> None:
    role, tenant_id = USERS[username]
    who = Principal(f"oidc:{username}", role, tenant_id, f"{username}@example.com")
    async with provider_of(keycloak) as provider, browser_of(keycloak) as browser:
        tokens = await browser.log_in(provider, username=username, password=PASSWORD)
        assert tokens is not None
        assert await provider.holder(tokens) == who
        assert await provider.verify_bearer(tokens.access_token) == who
        for another in (tokens.id_token, tokens.refresh_token):
            assert await provider.verify_bearer(another) is None, "only an access token lets a program in"
        assert tokens.expires_in_s <= 300

        renewed = await provider.renew(tokens)
        assert renewed is not None
        assert await provider.holder(renewed) == who
        assert await provider.verify_bearer(renewed.access_token) == who

        leave = await provider.end(renewed, f"{keycloak.public_url}/")
        assert leave is not None
        assert await browser.go(leave) == (f"{keycloak.public_url}/", ""), "logged out without being asked"
        assert await provider.renew(renewed) is None
        assert await browser.log_in(provider, "&prompt=none") is None, "nobody is logged in there"


async def test_a_session_there_spares_the_password(keycloak: Keycloak) -> None:
    async with provider_of(keycloak) as provider, browser_of(keycloak) as browser:
        assert await browser.log_in(provider, username="viewer1", password=PASSWORD)
        assert await browser.log_in(provider, "&prompt=none")


async def test_a_refresh_token_is_good_for_one_time(keycloak: Keycloak) -> None:
    async with provider_of(keycloak) as provider, browser_of(keycloak) as browser:
        tokens = await browser.log_in(provider, username="customer2", password=PASSWORD)
        assert tokens is not None
        assert await provider.renew(tokens)
        assert await provider.renew(tokens) is None


async def test_tokens_name_no_more_roles_than_ours(keycloak: Keycloak) -> None:
    async with provider_of(keycloak) as provider, browser_of(keycloak) as browser:
        tokens = await browser.log_in(provider, username="admin1", password=PASSWORD)
        assert tokens is not None
        for token in (tokens.access_token, tokens.id_token):
            parts = taken_apart(token, longest=16_384)
            assert parts is not None
            assert (parts.claims["role"], parts.claims["aud"]) == (["operator_admin"], "pulse")
            assert "tenant_id" not in parts.claims


async def test_what_is_wrong_with_us_is_told(keycloak: Keycloak) -> None:
    async with provider_of(keycloak, client_secret="wrong") as provider, browser_of(keycloak) as browser:
        with pytest.raises(TemporaryFailure, match=r"unauthorized_client|invalid_client"):
            await browser.log_in(provider, username="viewer1", password=PASSWORD)


async def test_keycloak_sends_nobody_elsewhere(keycloak: Keycloak) -> None:
    async with provider_of(keycloak) as provider, browser_of(keycloak) as browser:
        for callback_url in ("http://127.0.0.1:2/callback", f"{keycloak.public_url}/callback/../evil"):
            url, page = await browser.go((await provider.begin(callback_url)).redirect_url)
            assert url.startswith(keycloak.issuer)
            assert "redirect_uri" in page


async def test_the_self_check_is_content(keycloak: Keycloak) -> None:
    async with provider_of(keycloak) as provider:
        await type(provider).check(provider.config)


def test_the_realm_holds_no_secret_and_no_wildcard() -> None:
    realm = json.loads(REALM.read_text())
    (client,) = realm["clients"]
    secrets = [client["secret"], *(each["value"] for user in realm["users"] for each in user["credentials"])]
    assert all(re.fullmatch(r"\$\{PULSE_[A-Z_]+\}", each) for each in secrets), "placeholders, without a default"
    away = [*client["redirectUris"], *client["webOrigins"], client["attributes"]["post.logout.redirect.uris"]]
    assert "*" not in str(away)
    assert not client["directAccessGrantsEnabled"]
    assert not client["implicitFlowEnabled"]
    assert {user["username"]: user["realmRoles"] for user in realm["users"]} == {
        name: [role] for name, (role, _) in USERS.items()
    }
    assert {user["username"]: user["attributes"]["tenant_id"] for user in realm["users"] if "attributes" in user} == {
        name: [tenant_id] for name, (_, tenant_id) in USERS.items() if tenant_id
    }
