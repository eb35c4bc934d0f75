"""Pages on which a tenant's admin asks for a file of readings, and gives one up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response, request

from pulse_core.errors import Conflict, PermanentFailure
from pulse_core.principal import Role
from pulse_postgres.exports import end_export
from pulse_server.inputs.telemetry import ExportBody
from pulse_server.web import after
from pulse_server.web.bodies import Problem, json_of, parse_as
from pulse_server.web.corrections import demand_readable, wrong
from pulse_server.web.customer.exports import exported
from pulse_server.web.customer.own import own
from pulse_server.web.demands import demands
from pulse_server.web.described import page
from pulse_server.web.entrance import csrf
from pulse_server.web.forms import ABSENT, Form
from pulse_server.web.views import view

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterable

    from pulse_server.web.forms import Fault

blueprint = Blueprint("customer_export_forms", __name__, url_prefix="/telemetry/exports")

_LIST = "/customer/telemetry/exports"
_CHOSEN = (("device", "devices"), ("site", "sites"), ("metric", "metrics"))
"""What a link may fill in, and where."""


@blueprint.before_request
@demands(Role.CUSTOMER_ADMIN)
async def demand_admin() -> None:
    """Whoever may not ask for one has no use for the form."""


@blueprint.get("/new")
@page
async def new() -> Response:
    """The form, filled in as far as the link that led here says: ``?device=``, ``?site=``, ``?metric=``."""
    chosen = {field: [request.args[name]] for name, field in _CHOSEN if request.args.get(name)}
    return await _shown(_form(), chosen or ABSENT)


@blueprint.post("/new")
@page
async def create() -> Response:
    """Ask for an export, or show what is wrong."""
    form, sent = _form(), await csrf.form()
    if "format" not in sent:
        raise Problem(422, "send the form")  # all else may be left out, and nothing at all would be everything
    taken = form.take(sent)
    if taken.more:
        return await _shown(form, taken.value, more=taken.more)
    try:
        wanted = parse_as(ExportBody, json_of(taken.value))
        demand_readable(taken.faults)
        await exported(wanted)
    except (Problem, PermanentFailure) as error:
        status, faults = wrong(error, taken.faults, {Conflict: "", PermanentFailure: ""})
        return await _shown(form, taken.value, status=status, faults=faults)
    return after.to(_LIST, "export_asked")


@blueprint.post("/<uuid:export_id>/end")
@page
async def end(export_id: uuid.UUID) -> Response:
    """Cancel an export that is under way, or delete one that is over."""
    mine = own()
    cancelled = await end_export(mine.pool, mine.tenant_id, export_id, actor=mine.actor)
    return after.to(_LIST, "export_cancelled" if cancelled else "deleted")


def _form() -> Form:
    return Form(ExportBody.model_json_schema())


async def _shown(
    form: Form,
    value: Any,
    *,
    status: int = 200,
    faults: Iterable[Fault] = (),
    more: frozenset[str] = frozenset(),
) -> Response:
    return await view("customer/export_new.html", status, shown=form.show(value, faults, more=more))
