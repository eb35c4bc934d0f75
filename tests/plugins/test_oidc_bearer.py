"""Access tokens of an OpenID provider: what is forged is refused and fetches nothing; keys come and go."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import jwt
import pytest
import structlog

from pulse_core.api import Principal, Role, TemporaryFailure
from support.forging import ATTACKS as ANYBODYS
from support.forging import Forge, now
from support.openid_lent import Lent, at_work
from support.openid_standin import KEYS, METADATA, SigningKey, StandIn, answering, standing_in

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from pulse_oidc.provider import OidcProvider

ADA = Principal("oidc:ada-1", Role.CUSTOMER_ADMIN, "tenant-a")


@pytest.fixture
async def peer() -> AsyncIterator[StandIn]:
    async with standing_in() as made:
        yield made


@pytest.fixture
async def provider(peer: StandIn) -> AsyncIterator[OidcProvider]:
    async with at_work(peer.issuer) as made:
        yield made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys may be fetched as often as one likes."""
    monkeypatch.setattr("pulse_oidc.kept.APART_S", 0.0)


THEIRS: dict[str, Callable[[Forge], str]] = {
    "an ID token": lambda f: f.signed(claims={"typ": "ID"}),
    "an ID token that says nothing": lambda f: f.signed(claims={"typ": None, "nonce": "x"}),
    "no type, and we are its client": lambda f: f.signed(
        claims=json.dumps({name: value for name, value in f.claims.items() if name != "typ"})
    ),
    "a refresh token": lambda f: f.signed(claims={"typ": "Refresh"}),
    "a type that is a list": lambda f: f.signed({"typ": ["JWT"]}),
    "at+jwt, but an ID token": lambda f: f.signed({"typ": "at+jwt"}, {"typ": "ID"}),
    "bound to a key": lambda f: f.signed(claims={"cnf": {"jkt": "x"}}),
    "an algorithm of another type of key": lambda f: f.signed({"alg": "RS256"}),
    "an algorithm that is not announced": lambda f: f.signed({"alg": "PS256"}),
    "a role of nobody's": lambda f: f.signed(claims={"role": ["offline_access"]}),
    "two roles": lambda f: f.signed(claims={"role": ["customer_viewer", "customer_admin"]}),
    "an operator of a tenant": lambda f: f.signed(claims={"role": "operator_admin"}),
    "a tenant that is not here": lambda f: f.signed(claims={"tenant_id": "tenant-z"}),
    "a tenant that cannot be": lambda f: f.signed(claims={"tenant_id": "a\0"}),
    "two tenants": lambda f: f.signed(claims={"tenant_id": ["tenant-a", "tenant-b"]}),
    "a subject that is a number": lambda f: f.signed(claims={"sub": 7}),
    "a subject of lone surrogates": lambda f: f.signed(claims={"sub": "\ud800"}),
    "an audience of numbers": lambda f: f.signed(claims={"aud": ["pulse", 7]}),
    "iat true": lambda f: f.signed(claims={"iat": True}),
    "nbf text": lambda f: f.signed(claims={"nbf": "0"}),
    "iat endless": lambda f: f.signed(claims=json.dumps(f.claims).replace(str(f.claims["iat"]), "-Infinity", 1)),
}  # fmt: skip
ATTACKS = ANYBODYS | THEIRS


@pytest.mark.usefixtures("quick")
async def test_whatever_is_wrong_with_a_token_is_refused_and_nothing_is_fetched(
    peer: StandIn, provider: OidcProvider
) -> None:
    good = peer.bearer()
    assert await provider.verify_bearer(good) == ADA
    forge = Forge(good, peer.keys[0].private)
    before, taken = dict(peer.asked), {}
    with structlog.testing.capture_logs() as said:
        for name, attack in ATTACKS.items():
            if found := await provider.verify_bearer(attack(forge)):
                taken[name] = found
            assert await provider.verify_bearer(forge.signed()) == ADA, f"{name}: and the good one is good all the same"
    assert taken == {}
    assert dict(peer.asked) == before == {METADATA: 1, KEYS: 1}
    assert said == []


