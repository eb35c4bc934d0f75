"""A login at an OpenID provider, its session and its end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

import pytest
from msgspec.structs import replace

from pulse_core.api import Principal, Role, TemporaryFailure
from support.openid_lent import CALLBACK, Lent, at_work
from support.openid_standin import TOKEN, StandIn, answering, standing_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

ADA = Principal("oidc:ada-1", Role.CUSTOMER_ADMIN, "tenant-a")


@pytest.fixture
async def peer() -> AsyncIterator[StandIn]:
    async with standing_in() as made:
        yield made


async def test_a_login_from_beginning_to_end(peer: StandIn) -> None:
    async with at_work(peer.issuer, client_secret="s e/c:r%t") as provider:
        departure = await provider.begin(CALLBACK)
        url = urlsplit(departure.redirect_url)
        asked = {name: values[0] for name, values in parse_qs(url.query).items()}
        assert (url.path, asked["theme"]) == ("/authorize", "dark"), "what the endpoint's URL holds stays"
        assert (asked["client_id"], asked["redirect_uri"], asked["response_type"]) == ("pulse", CALLBACK, "code")
        assert (asked["scope"], asked["code_challenge_method"]) == ("openid email", "S256")
        tokens = await provider.complete(peer.authorize(departure.redirect_url), CALLBACK, departure.secret_state)
        assert tokens is not None
        assert (peer.forms[0]["basic_id"], peer.forms[0]["basic_secret"]) == ("pulse", "s e/c:r%t")
        assert await provider.holder(tokens) == ADA
        assert await provider.verify_bearer(tokens.access_token) == ADA

        renewed = await provider.renew(tokens)
        assert renewed is not None
        assert renewed.refresh_token != tokens.refresh_token
        assert await provider.holder(renewed) == ADA

        leave = urlsplit(await provider.end(renewed, "http://127.0.0.1:1/") or "")
        assert leave.path == "/end"
        assert parse_qs(leave.query) == {
            "client_id": ["pulse"],
            "post_logout_redirect_uri": ["http://127.0.0.1:1/"],
            "id_token_hint": [renewed.id_token],
        }


async def test_each_login_is_another(peer: StandIn) -> None:
    async with at_work(peer.issuer) as provider:
        urls = [parse_qs((await provider.begin(CALLBACK)).redirect_url) for _ in range(2)]
        assert not [name for name in ("state", "nonce", "code_challenge") if urls[0][name] == urls[1][name]]


@pytest.mark.parametrize(
    ("methods", "secret", "sent"),
    [
        (["client_secret_basic"], "s", {"basic_id", "basic_secret"}),
        (["client_secret_post"], "s", {"client_id", "client_secret"}),
        (None, "s", {"basic_id", "basic_secret"}),
        (["client_secret_basic"], None, {"client_id"}),
    ],
)
async def test_the_client_proves_itself_as_the_provider_wants(
    peer: StandIn, methods: list[str] | None, secret: str | None, sent: set[str]
) -> None:
    peer.metadata["token_endpoint_auth_methods_supported"] = methods
    async with at_work(peer.issuer, client_secret=secret) as provider:
        assert await peer.logged_in(provider)
    assert peer.forms[0].keys() & {"basic_id", "basic_secret", "client_id", "client_secret"} == sent


async def test_opaque_access_tokens_make_a_session(peer: StandIn) -> None:
    peer.grant["access_token"] = "opaque"
    peer.id_claims["at_hash"] = None
    async with at_work(peer.issuer) as provider:
        tokens = await peer.logged_in(provider)
        assert tokens is not None
        assert await provider.holder(tokens) == ADA
        assert await provider.verify_bearer("opaque") is None


async def test_a_session_holds_as_long_as_the_provider_said(peer: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    peer.grant["expires_in"] = 60
    async with at_work(peer.issuer) as provider:
        tokens = await peer.logged_in(provider)
        assert tokens is not None
        assert await provider.holder(tokens) == ADA
        later = time.time() + 66
        monkeypatch.setattr(time, "time", lambda: later)
        assert await provider.holder(tokens) is None


async def test_a_suspended_tenant_ends_sessions_and_tokens(peer: StandIn) -> None:
    lent = Lent()
    async with at_work(peer.issuer, lent) as provider:
        tokens = await peer.logged_in(provider)
        assert tokens is not None
        assert await provider.verify_bearer(tokens.access_token) == ADA
        lent.tenants.active.clear()
        assert await provider.holder(tokens) is None
        assert await provider.verify_bearer(tokens.access_token) is None
        assert await provider.renew(tokens) is None
        assert await peer.logged_in(provider) is None


async def test_a_role_that_was_changed_is_changed_at_the_next_renewal(peer: StandIn) -> None:
    async with at_work(peer.issuer) as provider:
        tokens = await peer.logged_in(provider)
        assert tokens is not None
        peer.identity["role"] = "customer_viewer"
        renewed = await provider.renew(tokens)
        assert renewed is not None
        assert await provider.holder(renewed) == Principal("oidc:ada-1", Role.CUSTOMER_VIEWER, "tenant-a")
        del peer.identity["role"]
        assert await provider.renew(renewed) is None


BACK: dict[str, Callable[[dict[str, str]], Mapping[str, str]]] = {
    "another state": lambda q: {**q, "state": "x"},
    "an empty state": lambda q: {**q, "state": ""},
    "a state that is no text": lambda q: {**q, "state": "\ud800"},
    "no state": lambda q: {name: value for name, value in q.items() if name != "state"},
    "another issuer": lambda q: {**q, "iss": "http://127.0.0.1:9"},
    "no issuer": lambda q: {name: value for name, value in q.items() if name != "iss"},
    "an error": lambda q: {"error": "access_denied", "state": q["state"], "iss": q["iss"]},
    "an error and a code": lambda q: {**q, "error": "access_denied"},
    "no code": lambda q: {**q, "code": ""},
    "a code that is none": lambda q: {**q, "code": "é"},
    "a huge code": lambda q: {**q, "code": "x" * 5000},
}  # fmt: skip


@pytest.mark.parametrize("back", BACK.values(), ids=BACK)
async def test_what_did_not_begin_here_ends_before_anything_is_asked(
    peer: StandIn, back: Callable[[dict[str, str]], Mapping[str, str]]
) -> None:
    async with at_work(peer.issuer) as provider:
        departure = await provider.begin(CALLBACK)
        query = back(peer.authorize(departure.redirect_url))
        assert await provider.complete(query, CALLBACK, departure.secret_state) is None
    assert peer.asked[TOKEN] == 0


async def test_a_state_that_is_not_ours_or_of_another_way_back(peer: StandIn) -> None:
    async with at_work(peer.issuer) as provider:
        departure = await provider.begin(CALLBACK)
        query = peer.authorize(departure.redirect_url)
        assert await provider.complete(query, CALLBACK, "{}") is None
        assert await provider.complete(query, CALLBACK + "x", departure.secret_state) is None
        assert peer.asked[TOKEN] == 0
        assert await provider.complete(query, CALLBACK, departure.secret_state)
        assert await provider.complete(query, CALLBACK, departure.secret_state) is None, "a code works once"


async def test_an_issuer_that_was_not_announced_is_checked_all_the_same(peer: StandIn) -> None:
    peer.metadata["authorization_response_iss_parameter_supported"] = None
    async with at_work(peer.issuer) as provider:
        assert await peer.logged_in(provider, iss="http://127.0.0.1:9") is None
        departure = await provider.begin(CALLBACK)
        query = peer.authorize(departure.redirect_url)
        del query["iss"]
        assert await provider.complete(query, CALLBACK, departure.secret_state)


SUCCESSORS: dict[str, dict[str, Any]] = {
    "somebody else": {"sub": "eve"},
    "another nonce": {"nonce": "x"},
    "another login": {"auth_time": 1},
    "another audience": {"aud": "other"},
    "expired": {"exp": 1},
}


@pytest.mark.parametrize("claims", SUCCESSORS.values(), ids=SUCCESSORS)
async def test_a_renewal_must_be_of_the_same_login(peer: StandIn, claims: dict[str, Any]) -> None:
    async with at_work(peer.issuer) as provider:
        tokens = await peer.logged_in(provider)
        assert tokens is not None
        peer.id_claims |= claims
        assert await provider.renew(tokens) is None
        peer.id_claims.clear()
        assert await provider.renew(tokens)


async def test_renewals_that_end_and_those_that_wait(peer: StandIn) -> None:
    async with at_work(peer.issuer) as provider:
        tokens = await peer.logged_in(provider)
        assert tokens is not None
        assert await provider.renew(replace(tokens, refresh_token="")) is None
        peer.grant["id_token"] = None
        assert await provider.renew(tokens) is None, "nobody says any more who it is"
        peer.grant = {"refresh_token": None}
        renewed = await provider.renew(tokens)
        assert renewed is not None
        assert renewed.refresh_token == tokens.refresh_token, "it may be used again"
        peer.instead[TOKEN] = answering({}, 503)
        with pytest.raises(TemporaryFailure):
            await provider.renew(tokens)
        peer.instead[TOKEN] = answering({"error": "invalid_grant"}, 400)
        assert await provider.renew(tokens) is None


@pytest.mark.parametrize(("page", "return_url"), [(None, "http://127.0.0.1:1/"), ("{}/end", "")])
async def test_a_logout_without_a_page_or_a_browser_revokes(peer: StandIn, page: str | None, return_url: str) -> None:
    peer.metadata["end_session_endpoint"] = page and page.format(peer.issuer)
    async with at_work(peer.issuer) as provider:
        tokens = await peer.logged_in(provider)
        assert tokens is not None
        assert await provider.end(tokens, return_url) is None
    assert peer.forms[-1]["token"] == tokens.refresh_token


async def test_a_provider_that_is_away_keeps_nobody_from_logging_out(peer: StandIn) -> None:
    async with standing_in() as other:
        async with at_work(other.issuer) as there:
            tokens = await other.logged_in(there)
        gone = other.issuer
    assert tokens is not None
    async with at_work(gone) as provider:
        assert await provider.end(tokens, "http://127.0.0.1:1/") is None
        with pytest.raises(TemporaryFailure):
            await provider.begin(CALLBACK)
