"""``/customer/settings``: when the tenant's devices are STALE, for all of them that have no threshold of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response

from pulse_core.errors import Stale
from pulse_server.inputs import OwnTenantPatch, TenantBody
from pulse_server.outputs.tenants import OwnTenant
from pulse_server.web import after, pages
from pulse_server.web.bodies import Problem, body_as, json_of, parse_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.corrections import demand_readable, demanded_revision, wrong
from pulse_server.web.customer.own import own
from pulse_server.web.described import described, page
from pulse_server.web.entrance import csrf
from pulse_server.web.forms import Form
from pulse_server.web.stale_fields import STALE_FIELDS
from pulse_server.web.views import either, view

if TYPE_CHECKING:
    from collections.abc import Mapping

blueprint = Blueprint("customer_settings", __name__, url_prefix="/settings")

_PATH: Final = "/customer/settings"
_TEMPLATE: Final = "customer/settings.html"
_SAID: Final = {
    "stale_after_s": (
        "After so long without a message a device is stale. Empty: as long as the platform says. A device may have a"
        " time of its own. A change holds from each device's next message on."
    ),
    "stale_on_disconnect": (
        "Whether a device is stale as soon as its last connection (MQTT) has ended, however short its silence is. It is"
        " lost when the device went without a word, or was not heard of for longer than it had promised. For devices"
        " that connect only to send, choose one of the first two."
    ),
}
_FORM: Final = Form.of(TenantBody, {name: {**told, "description": _SAID[name]} for name, told in STALE_FIELDS.items()})


@blueprint.get("")
@described(OwnTenant)
async def show() -> Response:
    """When the tenant's devices are STALE."""
    found = await _settings()

    async def besides() -> dict[str, Any]:
        return {"shown": _FORM.show(_fields(found)), "revision": found["revision"]}

    return await either(_TEMPLATE, found, versioned, besides=besides)


@blueprint.patch("")
@described(OwnTenant, body=OwnTenantPatch)
async def change() -> Response:
    """Change after how long a device is STALE, or whether a disconnect makes it so at once."""
    mine, only_if, wanted = own(), wanted_revisions(), await body_as(OwnTenantPatch)
    changes = wanted.model_dump(exclude_unset=True)
    return versioned(await mine.settings.change(mine.tenant_id, changes, actor=mine.actor, only_if=only_if))


@blueprint.post("")
@page
async def save() -> Response:
    """Change what the form says, unless somebody else changed something meanwhile. A program PATCHes."""
    pages.demand_browser("GET", "HEAD", "OPTIONS", "PATCH")
    mine, found, sent = own(), await _settings(), await csrf.form()
    revision = demanded_revision(sent)
    taken = _FORM.take(sent, _fields(found))
    try:
        wanted = parse_as(OwnTenantPatch, json_of({"stale_after_s": None, **taken.value}))
        demand_readable(taken.faults)
        changes = wanted.model_dump(exclude_unset=True)
        await mine.settings.change(mine.tenant_id, changes, actor=mine.actor, only_if={revision})
    except (Problem, Stale) as error:
        status, faults = wrong(error, taken.faults)
        return await view(_TEMPLATE, status, it=found, shown=_FORM.show(taken.value, faults), revision=revision)
    return after.to(_PATH, "saved")


async def _settings() -> dict[str, Any]:
    mine = own()
    return await mine.settings.get(mine.tenant_id)


def _fields(found: Mapping[str, Any]) -> dict[str, Any]:
    """As people write them: 60, not 60.0."""
    given = {name: found[name] for name in STALE_FIELDS if found[name] is not None}
    return {name: int(each) if isinstance(each, float) and each.is_integer() else each for name, each in given.items()}
