"""Everything that a hostile, or a broken, OpenID provider can answer to a login."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import structlog
from aiohttp import web

from pulse_core.api import TemporaryFailure
from support.openid_lent import CALLBACK, at_work
from support.openid_standin import KEYS, METADATA, TOKEN, SigningKey, StandIn, answering, standing_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping


@pytest.fixture
async def peer() -> AsyncIterator[StandIn]:
    async with standing_in() as made:
        yield made


def unsigned(claims: Mapping[str, Any], header: Mapping[str, Any], signature: str = "") -> str:
    parts = [base64.urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=").decode() for each in (header, claims)]
    return ".".join([*parts, signature])


def by_hmac(peer: StandIn, claims: Mapping[str, Any]) -> str:
    key = base64.urlsafe_b64decode(peer.keys[0].jwk["x"] + "=")
    return jwt.encode(dict(claims), key, algorithm="HS256", headers={"kid": "k1"})


def soon(seconds: float) -> int:
    return int(time.time() + seconds)


HOSTILE: dict[str, Callable[[StandIn], object]] = {
    "another issuer": lambda p: p.id_claims.update(iss="http://127.0.0.1:9"),
    "an issuer with a slash": lambda p: p.id_claims.update(iss=p.issuer + "/"),
    "no subject": lambda p: p.id_claims.update(sub=None),
    "a subject that is a number": lambda p: p.id_claims.update(sub=1),
    "a huge subject": lambda p: p.id_claims.update(sub="x" * 256),
    "another audience": lambda p: p.id_claims.update(aud="other"),
    "no audience": lambda p: p.id_claims.update(aud=None),
    "an audience that is a number": lambda p: p.id_claims.update(aud=[1, "pulse"]),
    "an audience that is empty": lambda p: p.id_claims.update(aud=[]),
    "several audiences and no azp": lambda p: p.id_claims.update(aud=["pulse", "other"]),
    "several audiences and another azp": lambda p: p.id_claims.update(aud=["pulse", "other"], azp="other"),
    "one audience and another azp": lambda p: p.id_claims.update(azp="other"),
    "expired": lambda p: p.id_claims.update(exp=soon(-6)),
    "no exp": lambda p: p.id_claims.update(exp=None),
    "exp true": lambda p: p.id_claims.update(exp=True),
    "exp text": lambda p: p.id_claims.update(exp=str(soon(60))),
    "made in the future": lambda p: p.id_claims.update(iat=soon(60)),
    "made long ago": lambda p: p.id_claims.update(iat=soon(-700)),
    "no iat": lambda p: p.id_claims.update(iat=None),
    "not valid yet": lambda p: p.id_claims.update(nbf=soon(60)),
    "another nonce": lambda p: p.id_claims.update(nonce="x"),
    "no nonce": lambda p: p.id_claims.update(nonce=None),
    "a nonce that is a list": lambda p: p.id_claims.update(nonce=["x"]),
    "another access token": lambda p: p.id_claims.update(at_hash="AAAAAAAAAAAAAAAAAAAAAA"),
    "an at_hash that is a number": lambda p: p.id_claims.update(at_hash=1),
    "an access token for an ID token": lambda p: p.grant.update(id_token=p.bearer()),
    "typ of an access token": lambda p: p.id_claims.update(typ="Bearer"),
    "typ at+jwt": lambda p: setattr(p, "sign", lambda c: p.keys[0].sign(c, typ="at+jwt")),
    "typ of a logout": lambda p: setattr(p, "sign", lambda c: p.keys[0].sign(c, typ="logout+jwt")),
    "alg none": lambda p: setattr(p, "sign", lambda c: unsigned(c, {"alg": "none", "kid": "k1"})),
    "alg none, signed": lambda p: setattr(p, "sign", lambda c: unsigned(c, {"alg": "none", "kid": "k1"}, "AAAA")),
    "HS256 with the public key": lambda p: setattr(p, "sign", lambda c: by_hmac(p, c)),
    "an algorithm that was not announced": lambda p: p.metadata.update(
        id_token_signing_alg_values_supported=["RS256"]
    ),
    "a key that is not published": lambda p: setattr(p, "sign", SigningKey("k2").sign),
    "another key of the same name": lambda p: setattr(p, "sign", SigningKey("k1").sign),
    "no key's name": lambda p: setattr(p, "sign", lambda c: p.keys[0].sign(c, kid=None)),
    "jku": lambda p: setattr(p, "sign", lambda c: p.keys[0].sign(c, jku=f"{p.issuer}/elsewhere")),
    "no ID token": lambda p: p.grant.update(id_token=None),
    "an ID token that is a list": lambda p: p.grant.update(id_token=["x"]),
    "an ID token that is none": lambda p: p.grant.update(id_token="x"),
    "a huge ID token": lambda p: p.id_claims.update(more="x" * 20_000),
    "no access token": lambda p: p.grant.update(access_token=None),
    "an access token with line breaks": lambda p: p.grant.update(access_token="x\r\ny"),
    "a refresh token that is a number": lambda p: p.grant.update(refresh_token=1),
    "another type of token": lambda p: p.grant.update(token_type="DPoP"),
    "no type of token": lambda p: p.grant.update(token_type=None),
    "expires_in negative": lambda p: p.grant.update(expires_in=-1),
    "expires_in text": lambda p: p.grant.update(expires_in="soon"),
    "expires_in endless": lambda p: p.grant.update(expires_in=10**400),
    "an unknown role": lambda p: p.identity.update(role="god"),
    "no role": lambda p: p.identity.pop("role"),
    "two roles": lambda p: p.identity.update(role=["customer_admin", "operator_admin"]),
    "a customer of no tenant": lambda p: p.identity.pop("tenant_id"),
    "an unknown tenant": lambda p: p.identity.update(tenant_id="tenant-z"),
    "an improper tenant": lambda p: p.identity.update(tenant_id="tenant-a\0"),
    "two tenants": lambda p: p.identity.update(tenant_id=["tenant-a", "tenant-b"]),
    "an operator of a tenant": lambda p: p.identity.update(role="operator"),
    "invalid_grant": lambda p: p.instead.update({TOKEN: answering({"error": "invalid_grant"}, 400)}),
}  # fmt: skip


async def endless(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b" " * 65536)


async def silent(_: web.Request) -> web.StreamResponse:
    await asyncio.sleep(60)
    raise AssertionError


BROKEN: dict[str, Any] = {
    "HTTP 500": answering({}, 500),
    "HTTP 429": answering({"error": "slow_down"}, 429),
    "HTML": answering("<html>hello</html>"),
    "HTML and an error": answering("<html>hello</html>", 400),
    "nothing": answering(b""),
    "a list": answering([]),
    "a name that stands twice": answering('{"keys": [], "keys": []}'),
    "nested": answering("[" * 50_000),
    "no text": answering(b'{"a": "\xff"}'),
    "endless": endless,
    "silent": silent,
    "a redirect": answering(b"", 302, Location="/elsewhere"),
    "invalid_client": answering({"error": "invalid_client"}, 401),
    "a number that is none": answering('{"a": NaN}'),
}


@pytest.mark.parametrize("wrong", HOSTILE.values(), ids=HOSTILE)
async def test_a_hostile_provider_logs_nobody_in(peer: StandIn, wrong: Callable[[StandIn], object]) -> None:
    wrong(peer)
    with structlog.testing.capture_logs() as said:
        async with at_work(peer.issuer, client_secret="the-secret") as provider:
            assert await peer.logged_in(provider) is None
    assert [line["event"] for line in said] == ["oidc.login_refused"], "the operator is told why"
    assert not {"/elsewhere"} & peer.asked.keys()
    for secret in ("the-secret", "ada-1", "eyJ", "code-", "refresh-"):
        assert secret not in str(said)


@pytest.mark.parametrize("path", [METADATA, KEYS, TOKEN])
@pytest.mark.parametrize("wrong", BROKEN.values(), ids=BROKEN)
async def test_a_broken_provider_is_waited_for(
    peer: StandIn, wrong: Any, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulse_oidc.fetching.TIMEOUT_S", 1.0)
    peer.instead[path] = wrong
    async with at_work(peer.issuer, client_secret="the-secret") as provider:
        with pytest.raises(TemporaryFailure) as told:
            assert await peer.logged_in(provider)
        assert peer.asked["/elsewhere"] == 0, "redirects are not followed"
        assert "the-secret" not in str(told.value)
        monkeypatch.setattr("pulse_oidc.kept.APART_S", 0.0)
        peer.instead.clear()
        assert await peer.logged_in(provider), "and it is found again"


METADATA_LIES: dict[str, tuple[dict[str, Any], str]] = {
    "another issuer": ({"issuer": "http://127.0.0.1:9"}, "calls itself 'http://127.0.0.1:9'"),
    "no issuer": ({"issuer": None}, "calls itself nothing"),
    "no token endpoint": ({"token_endpoint": None}, "no proper token_endpoint"),
    "a token endpoint that is a list": ({"token_endpoint": ["http://127.0.0.1"]}, "no proper token_endpoint"),
    "javascript": ({"authorization_endpoint": "javascript:alert(1)"}, "no proper authorization_endpoint"),
    "a password in a URL": ({"jwks_uri": "http://u:p@127.0.0.1/"}, "no proper jwks_uri"),
    "HS256 alone": ({"id_token_signing_alg_values_supported": ["HS256", "none"]}, "signs with nothing that we take"),
    "algorithms a text": ({"id_token_signing_alg_values_supported": "RS256"}, "signs with nothing that we take"),
}


@pytest.mark.parametrize(("lies", "told"), METADATA_LIES.values(), ids=METADATA_LIES)
async def test_metadata_that_lies_is_told_clearly(peer: StandIn, lies: dict[str, Any], told: str) -> None:
    peer.metadata |= lies
    with structlog.testing.capture_logs() as said:
        async with at_work(peer.issuer) as provider:
            with pytest.raises(TemporaryFailure, match=told):
                await provider.begin(CALLBACK)
            with pytest.raises(TemporaryFailure, match=told):
                await type(provider).check(provider.config)
    assert [line["event"] for line in said] == ["oidc.provider_unusable"], "once, not at every try"
    assert peer.asked[METADATA] == 2, "one for the logins, one for the check"


async def test_the_self_check_does_not_keep_the_platform_from_starting(
    peer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulse_oidc.provider._CHECK_S", 0.3)
    peer.instead[METADATA] = silent
    async with at_work(peer.issuer) as provider:
        with pytest.raises(TemporaryFailure, match=r"does not answer within 0\.3 s"):
            await type(provider).check(provider.config)


async def test_while_it_is_broken_it_is_asked_seldom_and_nobody_waits_for_the_next_try(peer: StandIn) -> None:
    peer.instead[METADATA] = answering({}, 503)
    async with at_work(peer.issuer) as provider:
        for _ in range(20):
            with pytest.raises(TemporaryFailure):
                await provider.begin(CALLBACK)
    assert peer.asked[METADATA] == 1


async def test_a_document_that_is_too_long_is_none_though_its_beginning_is_one(peer: StandIn) -> None:
    peer.instead[KEYS] = answering(json.dumps({"keys": [peer.keys[0].jwk]}) + " " * 70_000)
    async with at_work(peer.issuer) as provider:
        with pytest.raises(TemporaryFailure, match="something else than a JSON object"):
            await peer.logged_in(provider)
