"""Pages on which a tenant's admin registers devices, changes them, and sends them commands: forms of the API's own.

What they send takes the way of the API: the same models, the same complaints, beside the fields they are about.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_core.errors import Conflict, PermanentFailure, Stale
from pulse_core.principal import Role
from pulse_postgres.devices import one_device
from pulse_server.inputs import DevicePatch, OwnDeviceBody
from pulse_server.inputs.commands import CommandBody
from pulse_server.web import after
from pulse_server.web.bodies import Problem, json_of, parse_as
from pulse_server.web.corrections import demand_readable, demanded_revision, wrong
from pulse_server.web.customer import commands
from pulse_server.web.customer.device_keys import code_shown
from pulse_server.web.customer.own import own
from pulse_server.web.demands import demands
from pulse_server.web.described import page
from pulse_server.web.entrance import csrf
from pulse_server.web.forms import ABSENT, Form, changes
from pulse_server.web.replies import demand_ids
from pulse_server.web.views import view

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import BaseModel

    from pulse_server.web.forms import Fault

blueprint = Blueprint("customer_device_forms", __name__, url_prefix="/devices")

_EDITED = ("name", "labels", "stale_after_s")
_EMPTY: dict[str, Any] = {"name": "", "labels": {}, "stale_after_s": None}


@blueprint.before_request
@demands(Role.CUSTOMER_ADMIN)
async def demand_admin() -> None:
    """Whoever may not save what a form says has no use for the form."""


@blueprint.get("/new")
@page
async def new() -> Response:
    """The empty form of a device."""
    return await _register_shown(_form(OwnDeviceBody))


@blueprint.post("/new")
@page
async def create() -> Response:
    """Register a device and make its first code, or show what is wrong."""
    mine, form = own(), _form(OwnDeviceBody)
    taken = form.take(await csrf.form())
    if taken.more:
        return await _register_shown(form, taken.value, more=taken.more)
    try:
        wanted = parse_as(OwnDeviceBody, json_of(taken.value))
        demand_readable(taken.faults)
        device = await mine.provisioning.create_device(mine.tenant_id, actor=mine.actor, **wanted.model_dump())
    except (Problem, PermanentFailure) as error:
        status, faults = wrong(error, taken.faults, {Conflict: "device_id"})
        return await _register_shown(form, taken.value, status=status, faults=faults)
    code = await mine.provisioning.create_code(mine.tenant_id, wanted.device_id, actor=mine.actor)
    return await code_shown(device, code, new=True)


@blueprint.get("/<device_id>/edit")
@page
async def edit(device_id: str) -> Response:
    """The form of a device as it is."""
    device = await _device(device_id)
    return await _edit_shown(device, _form(OwnDeviceBody, _EDITED), _before(device), revision=device["revision"])


@blueprint.post("/<device_id>/edit")
@page
async def change(device_id: str) -> Response:
    """Change what was changed in the form, unless somebody else changed something meanwhile."""
    mine, device, sent = own(), await _device(device_id), await csrf.form()
    form, before, revision = _form(OwnDeviceBody, _EDITED), _before(device), demanded_revision(sent)
    taken = form.take(sent, before)
    value = {**_EMPTY, **taken.value}
    if taken.more:
        return await _edit_shown(device, form, value, revision=revision, more=taken.more)
    try:
        wanted = parse_as(DevicePatch, json_of(changes(before, value)))
        demand_readable(taken.faults)
        only_if = frozenset({revision})
        await mine.devices.change(mine.tenant_id, device_id, wanted.changes(), actor=mine.actor, only_if=only_if)
    except (Problem, PermanentFailure) as error:
        status, faults = wrong(error, taken.faults, {Stale: "", PermanentFailure: "labels"})
        return await _edit_shown(device, form, value, revision=revision, status=status, faults=faults)
    return after.to(f"/customer/devices/{device_id}", "saved")


@blueprint.get("/<device_id>/commands/new")
@page
async def command(device_id: str) -> Response:
    """The empty form of a command."""
    return await _command_shown(await _device(device_id), _form(CommandBody))


@blueprint.post("/<device_id>/commands/new")
@page
async def send(device_id: str) -> Response:
    """Queue a command, or show what is wrong with it."""
    device, form = await _device(device_id), _form(CommandBody)
    taken = form.take(await csrf.form())
    try:
        wanted = parse_as(CommandBody, json_of(taken.value))
        demand_readable(taken.faults)
        await commands.queued(device_id, wanted)
    except (Problem, PermanentFailure) as error:
        status, faults = wrong(error, taken.faults)
        return await _command_shown(device, form, taken.value, status=status, faults=faults)
    return after.to(f"/customer/devices/{device_id}", "queued")


def _form(model: type[BaseModel], only: Iterable[str] = ()) -> Form:
    """The form of a model, or of some of its fields."""
    schema = model.model_json_schema()
    names = list(only) or list(schema["properties"])
    needed = [name for name in schema.get("required", []) if name in names]
    properties = {name: _fillable(schema["properties"][name]) for name in names}
    return Form({"type": "object", "properties": properties, "required": needed, "$defs": schema.get("$defs", {})})


def _fillable(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Names with values are rows to fill in, whatever the names must look like: that the API says, beside them."""
    whole = dict(schema)
    whole.pop("propertyNames", None)
    for item in whole.pop("patternProperties", {}).values():
        whole["additionalProperties"] = item
    return whole


def _before(device: Mapping[str, Any]) -> dict[str, Any]:
    return {name: device[name] for name in _EDITED}


async def _device(device_id: str) -> dict[str, Any]:
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    return await one_device(mine.pool, mine.tenant_id, device_id)


async def _register_shown(
    form: Form,
    value: Any = ABSENT,
    *,
    status: int = 200,
    faults: Iterable[Fault] = (),
    more: frozenset[str] = frozenset(),
) -> Response:
    return await view("customer/device_new.html", status, shown=form.show(value, faults, more=more))


async def _edit_shown(
    device: Mapping[str, Any],
    form: Form,
    value: Any,
    *,
    revision: object,
    status: int = 200,
    faults: Iterable[Fault] = (),
    more: frozenset[str] = frozenset(),
) -> Response:
    shown = form.show(value, faults, more=more)
    return await view("customer/device_edit.html", status, shown=shown, device=device, revision=revision)


async def _command_shown(
    device: Mapping[str, Any], form: Form, value: Any = ABSENT, *, status: int = 200, faults: Iterable[Fault] = ()
) -> Response:
    return await view("customer/command_new.html", status, shown=form.show(value, faults), device=device)
