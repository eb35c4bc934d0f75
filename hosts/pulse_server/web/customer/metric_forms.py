"""Pages on which a tenant's admin says what a metric is, or takes it back: forms of the API's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response

from pulse_core.errors import Conflict, NotFound, PermanentFailure, Stale
from pulse_core.principal import Role
from pulse_server.inputs import MetricBody
from pulse_server.web import after
from pulse_server.web.bodies import Problem, json_of, parse_as
from pulse_server.web.corrections import demand_confirmed, demand_readable, demanded_revision, wrong
from pulse_server.web.customer import metrics
from pulse_server.web.demands import demands
from pulse_server.web.described import page
from pulse_server.web.entrance import csrf
from pulse_server.web.forms import Form
from pulse_server.web.views import view

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pulse_server.web.forms import Fault

blueprint = Blueprint("customer_metric_forms", __name__, url_prefix="/metrics")

_FORM: Final = Form.of(
    MetricBody,
    {
        "unit": {},
        "description": {},
        "low": {"title": "Lowest", "description": "A value below this is out of range. Empty: none is too low."},
        "high": {"title": "Highest", "description": "A value above this is out of range. Empty: none is too high."},
    },
)
_EXACT: Final = 2**53
_FIELDS: Final = ("unit", "description", "low", "high")


@blueprint.before_request
@demands(Role.CUSTOMER_ADMIN)
async def demand_admin() -> None:
    """Whoever may not save what a form says has no use for the form."""


@blueprint.get("/<metric>/edit")
@page
async def edit(metric: str) -> Response:
    """The form of a metric as it is."""
    found = await metrics.found(metric)
    return await _shown(found, _said(found), revision=found["revision"])


@blueprint.post("/<metric>/edit")
@page
async def change(metric: str) -> Response:
    """Say what the form says, unless somebody else said something meanwhile."""
    found, sent = await metrics.found(metric), await csrf.form()
    revision = demanded_revision(sent)
    taken = _FORM.take(sent, _said(found))
    try:
        wanted = parse_as(MetricBody, json_of(taken.value))
        demand_readable(taken.faults)
        await metrics.described_as(metric, wanted, frozenset({revision}))
    except (Problem, PermanentFailure) as error:
        status, faults = wrong(error, taken.faults, {Stale: "", Conflict: "", PermanentFailure: ""})
        return await _shown(found, taken.value, revision=revision, status=status, faults=faults)
    return after.to("/customer/metrics", "saved")


@blueprint.get("/<metric>/delete")
@page
async def ask(metric: str) -> Response:
    """Ask whether to forget what is said of it."""
    found = await metrics.found(metric)
    if not found["revision"]:
        raise NotFound("nothing is said of such a metric")
    return await view("customer/metric_delete.html", it=found)


@blueprint.post("/<metric>/delete")
@page
async def delete(metric: str) -> Response:
    """Forget it, if it was the page that asks which sent this."""
    await metrics.found(metric)
    demand_confirmed((await csrf.form()).get("confirm"))
    await metrics.forgotten(metric)
    return after.to("/customer/metrics", "deleted")


def _said(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(found[name]) for name in _FIELDS}


def _plain(value: Any) -> Any:
    """A number as people write it: 26, not 26.0."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT else value


async def _shown(
    found: Mapping[str, Any], value: Any, *, revision: object, status: int = 200, faults: Iterable[Fault] = ()
) -> Response:
    shown = _FORM.show(value, faults)
    return await view("customer/metric_edit.html", status, shown=shown, it=found, revision=revision)
