"""Pages on which a tenant's admin makes, changes and deletes routes, and sees what they would have sent.

What they send takes the way of the API: the same model, the same complaints, beside the fields they are about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from quart import Blueprint, Response

from pulse_core.errors import NotFound, PermanentFailure, Stale
from pulse_core.principal import Role
from pulse_postgres.integration_pages import shown_route, targets
from pulse_server.inputs import RouteFields
from pulse_server.route_sentences import sentence
from pulse_server.routing_input import route_of
from pulse_server.web import after
from pulse_server.web.bodies import Problem, json_of, parse_as
from pulse_server.web.corrections import demand_confirmed, demand_readable, demanded_revision, wrong
from pulse_server.web.customer.own import Own, own
from pulse_server.web.customer.route_fields import form_of
from pulse_server.web.customer.route_previews import of_form
from pulse_server.web.customer.routes import fields_of
from pulse_server.web.demands import demands
from pulse_server.web.described import page
from pulse_server.web.entrance import csrf
from pulse_server.web.forms import ABSENT, Fault
from pulse_server.web.views import view

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping

    from pulse_server.web.forms import Form
    from pulse_server.web.forms.form import Taken

blueprint = Blueprint("customer_route_forms", __name__, url_prefix="/integration-routes")

PREVIEW = "~preview"
"""The button that shows what the route would have sent, and saves nothing."""
_GONE = "it, or the fallback, is not there any more"


@blueprint.before_request
@demands(Role.CUSTOMER_ADMIN)
async def demand_admin() -> None:
    """Whoever may not save what a form says has no use for the form."""


@blueprint.get("/new")
@page
async def new() -> Response:
    """The empty form, once there is something that a route can lead to."""
    mine = own()
    found = await targets(mine.pool, mine.tenant_id)
    return await _shown(form_of(found), nowhere=not found)


@blueprint.post("/new")
@page
async def create() -> Response:
    """Make a route, or show what is wrong with it, or what it would have sent."""
    mine, sent = own(), await csrf.form()
    form = await _form(mine)
    taken = form.take(sent)
    if PREVIEW in sent:
        return await _shown(form, taken.value, preview=await of_form(mine, taken))
    try:
        wanted = _wanted(taken)
        made = await mine.integrations.create_route(route_of(wanted, mine.tenant_id), actor=mine.actor)
    except (Problem, NotFound) as error:
        status, faults = _wrong(error, taken)
        return await _shown(form, taken.value, status=status, faults=faults)
    return after.to(f"/customer/integration-routes/{made.route_id}", "added")


@blueprint.get("/<uuid:route_id>/edit")
@page
async def edit(route_id: uuid.UUID) -> Response:
    """The form of a route as it is."""
    mine = own()
    stored = await _stored(mine, route_id)
    return await _shown(await _form(mine), _fields(stored), stored=stored, revision=stored["revision"])


@blueprint.post("/<uuid:route_id>/edit")
@page
async def change(route_id: uuid.UUID) -> Response:
    """Change a route, unless somebody else changed it meanwhile."""
    mine, sent = own(), await csrf.form()
    stored = await _stored(mine, route_id)
    form, revision = await _form(mine), demanded_revision(sent)
    taken = form.take(sent, _fields(stored))
    again: dict[str, Any] = {"stored": stored, "revision": revision}
    if PREVIEW in sent:
        return await _shown(form, taken.value, preview=await of_form(mine, taken), **again)
    try:
        wanted = route_of(_wanted(taken), mine.tenant_id, route_id)
        await mine.integrations.change_route(
            mine.tenant_id, route_id, lambda _: wanted, actor=mine.actor, only_if=frozenset({revision})
        )
    except (Problem, NotFound, Stale) as error:
        status, faults = _wrong(error, taken)
        return await _shown(form, taken.value, status=status, faults=faults, **again)
    return after.to(f"/customer/integration-routes/{route_id}", "saved")


@blueprint.get("/<uuid:route_id>/delete")
@page
async def ask(route_id: uuid.UUID) -> Response:
    """Ask whether to delete it."""
    mine = own()
    found = await _stored(mine, route_id)
    ids = [each for each in (found["integration_id"], found["fallback_integration_id"]) if each is not None]
    says = sentence(found, await targets(mine.pool, mine.tenant_id, ids))
    return await view("customer/route_delete.html", it=found, says=says)


@blueprint.post("/<uuid:route_id>/delete")
@page
async def delete(route_id: uuid.UUID) -> Response:
    """Delete it, if it was the page that asks which sent this."""
    mine = own()
    await _stored(mine, route_id)
    demand_confirmed((await csrf.form()).get("confirm"))
    await mine.integrations.delete_route(mine.tenant_id, route_id, actor=mine.actor, only_if=None)
    return after.to("/customer/integration-routes", "deleted")


async def _form(mine: Own) -> Form:
    return form_of(await targets(mine.pool, mine.tenant_id))


async def _stored(mine: Own, route_id: uuid.UUID) -> dict[str, Any]:
    return shown_route(await mine.integrations.get_route(mine.tenant_id, route_id))


def _fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    """What the form is shown with: as JSON says it."""
    fields: dict[str, Any] = msgspec.to_builtins(fields_of(stored))
    return fields


def _wanted(taken: Taken) -> RouteFields:
    """The route that a form says. Raises Problem: 422."""
    wanted = parse_as(RouteFields, json_of(taken.value))
    demand_readable(taken.faults)
    return wanted


def _wrong(error: Problem | PermanentFailure, taken: Taken) -> tuple[int, list[Fault]]:
    """As :func:`~pulse_server.web.corrections.wrong`; what is missing is what the route leads to."""
    status, faults = wrong(error, taken.faults, {NotFound: "integration_id"})
    return status, [Fault("integration_id", _GONE)] if isinstance(error, NotFound) else faults


async def _shown(
    form: Form, value: Any = ABSENT, *, status: int = 200, faults: Iterable[Fault] = (), **about: Any
) -> Response:
    return await view("customer/route_form.html", status, shown=form.show(value, faults), **about)
