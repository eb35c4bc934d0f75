"""Pages on which a tenant's admin makes, changes and deletes integrations: forms made of each channel's own schema.

What they send takes the way of the API: the same models, the same complaints, beside the fields they are about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_core.errors import Stale
from pulse_core.plugins import channel_schema
from pulse_core.principal import Role
from pulse_server.inputs import IntegrationFields, IntegrationPatch
from pulse_server.web import after
from pulse_server.web.bodies import Problem, json_of, parse_as
from pulse_server.web.corrections import demand_confirmed, demand_readable, demanded_revision, wrong
from pulse_server.web.customer import integrations
from pulse_server.web.customer.own import own
from pulse_server.web.demands import demands
from pulse_server.web.described import page
from pulse_server.web.entrance import csrf
from pulse_server.web.forms import ABSENT, Form, changes
from pulse_server.web.views import view

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable, Mapping

    from pulse_core.api import Channel
    from pulse_server.web.forms import Fault

blueprint = Blueprint("customer_integration_forms", __name__, url_prefix="/integrations")

_NAME = {"type": "string", "minLength": 1, "description": "What people call it, in routes and deliveries."}
_ENABLED = {"type": "boolean", "default": True, "description": "While it is not, nothing is sent."}


@blueprint.before_request
@demands(Role.CUSTOMER_ADMIN)
async def demand_admin() -> None:
    """Whoever may not save what a form says has no use for the form."""


@blueprint.get("/<channel:type_>/new")
@page
async def new(type_: str) -> Response:
    """The empty form of a channel."""
    channel = integrations.channel(type_)
    return await _shown(channel, form_of(channel))


@blueprint.post("/<channel:type_>/new")
@page
async def create(type_: str) -> Response:
    """Make an integration, or show what is wrong with it."""
    channel, sent = integrations.channel(type_), await csrf.form()
    form = form_of(channel)
    taken = form.take(sent)
    if taken.more:
        return await _shown(channel, form, taken.value, more=taken.more)
    try:
        wanted = parse_as(IntegrationFields, json_of(taken.value))
        demand_readable(taken.faults)
        made = await integrations.made(type_, wanted)
    except Problem as error:
        status, faults = wrong(error, taken.faults)
        return await _shown(channel, form, taken.value, status=status, faults=faults)
    return after.to(f"/customer/integrations/{made['integration_id']}", "added")


@blueprint.get("/<uuid:integration_id>/edit")
@page
async def edit(integration_id: uuid.UUID) -> Response:
    """The form of an integration as it is; its secrets are not in it."""
    stored = await integrations.found(integration_id)
    channel = integrations.channel(stored["type"])
    return await _shown(channel, form_of(channel), _fields(stored), stored=stored, revision=stored["revision"])


@blueprint.post("/<uuid:integration_id>/edit")
@page
async def change(integration_id: uuid.UUID) -> Response:
    """Change what was changed in the form, unless somebody else changed something meanwhile."""
    stored, sent = await integrations.found(integration_id), await csrf.form()
    channel, before = integrations.channel(stored["type"]), _fields(stored)
    form, revision = form_of(channel), demanded_revision(sent)
    taken = form.take(sent, before)
    again: dict[str, Any] = {"stored": stored, "revision": revision}
    if taken.more:
        return await _shown(channel, form, taken.value, more=taken.more, **again)
    try:
        parse_as(IntegrationFields, json_of(taken.value))  # as a patch, a name that was emptied would be left as it is
        wanted = parse_as(IntegrationPatch, json_of(changes(before, taken.value)))
        demand_readable(taken.faults)
        await integrations.changed(integration_id, wanted, frozenset({revision}))
    except (Problem, Stale) as error:
        status, faults = wrong(error, taken.faults)
        return await _shown(channel, form, taken.value, status=status, faults=faults, **again)
    return after.to(f"/customer/integrations/{integration_id}", "saved")


@blueprint.get("/<uuid:integration_id>/delete")
@page
async def ask(integration_id: uuid.UUID) -> Response:
    """Ask whether to delete it."""
    return await view("customer/integration_delete.html", it=await integrations.found(integration_id))


@blueprint.post("/<uuid:integration_id>/delete")
@page
async def delete(integration_id: uuid.UUID) -> Response:
    """Delete it with its routes, if it was the page that asks which sent this."""
    await integrations.found(integration_id)
    demand_confirmed((await csrf.form()).get("confirm"))
    mine = own()
    await mine.integrations.delete(mine.tenant_id, integration_id, actor=mine.actor, only_if=None)
    return after.to("/customer/integrations", "deleted")


def form_of(channel: type[Channel[Any]]) -> Form:
    """What the API takes for an integration of a channel, as one form."""
    config = dict(channel_schema(channel))
    definitions = config.pop("$defs", {})
    config.update(title="Settings", description="")
    properties = {"name": _NAME, "enabled": _ENABLED, "config": config}
    return Form({"type": "object", "properties": properties, "required": ["name", "config"], "$defs": definitions})


def _fields(stored: Mapping[str, Any]) -> dict[str, Any]:
    return {name: stored[name] for name in ("name", "enabled", "config")}


async def _shown(
    channel: type[Channel[Any]],
    form: Form,
    value: Any = ABSENT,
    *,
    status: int = 200,
    faults: Iterable[Fault] = (),
    more: frozenset[str] = frozenset(),
    **about: Any,
) -> Response:
    shown = form.show(value, faults, more=more)
    return await view("customer/integration_form.html", status, channel=channel, shown=shown, **about)