FINE: dict[str, Callable[[StandIn], str]] = {
    "Keycloak's": lambda p: p.bearer(aud=["account", "pulse"], azp="pulse"),
    "RFC 9068's": lambda p: p.keys[0].sign(p.access_claims(typ=None), typ="at+jwt"),
    "RFC 9068's in full": lambda p: p.keys[0].sign(p.access_claims(typ=None), typ="application/AT+JWT"),
    "without iat's fraction": lambda p: p.bearer(iat=time.time(), exp=time.time() + 9.5),
    "within the leeway": lambda p: p.bearer(exp=now(-3), iat=now(3), nbf=now(3)),
    "a thumbprint in the header": lambda p: p.keys[0].sign(p.access_claims(), x5t="abc"),
    "a role in a list": lambda p: p.bearer(role=["offline_access", "customer_admin"]),
}  # fmt: skip


@pytest.mark.parametrize("token", FINE.values(), ids=FINE)
async def test_what_providers_write_is_read(
    peer: StandIn, provider: OidcProvider, token: Callable[[StandIn], str]
) -> None:
    assert await provider.verify_bearer(token(peer)) == ADA


async def test_one_that_does_not_say_what_it_is_must_be_for_an_audience_of_its_own(peer: StandIn) -> None:
    async with at_work(peer.issuer, audience="https://pulse.example") as provider:
        fine = {"typ": None, "aud": ["https://pulse.example", "https://login.example/userinfo"]}
        assert await provider.verify_bearer(peer.bearer(**fine)) == ADA
        assert await provider.verify_bearer(peer.bearer(**{**fine, "aud": ["https://pulse.example", "pulse"]})) is None
        assert await provider.verify_bearer(peer.bearer(**fine, nonce="x")) is None
        assert await provider.verify_bearer(peer.bearer(**fine, at_hash="x")) is None


@pytest.mark.parametrize("algorithm", ["RS256", "PS384", "ES256", "ES384", "EdDSA"])
async def test_every_algorithm_with_its_own_key_alone(peer: StandIn, algorithm: str) -> None:
    peer.metadata["id_token_signing_alg_values_supported"] = ["RS256", "PS384", "ES256", "ES384", "EdDSA", "HS256"]
    peer.keys = [SigningKey("k1", algorithm)]
    async with at_work(peer.issuer) as provider:
        assert await provider.verify_bearer(peer.bearer()) == ADA
        other = SigningKey("k1", "ES256" if algorithm != "ES256" else "RS256")
        assert await provider.verify_bearer(other.sign(peer.access_claims())) is None
    assert peer.asked[KEYS] == 1


@pytest.mark.parametrize(
    "change",
    [
        {"use": "enc"}, {"key_ops": ["sign"]}, {"key_ops": 7}, {"alg": "RS256"}, {"alg": 7}, {"kty": "oct", "k": "AA"},
        {"crv": "X25519"}, {"x": "AAAA"}, {"x": 7}, {"kid": None}, {"kid": 7},
    ],
)  # fmt: skip
@pytest.mark.usefixtures("quick")
async def test_a_key_that_is_not_meant_for_this_checks_nothing(peer: StandIn, change: dict[str, Any]) -> None:
    peer.instead[KEYS] = answering({"keys": [{**peer.keys[0].jwk, **change}, 7, SigningKey("k2").jwk]})
    async with at_work(peer.issuer) as provider:
        assert await provider.verify_bearer(peer.bearer()) is None


@pytest.mark.usefixtures("quick")
async def test_weak_keys_and_two_of_one_name_check_nothing(peer: StandIn) -> None:
    from cryptography.hazmat.primitives.asymmetric import rsa

    weak = SigningKey("weak", "RS256")
    weak.private = rsa.generate_private_key(65537, 1024)
    peer.keys = [weak, SigningKey("twice"), SigningKey("twice")]
    async with at_work(peer.issuer) as provider:
        for key in peer.keys:
            with pytest.warns() if key is weak else contextlib.nullcontext():
                token = key.sign(peer.access_claims())
            assert await provider.verify_bearer(token) is None


async def test_a_private_key_that_was_published_by_mistake_is_only_a_public_one(peer: StandIn) -> None:
    private = jwt.get_algorithm_by_name("EdDSA").to_jwk(peer.keys[0].private, as_dict=True)
    assert "d" in private
    peer.instead[KEYS] = answering({"keys": [{**private, "kid": "k1"}]})
    async with at_work(peer.issuer) as provider:
        assert await provider.verify_bearer(peer.bearer()) == ADA


