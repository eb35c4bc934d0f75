"""Pages on which an administrator makes, changes and removes users: the customers' and the operators' are the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from pulse_core.errors import Conflict, NotFound, PermanentFailure, Stale
from pulse_server.web import after, once
from pulse_server.web.access import forms
from pulse_server.web.bodies import Problem, json_of, parse_as
from pulse_server.web.conditions import versioned
from pulse_server.web.corrections import demand_confirmed, demand_readable, demanded_revision, wrong
from pulse_server.web.described import page
from pulse_server.web.entrance import csrf
from pulse_server.web.entrance.principal import principal
from pulse_server.web.forms import ABSENT, changes
from pulse_server.web.people import gives_passwords
from pulse_server.web.replies import parts_of
from pulse_server.web.views import either, view

if TYPE_CHECKING:
    import uuid
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from pydantic import BaseModel
    from quart import Blueprint, Response

    from pulse_postgres.paging import Page
    from pulse_server.web.forms import Fault, Form
    from pulse_server.web.people import Made


_OF_NEW: Final[dict[str, Any]] = {"heading": "Add a user", "does": "Add"}


@dataclass(frozen=True, kw_only=True)
class UserPages:
    """The pages below ``at``. What is found, made, changed and removed, and for whom, is its API's."""

    at: str
    body: type[BaseModel]
    patch: type[BaseModel]
    found: Callable[[uuid.UUID], Awaitable[dict[str, Any]]]
    made: Callable[[Any], Awaitable[Made]]
    changed: Callable[[Mapping[str, Any], Any, Collection[str] | None], Awaitable[Made]]
    removed: Callable[[uuid.UUID], Awaitable[None]]

    def join(self, blueprint: Blueprint) -> None:
        """Put those that are for browsers alone beside the API's routes, behind the same guard."""
        blueprint.add_url_rule("/new", "new", self.new, methods=["GET"])
        blueprint.add_url_rule("/new", "make", self.make, methods=["POST"])
        blueprint.add_url_rule("/<uuid:user_id>/edit", "edit", self.edit, methods=["GET"])
        blueprint.add_url_rule("/<uuid:user_id>/edit", "save", self.save, methods=["POST"])
        blueprint.add_url_rule("/<uuid:user_id>/password", "password", self.password, methods=["GET"])
        blueprint.add_url_rule("/<uuid:user_id>/password", "replace", self.replace, methods=["POST"])
        blueprint.add_url_rule("/<uuid:user_id>/disable", "disable", self.disable, methods=["POST"])
        blueprint.add_url_rule("/<uuid:user_id>/enable", "enable", self.enable, methods=["POST"])
        blueprint.add_url_rule("/<uuid:user_id>/remove", "ask", self.ask, methods=["GET"])
        blueprint.add_url_rule("/<uuid:user_id>/remove", "end", self.end, methods=["POST"])

    async def many(self, found: Page) -> Response:
        """A part of the list, for people and programs."""
        return await either("access/users.html", parts_of(found), besides=self._besides)

    async def one(self, user: Mapping[str, Any]) -> Response:
        """One user, for people and programs."""
        return await either(
            "access/user.html", user, lambda value: versioned(value, living=True), besides=self._besides
        )

    @page
    async def new(self) -> Response:
        """The empty form."""
        _demand_accounts()
        return await self._form(forms.new_user(self.body), **_OF_NEW)

    @page
    async def make(self) -> Response:
        """Make a user, or show what is wrong."""
        _demand_accounts()
        form = forms.new_user(self.body)
        taken = form.take(await csrf.form())
        try:
            wanted = parse_as(self.body, json_of(taken.value))
            demand_readable(taken.faults)
            made = await self.made(wanted)
        except (Problem, PermanentFailure) as error:
            about = {NotFound: "tenant_id", Conflict: "username", PermanentFailure: "password"}
            status, faults = wrong(error, taken.faults, about)
            return await self._form(form, taken.value, status, faults, **_OF_NEW)
        return self._shown_once(made, "added")

    @page
    async def edit(self, user_id: uuid.UUID) -> Response:
        """The form of a user as they are."""
        user = await self.found(user_id)
        about = {**self._of(user, "Change"), "revision": user["revision"]}
        return await self._form(self._form_of(user), _fields(user), **about)

    @page
    async def save(self, user_id: uuid.UUID) -> Response:
        """Change what was changed in the form, unless somebody else changed something meanwhile."""
        user, sent = await self.found(user_id), await csrf.form()
        revision, form = demanded_revision(sent), self._form_of(user)
        taken = form.take(sent, _fields(user))
        try:
            wanted = parse_as(self.patch, json_of(changes(_fields(user), taken.value)))
            demand_readable(taken.faults)
            await self.changed(user, wanted, frozenset({revision}))
        except (Problem, Conflict, Stale) as error:
            status, faults = wrong(error, taken.faults, {Conflict: "role"})
            about = {**self._of(user, "Change"), "revision": revision}
            return await self._form(form, taken.value, status, faults, **about)
        return after.to(self._path(user), "saved")

    @page
    async def password(self, user_id: uuid.UUID) -> Response:
        """The form with which somebody is given another password."""
        _demand_accounts()
        user = await self.found(user_id)
        return await self._form(forms.password(self.body), **self._of(user, "New password"))

    @page
    async def replace(self, user_id: uuid.UUID) -> Response:
        """Give somebody the password that was typed, or one that is made up."""
        _demand_accounts()
        user, form = await self.found(user_id), forms.password(self.body)
        taken = form.take(await csrf.form())
        typed = taken.value or {"reset_password": True}
        try:
            made = await self.changed(user, parse_as(self.patch, json_of(typed)), None)
        except (Problem, PermanentFailure) as error:
            status, faults = wrong(error, taken.faults, {PermanentFailure: "password"})
            return await self._form(form, ABSENT, status, faults, **self._of(user, "New password"))
        return self._shown_once(made, "saved")

    @page
    async def disable(self, user_id: uuid.UUID) -> Response:
        """Keep somebody out."""
        user = await self.found(user_id)
        await self.changed(user, parse_as(self.patch, json_of({"disabled": True})), None)
        return after.to(self._path(user), "disabled")

    @page
    async def enable(self, user_id: uuid.UUID) -> Response:
        """Let somebody in again."""
        user = await self.found(user_id)
        await self.changed(user, parse_as(self.patch, json_of({"disabled": False})), None)
        return after.to(self._path(user), "enabled")

    @page
    async def ask(self, user_id: uuid.UUID) -> Response:
        """Ask whether to remove somebody."""
        user = await self.found(user_id)
        return await view("access/user_remove.html", it=user, at=self.at, path=self._path(user))

    @page
    async def end(self, user_id: uuid.UUID) -> Response:
        """Remove somebody, if it was the page that asks which sent this."""
        await self.found(user_id)
        demand_confirmed((await csrf.form()).get("confirm"))
        await self.removed(user_id)
        return after.to(self.at, "removed")

    def _shown_once(self, made: Made, sentence: str) -> Response:
        path = self._path(made.user)
        return once.to(path, made.initial_password) if made.initial_password else after.to(path, sentence)

    def _path(self, user: Mapping[str, Any]) -> str:
        return f"{self.at}/{user['user_id']}"

    def _form_of(self, user: Mapping[str, Any]) -> Form:
        return forms.user_as_is(self.body, of_a_tenant=bool(user["tenant_id"]))

    def _of(self, user: Mapping[str, Any], heading: str) -> dict[str, Any]:
        path = self._path(user)
        return {"heading": f"{heading}: {user['username']}", "does": "Save", "back": path, "of": user["username"]}

    async def _form(
        self, form: Form, value: Any = ABSENT, status: int = 200, faults: Iterable[Fault] = (), **about: Any
    ) -> Response:
        shown = form.show(value, faults)
        return await view("access/form.html", status, shown=shown, at=self.at, title_of_all="Users", **about)

    async def _besides(self) -> dict[str, Any]:
        return {"at": self.at, "for_operators": principal().tenant_id is None, "gives_passwords": gives_passwords()}


def _fields(user: Mapping[str, Any]) -> dict[str, Any]:
    return {name: user[name] for name in ("role", "email")}


def _demand_accounts() -> None:
    """Raises Conflict: people log in elsewhere."""
    if not gives_passwords():
        raise Conflict("people log in elsewhere here, and passwords are given there")
