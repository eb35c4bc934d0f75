"""Pages on which an operator_admin makes, changes, suspends, resumes and removes tenants.

A tenant's id holds no ``~``, so that ``/tenants/~new`` is nobody's page.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response

from pulse_core.errors import Conflict, NotFound, PermanentFailure, Stale
from pulse_server.inputs import TenantBody, TenantPatch
from pulse_server.web import after, pages
from pulse_server.web.bodies import Problem, json_of, parse_as
from pulse_server.web.corrections import demand_readable, demanded_revision, wrong
from pulse_server.web.described import page
from pulse_server.web.entrance import csrf
from pulse_server.web.entrance.principal import principal
from pulse_server.web.forms import ABSENT, Fault, Form
from pulse_server.web.operator.admins import demand_admin
from pulse_server.web.replies import demand_tenant_id
from pulse_server.web.services import services
from pulse_server.web.stale_fields import STALE_FIELDS
from pulse_server.web.views import view

if TYPE_CHECKING:
    from collections.abc import Iterable

blueprint = Blueprint("tenant_forms", __name__, url_prefix="/tenants")
blueprint.before_request(demand_admin)

_LIST = "/operator/tenants"
_CHANGED: Final[dict[str, dict[str, Any]]] = {"name": {}, **STALE_FIELDS}
_NEW_FORM: Final = Form.of(TenantBody, {"tenant_id": {}, **_CHANGED})
_FORM: Final = Form.of(TenantBody, _CHANGED)
_WAIT_S = 1.0
"""A small tenant is gone by then, and nobody need look at its progress."""


@blueprint.get("/~new")
@page
async def new() -> Response:
    """The empty form."""
    return await _shown(_NEW_FORM)


@blueprint.post("/~new")
@page
async def create() -> Response:
    """Make a tenant, or show what is wrong with it."""
    taken = _NEW_FORM.take(await csrf.form())
    try:
        wanted = parse_as(TenantBody, json_of(taken.value))
        demand_readable(taken.faults)
        made = await services().provisioning.create_tenant(**wanted.model_dump(), actor=principal().subject)
    except (Problem, PermanentFailure) as error:
        status, faults = wrong(error, taken.faults, {Conflict: "tenant_id"})
        return await _shown(_NEW_FORM, taken.value, status=status, faults=faults)
    return after.to(f"{_LIST}/{made['tenant_id']}", "added")


@blueprint.get("/<tenant_id>/edit")
@page
async def edit(tenant_id: str) -> Response:
    """The form of a tenant as it is."""
    tenant = await _tenant(tenant_id)
    return await _shown(
        _FORM,
        _fields(tenant),
        tenant=tenant,
        revision=str(tenant["revision"]),
    )


@blueprint.post("/<tenant_id>/edit")
@page
async def change(tenant_id: str) -> Response:
    """Change what the form says, unless somebody else changed something meanwhile."""
    tenant, sent = await _tenant(tenant_id), await csrf.form()
    revision = demanded_revision(sent)
    taken = _FORM.take(sent, _fields(tenant))
    again: dict[str, Any] = {"tenant": tenant, "revision": revision}
    try:
        wanted = parse_as(TenantPatch, json_of({"name": "", "stale_after_s": None, **taken.value}))
        demand_readable(taken.faults)
        changes = wanted.model_dump(exclude_unset=True)
        await services().tenants.change(tenant_id, changes, actor=principal().subject, only_if={revision})
    except (Problem, Stale) as error:
        status, faults = wrong(error, taken.faults)
        return await _shown(_FORM, taken.value, status=status, faults=faults, **again)
    return after.to(f"{_LIST}/{tenant_id}", "saved")


@blueprint.get("/<tenant_id>/suspend")
@page
async def ask_suspend(tenant_id: str) -> Response:
    """Ask whether to suspend it."""
    return await view("operator/tenant_suspend.html", it=await _tenant(tenant_id))


@blueprint.post("/<tenant_id>/suspend")
@page
async def suspend(tenant_id: str) -> Response:
    """Shut it out, if it was the page that asks which sent this."""
    return await _made(tenant_id, "SUSPENDED", "suspended")


@blueprint.post("/<tenant_id>/resume")
@page
async def resume(tenant_id: str) -> Response:
    """Let it in again."""
    return await _made(tenant_id, "ACTIVE", "resumed")


@blueprint.get("/<tenant_id>/remove")
@page
async def ask_remove(tenant_id: str) -> Response:
    """Ask whether to remove it for good; while it is being removed, how far that is; and then, that it is gone."""
    demand_tenant_id(tenant_id)
    removal = services().removals.of(tenant_id)
    try:
        tenant = await services().tenants.get(tenant_id)
    except NotFound:
        if removal is None:
            raise
        tenant = None
    return await view("operator/tenant_remove.html", it=tenant, tenant_id=tenant_id, removal=removal, wrong=None)


@blueprint.post("/<tenant_id>/remove")
@page
async def remove(tenant_id: str) -> Response:
    """Begin to remove it, if its id was typed."""
    tenant, typed = await _tenant(tenant_id), (await csrf.form()).get("confirm", "")
    if typed.strip() != tenant_id:
        said = "That is not its id."
        if not pages.wanted():
            raise Problem(422, "repeat the id of the tenant", errors=[{"field": "confirm", "message": said}])
        about = {"it": tenant, "tenant_id": tenant_id, "removal": None, "wrong": said}
        return await view("operator/tenant_remove.html", 422, **about)
    begun = services().removals.begin(services().tenants, tenant_id, actor=principal().subject)
    done, _ = await asyncio.wait({begun.task}, timeout=_WAIT_S)
    if not done:
        return pages.to(f"{_LIST}/{tenant_id}/remove")
    begun.task.result()
    return after.to(_LIST, "tenant_removed")


async def _tenant(tenant_id: str) -> dict[str, Any]:
    demand_tenant_id(tenant_id)
    return await services().tenants.get(tenant_id)


async def _made(tenant_id: str, status: str, sentence: str) -> Response:
    demand_tenant_id(tenant_id)
    if (await csrf.form()).get("confirm") != "yes":
        raise Problem(422, "this must be confirmed", errors=[{"field": "confirm", "message": "say yes"}])
    await services().tenants.change(tenant_id, {"status": status}, actor=principal().subject)
    return after.to(f"{_LIST}/{tenant_id}", sentence)


def _fields(tenant: dict[str, Any]) -> dict[str, Any]:
    return {name: tenant[name] for name in _CHANGED if tenant[name] is not None}


async def _shown(
    form: Form, value: Any = ABSENT, *, status: int = 200, faults: Iterable[Fault] = (), **about: Any
) -> Response:
    return await view("operator/tenant_form.html", status, shown=form.show(value, faults), **about)