async def test_a_flood_of_unknown_names_fetches_seldom_and_a_new_key_is_found_all_the_same(
    peer: StandIn, provider: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulse_oidc.kept.APART_S", 0.2)
    assert await provider.verify_bearer(peer.bearer()) == ADA
    strangers = [SigningKey(f"unknown-{number}") for number in range(120)]
    began = time.monotonic()

    async def attack(keys: list[SigningKey]) -> list[Principal | None]:
        return [await provider.verify_bearer(key.sign(peer.access_claims())) for key in keys]

    flood = [asyncio.create_task(attack(strangers[at::20])) for at in range(20)]
    await asyncio.sleep(0)
    peer.keys.insert(0, SigningKey("new"))
    assert await provider.verify_bearer(peer.bearer()) == ADA, "it waits for the fetch that is due"
    assert await asyncio.gather(*flood) == [[None] * 6] * 20
    assert peer.asked[KEYS] <= 2 + (time.monotonic() - began) / 0.2
    assert peer.asked[METADATA] == 1


async def test_too_many_that_wait_are_sent_away_not_refused(
    peer: StandIn, provider: OidcProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulse_oidc.kept._WAITING_AT_MOST", 3)
    assert await provider.verify_bearer(peer.bearer()) == ADA
    token = SigningKey("unknown").sign(peer.access_claims())
    answers = await asyncio.gather(*(provider.verify_bearer(token) for _ in range(5)), return_exceptions=True)
    assert [each for each in answers if isinstance(each, TemporaryFailure)]
    assert answers.count(None) == 3
    assert await provider.verify_bearer(peer.bearer()) == ADA, "who is known need not wait"


async def test_a_key_that_the_provider_dropped_is_dropped(peer: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_oidc.keys.KEYS_FRESH_S", 0.0)
    monkeypatch.setattr("pulse_oidc.provider._VERIFIED_HOLDS_S", 0.0)
    monkeypatch.setattr("pulse_oidc.kept.APART_S", 0.0)
    async with at_work(peer.issuer) as provider:
        old = peer.bearer()
        assert await provider.verify_bearer(old) == ADA
        peer.keys = [SigningKey("new")]
        async with asyncio.timeout(30):
            while await provider.verify_bearer(old):  # noqa: ASYNC110 - nobody tells when
                await asyncio.sleep(0.01)
        assert await provider.verify_bearer(peer.bearer()) == ADA


async def test_while_the_provider_is_away_known_keys_still_check(
    peer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulse_oidc.keys.KEYS_FRESH_S", 0.0)
    monkeypatch.setattr("pulse_oidc.kept.APART_S", 0.0)
    async with at_work(peer.issuer) as provider:
        assert await provider.verify_bearer(peer.bearer()) == ADA
        peer.instead[KEYS] = answering({}, 503)
        for number in range(5):
            assert await provider.verify_bearer(peer.bearer(jti=str(number))) == ADA
        with pytest.raises(TemporaryFailure):
            await provider.verify_bearer(SigningKey("unknown").sign(peer.access_claims()))


async def test_a_provider_that_is_away_at_the_start_stops_nothing_and_is_found_later(
    peer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulse_oidc.kept.APART_S", 0.05)
    peer.instead[METADATA] = answering({}, 503)
    async with at_work(peer.issuer) as provider:
        with pytest.raises(TemporaryFailure):
            await provider.verify_bearer(peer.bearer())
        peer.instead.clear()
        await asyncio.sleep(0.05)
        assert await provider.verify_bearer(peer.bearer()) == ADA


async def test_a_token_that_was_just_seen_costs_little(peer: StandIn, provider: OidcProvider) -> None:
    """The figure of the platform: 0.2 ms when cached, sessions too. (Measured: a few µs.)"""
    token = peer.bearer()
    tokens = await peer.logged_in(provider)
    assert tokens is not None
    assert await median_s(partial(provider.verify_bearer, token)) < 0.0002
    assert await median_s(partial(provider.holder, tokens)) < 0.0002


async def median_s(check: Callable[[], Awaitable[Principal | None]]) -> float:
    took = []
    for _ in range(500):
        began = time.perf_counter()
        assert await check() == ADA
        took.append(time.perf_counter() - began)
    return sorted(took)[250]


async def test_a_cached_token_ends_when_it_expires(peer: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    async with at_work(peer.issuer, Lent(), leeway_s=0) as provider:
        token = peer.bearer(exp=now(2))
        assert await provider.verify_bearer(token) == ADA
        later = time.time() + 3
        monkeypatch.setattr(time, "time", lambda: later)
        assert await provider.verify_bearer(token) is None
