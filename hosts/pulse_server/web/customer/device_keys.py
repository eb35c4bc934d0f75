"""Codes and tokens of the tenant's devices, made and ended by its admins: what is secret is shown this once.

A program gets JSON. A browser is asked first, and gets the page that shows the secret as the answer to its form: it
stands in no address and in no cache.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_core.principal import Role
from pulse_postgres.devices import one_device
from pulse_server.device_lines import Example, activate_line, doors, http_line, mqtt_line
from pulse_server.inputs import RotateBody
from pulse_server.outputs.devices import ActivationCode, Device, DeviceToken
from pulse_server.web import after, pages
from pulse_server.web.bodies import Problem, body_as, json_of, parse_as
from pulse_server.web.corrections import demand_confirmed
from pulse_server.web.customer.own import own
from pulse_server.web.demands import demands
from pulse_server.web.described import described, page
from pulse_server.web.entrance import csrf
from pulse_server.web.replies import demand_ids, reply
from pulse_server.web.services import services
from pulse_server.web.views import view

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_postgres.provisioning import Code, Granted

blueprint = Blueprint("customer_device_keys", __name__, url_prefix="/devices")

GRACES = {0: "at once", 3600: "after an hour", 86400: "after a day", 604800: "after a week"}
"""When the old token ends, as a page offers it."""


@blueprint.before_request
@demands(Role.CUSTOMER_ADMIN)
async def demand_admin() -> None:
    """Whoever may not do these things needs not be asked about them."""


@blueprint.get("/<device_id>/activate-code")
@page
async def ask_for_code(device_id: str) -> Response:
    """Ask whether to make a code."""
    return await _asked(device_id, "code")


@blueprint.post("/<device_id>/activate-code")
@described(ActivationCode, status=201)
async def make_code(device_id: str) -> Response:
    """Make a one-time activation code, good for 60 minutes; it replaces one that was not used."""
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    code = await mine.provisioning.create_code(mine.tenant_id, device_id, actor=mine.actor)
    if not pages.wanted():
        return reply(code, 201)
    return await code_shown(await one_device(mine.pool, mine.tenant_id, device_id), code)


@blueprint.get("/<device_id>/rotate-token")
@page
async def ask_to_rotate(device_id: str) -> Response:
    """Ask whether to replace its token, and when the old one ends."""
    return await _asked(device_id, "rotate", graces=GRACES)


@blueprint.post("/<device_id>/rotate-token")
@described(DeviceToken, body=RotateBody, body_optional=True)
async def rotate(device_id: str) -> Response:
    """Give a device a new token, shown this once; the old one stays valid for ``grace_s``."""
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    wanted = await _rotation()
    granted = await mine.provisioning.rotate_token(mine.tenant_id, device_id, grace_s=wanted.grace_s, actor=mine.actor)
    if not pages.wanted():
        return reply(granted)
    return await _token_shown(await one_device(mine.pool, mine.tenant_id, device_id), granted, wanted.grace_s)


@blueprint.get("/<device_id>/revoke")
@page
async def ask_to_revoke(device_id: str) -> Response:
    """Ask whether to shut it out."""
    return await _asked(device_id, "revoke")


@blueprint.post("/<device_id>/revoke")
@described(Device)
async def revoke(device_id: str) -> Response:
    """Shut a device out for good: its tokens, leftover codes and live connections end."""
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    if pages.wanted():
        demand_confirmed((await csrf.form()).get("confirm"))
    await mine.provisioning.revoke(mine.tenant_id, device_id, actor=mine.actor)
    if pages.wanted():
        return after.to(f"/customer/devices/{device_id}", "revoked")
    return reply(await one_device(mine.pool, mine.tenant_id, device_id))


async def code_shown(device: Mapping[str, Any], code: Code, *, new: bool = False) -> Response:
    """The page with a new code, and how to begin with it. ``new``: the device, too."""
    open_doors = doors(services().config)
    lines = {"activate": activate_line(open_doors, code.code), **_lines(open_doors, device, "$TOKEN")}
    return await view("customer/device_code.html", 201, device=device, code=code, lines=lines, new=new)


async def _token_shown(device: Mapping[str, Any], granted: Granted, grace_s: float) -> Response:
    lines = _lines(doors(services().config), device, granted.token)
    ends = GRACES.get(int(grace_s), "later")
    return await view("customer/device_token.html", device=device, token=granted.token, lines=lines, ends=ends)


def _lines(open_doors: Mapping[str, str], device: Mapping[str, Any], token: str) -> dict[str, str | None]:
    example = Example(device["tenant_id"], device["device_id"], device["site_id"], token)
    return {"http": http_line(open_doors, example), "mqtt": mqtt_line(open_doors, example)}


async def _asked(device_id: str, what: str, **more: Any) -> Response:
    pages.demand_browser()
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    device = await one_device(mine.pool, mine.tenant_id, device_id)
    return await view("customer/device_confirm.html", device=device, what=what, **more)


async def _rotation() -> RotateBody:
    """What a program's JSON says, or a page's form."""
    if not pages.wanted():
        return await body_as(RotateBody, optional=True)
    said = (await csrf.form()).get("grace_s", "0")
    if not (said.isascii() and said.isdigit() and int(said) in GRACES):
        raise Problem(422, "some fields are wrong", errors=[{"field": "grace_s", "message": "choose one of these"}])
    return parse_as(RotateBody, json_of({"grace_s": int(said)}))
