"""Auth providers side by side: a token is shown to the one that it names, and to no other."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
import structlog

from pulse_core.api import AuthProvider, Login, PluginConfig, Principal, Role, StoreUnavailable, Tokens
from pulse_core.errors import ConfigError
from pulse_server.providers import Providers, claimed_issuer

if TYPE_CHECKING:
    from collections.abc import Mapping

ADA = Principal("user:ada", Role.CUSTOMER_ADMIN, "tenant-a")


class Scripted(AuthProvider):
    """Answers what it is told to, and remembers what it was shown."""

    name: ClassVar[str] = "scripted"

    def __init__(self, issuer: str, answer: Principal | Exception | None = ADA, password: str = "") -> None:
        super().__init__(PluginConfig(), None)  # type: ignore[arg-type]
        self._issuer = issuer
        self._answer = answer
        self._password = password
        self.shown: list[str] = []
        self.closed = False

    @property
    def issuer(self) -> str:
        return self._issuer

    async def verify_bearer(self, token: str) -> Principal | None:
        self.shown.append(token)
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    async def verify_password(self, username: str, password: str) -> Login | None:
        return Login(ADA, username) if password == self._password else None

    async def issue(self, login: Login) -> Tokens | None:
        return Tokens(f"{self._issuer} for {login.evidence}", "", 1)

    async def close(self) -> None:
        self.closed = True
        raise OSError("closing failed")


async def at_work(*providers: Scripted) -> Providers:
    found = Providers(providers)
    await found.open()
    return found


def token(claims: Mapping[str, Any] | str) -> str:
    text = claims if isinstance(claims, str) else json.dumps(claims)
    return f"h.{base64.urlsafe_b64encode(text.encode()).rstrip(b'=').decode()}.s"


async def test_a_token_is_shown_to_its_issuer_alone() -> None:
    ours, theirs = Scripted("ours"), Scripted("theirs")
    providers = await at_work(ours, theirs)
    assert await providers.principal(token({"iss": "theirs"})) == ADA
    assert ours.shown == []
    for nobodys in ({"iss": "nobody"}, {}, {"iss": None}, {"iss": ["ours"]}, {"x": {"iss": "ours"}}):
        assert await providers.principal(token(nobodys)) is None
    assert ours.shown == []


@pytest.mark.parametrize(
    "shown",
    [
        "", "x", "..", "a.b", "h.%.s", "h.e30.s.t", token("[]"), token("1"), token("{"),
        token('{"iss": "ours", "iss": "theirs"}'), token('[["iss", "ours"]]'), token("[" * 5000),
        token({"iss": "ours", "x": "y" * 20_000}), "é.é.é", "h.\ud800.s",
    ],
)  # fmt: skip
def test_what_names_no_issuer_has_none(shown: str) -> None:
    assert claimed_issuer(shown) is None


async def test_a_provider_that_fails_lets_nobody_in_and_the_log_holds_no_token() -> None:
    shown = token({"iss": "ours"})
    providers = await at_work(Scripted("ours", ValueError(f"cannot read {shown}")), Scripted("theirs"))
    with structlog.testing.capture_logs() as said:
        assert await providers.principal(shown) is None
    assert [line["event"] for line in said] == ["provider.failed"]
    assert shown not in str(said)
    assert await providers.principal(token({"iss": "theirs"})) == ADA


async def test_a_provider_that_cannot_know_at_present_says_so() -> None:
    providers = await at_work(Scripted("ours", StoreUnavailable("away")))
    with pytest.raises(StoreUnavailable):
        await providers.principal(token({"iss": "ours"}))


async def test_the_first_that_knows_a_password_issues_the_tokens() -> None:
    providers = await at_work(Scripted("one", password="a"), Scripted("two", password="b"), Scripted("3", password="b"))
    assert (await providers.log_in("ada", "b")) == Tokens("two for ada", "", 1)
    assert await providers.log_in("ada", "c") is None


async def test_two_with_one_issuer_are_refused() -> None:
    with pytest.raises(ConfigError, match="two auth providers"):
        await at_work(Scripted("ours"), Scripted("ours"))


async def test_all_are_closed_whatever_one_of_them_raises() -> None:
    both = [Scripted("ours"), Scripted("theirs")]
    await (await at_work(*both)).close()
    assert [each.closed for each in both] == [True, True]
