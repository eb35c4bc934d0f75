"""A provider to which browsers are sent: its refresh tokens are good for one time, and it can be away."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pulse_core.errors import TemporaryFailure
from pulse_core.identity import AuthProvider, Departure, Tokens
from pulse_core.plugin_base import PluginConfig
from pulse_core.principal import Principal, Role

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quart import Quart

ADA = Principal("ada@elsewhere.example", Role.CUSTOMER_ADMIN, "tenant-a", "ada@elsewhere.example")


class Elsewhere(AuthProvider):
    """What is known there is in here."""

    name: ClassVar[str] = "elsewhere"

    def __init__(self, url: str = "https://elsewhere.example") -> None:
        super().__init__(PluginConfig(), cast("Any", None))
        self.url = url
        self.people: dict[str, Principal] = {}
        """By what is typed there: the code that the browser brings back."""
        self.lasts_s = 900
        self.fault: Exception | None = None
        """What every question raises."""
        self.slow_s = 0.0
        self.renewals = 0
        self.reused = 0
        self.ended: list[Tokens] = []
        self.seen: list[str] = []
        """Which pages of it browsers asked for."""
        self._holders: dict[str, Principal] = {}
        self._refresh: dict[str, Principal | None] = {}

    @property
    def issuer(self) -> str:
        return self.url

    async def verify_bearer(self, token: str) -> Principal | None:
        return None

    async def begin(self, callback_url: str) -> Departure:
        self._demand_here()
        state = secrets.token_urlsafe(8)
        return Departure(f"{self.url}/authorize?state={state}&redirect_uri={callback_url}", f"{state} {callback_url}")

    async def complete(self, query: Mapping[str, str], callback_url: str, secret_state: str) -> Tokens | None:
        self._demand_here()
        if secret_state != f"{query.get('state')} {callback_url}" or query.get("code") not in self.people:
            return None
        return self._tokens(self.people[query["code"]])

    async def holder(self, tokens: Tokens) -> Principal | None:
        self._demand_here()
        return self._holders.get(tokens.access_token)

    async def renew(self, tokens: Tokens) -> Tokens | None:
        self.renewals += 1
        await asyncio.sleep(self.slow_s)
        self._demand_here()
        person = self._refresh.get(tokens.refresh_token)
        if person is None:
            self.reused += tokens.refresh_token in self._refresh
            return None
        self._refresh[tokens.refresh_token] = None
        return self._tokens(person)

    async def end(self, tokens: Tokens, return_url: str) -> str | None:
        self.ended.append(tokens)
        self._demand_here()
        return f"{self.url}/logout?back={return_url}"

    def forget(self) -> None:
        """Let nobody's tokens hold any more."""
        self._holders.clear()

    def _tokens(self, person: Principal) -> Tokens:
        access, refresh = secrets.token_urlsafe(8), secrets.token_urlsafe(8)
        self._holders[access], self._refresh[refresh] = person, person
        return Tokens(access, refresh, self.lasts_s)

    def _demand_here(self) -> None:
        if self.fault is not None:
            raise self.fault


def join(app: Quart, provider: Elsewhere) -> Elsewhere:
    """Enable it, beside what is enabled."""
    app.extensions["services"].providers.all += (provider,)
    return provider


AWAY = TemporaryFailure("elsewhere is away")
