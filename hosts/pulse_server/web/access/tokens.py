"""Pages on which an administrator mints and revokes API tokens: the customers' and the operators' are the same."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pulse_core.errors import NotFound, PermanentFailure
from pulse_server.web import after, once
from pulse_server.web.access import forms
from pulse_server.web.bodies import Problem, json_of, parse_as
from pulse_server.web.corrections import demand_confirmed, demand_readable, wrong
from pulse_server.web.described import page
from pulse_server.web.entrance import csrf
from pulse_server.web.entrance.principal import principal
from pulse_server.web.forms import ABSENT
from pulse_server.web.people import demand_person
from pulse_server.web.replies import parts_of
from pulse_server.web.services import services
from pulse_server.web.views import either, view

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from pydantic import BaseModel
    from quart import Blueprint, Response

    from pulse_postgres.identity.api_tokens import Minted
    from pulse_postgres.paging import Page
    from pulse_server.web.forms import Fault, Form

_BEGINS_WITH: Final = {
    "access": "users",
    "integrations": "integrations",
    "overview": "dashboard",
    "platform": "plugins",
}
"""What to try first with a token for one area; for the others it is called as they are."""


@dataclass(frozen=True, kw_only=True)
class TokenPages:
    """The pages below ``at``. What is found, minted and revoked, and for whom, is its API's."""

    at: str
    body: type[BaseModel]
    found: Callable[[uuid.UUID], Awaitable[dict[str, Any]]]
    minted: Callable[[Any], Awaitable[Minted]]
    revoked: Callable[[uuid.UUID], Awaitable[object]]

    def join(self, blueprint: Blueprint) -> None:
        """Put those that are for browsers alone beside the API's routes, behind the same guard."""
        blueprint.add_url_rule("/new", "new", self.new, methods=["GET"])
        blueprint.add_url_rule("/new", "make", self.make, methods=["POST"])
        blueprint.add_url_rule("/<uuid:token_id>/revoke", "ask", self.ask, methods=["GET"])
        blueprint.add_url_rule("/<uuid:token_id>/revoke", "end", self.end, methods=["POST"])

    async def many(self, found: Page) -> Response:
        """A part of the list, for people and programs."""
        return await either("access/tokens.html", parts_of(found), besides=self._besides)

    async def one(self, token: Mapping[str, Any]) -> Response:
        """One token, for people and programs."""

        async def besides() -> dict[str, Any]:
            return {**await self._besides(), "url": _to_try(token)}

        return await either("access/token.html", token, besides=besides)

    @page
    async def new(self) -> Response:
        """The empty form."""
        return await self._form(forms.new_token(self.body))

    @page
    async def make(self) -> Response:
        """Mint a token, or show what is wrong."""
        form = forms.new_token(self.body)
        taken = form.take(await csrf.form())
        try:
            wanted = parse_as(self.body, json_of(taken.value))
            demand_readable(taken.faults)
            demand_person()
            made = await self.minted(wanted)
        except (Problem, PermanentFailure) as error:
            status, faults = wrong(error, taken.faults, {NotFound: "tenant_id"})
            return await self._form(form, taken.value, status, faults)
        return once.to(f"{self.at}/{made.token_id}", made.token)

    @page
    async def ask(self, token_id: uuid.UUID) -> Response:
        """Ask whether to end a token."""
        token = await self.found(token_id)
        return await view("access/token_revoke.html", it=token, at=self.at, path=f"{self.at}/{token_id}")

    @page
    async def end(self, token_id: uuid.UUID) -> Response:
        """End a token, if it was the page that asks which sent this."""
        await self.found(token_id)
        demand_confirmed((await csrf.form()).get("confirm"))
        await self.revoked(token_id)
        return after.to(f"{self.at}/{token_id}", "revoked")

    async def _form(self, form: Form, value: Any = ABSENT, status: int = 200, faults: Iterable[Fault] = ()) -> Response:
        about = {"at": self.at, "title_of_all": "API tokens", "heading": "Make an API token", "does": "Make it"}
        return await view("access/form.html", status, shown=form.show(value, faults), **about)

    async def _besides(self) -> dict[str, Any]:
        return {"at": self.at, "for_operators": principal().tenant_id is None, "now": dt.datetime.now(dt.UTC)}


def _to_try(token: Mapping[str, Any]) -> str:
    """An address that the token opens, for whoever has just been given it."""
    area = (token["scopes"] or ["overview"])[0]
    side = "customer" if token["tenant_id"] else "operator"
    return f"{services().config.issuer}/{side}/{_BEGINS_WITH.get(area, area)}"
