"""``/api/admin/devices``: the registry, activation codes, revocation, tokens, readings."""

from __future__ import annotations

from quart import Blueprint, Response

from pulse_core.errors import Conflict, NotFound
from pulse_server.inputs import DeviceBody, DevicePatch, DeviceQuery, RotateBody
from pulse_server.outputs.devices import ActivationCode, Device, DeviceList, DeviceToken
from pulse_server.web.actor import ADMIN
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.described import described
from pulse_server.web.replies import demand_ids, page_reply, reply
from pulse_server.web.services import services

blueprint = Blueprint("devices", __name__, url_prefix="/devices")


@blueprint.get("")
@described(DeviceList, query=DeviceQuery)
async def show() -> Response:
    """Devices by tenant and id, with how each is doing."""
    asked = query_as(DeviceQuery)
    return page_reply(await services().provisioning.devices(**asked.model_dump()))


@blueprint.post("")
@described(Device, body=DeviceBody, status=201)
async def create() -> Response:
    """Register a device; it has no token until it is activated."""
    wanted = await body_as(DeviceBody)
    return versioned(await services().provisioning.create_device(**wanted.model_dump(), actor=ADMIN), 201, living=True)


@blueprint.get("/<tenant_id>/<device_id>")
@described(Device)
async def one(tenant_id: str, device_id: str) -> Response:
    """One device."""
    demand_ids(tenant_id, device_id)
    return versioned(await services().provisioning.device(tenant_id, device_id), living=True)


@blueprint.patch("/<tenant_id>/<device_id>")
@described(Device, body=DevicePatch)
async def change(tenant_id: str, device_id: str) -> Response:
    """Change its name, its labels, or after how long it is stale."""
    demand_ids(tenant_id, device_id)
    only_if, wanted = wanted_revisions(), (await body_as(DevicePatch)).changes()
    changed = await services().devices.change(tenant_id, device_id, wanted, actor=ADMIN, only_if=only_if)
    return versioned(changed, living=True)


@blueprint.post("/<tenant_id>/<device_id>/activate-code")
@described(ActivationCode, status=201)
async def make_code(tenant_id: str, device_id: str) -> Response:
    """Make a one-time activation code, good for 60 minutes; it replaces one that was not used."""
    demand_ids(tenant_id, device_id)
    return reply(await services().provisioning.create_code(tenant_id, device_id, actor=ADMIN), 201)


@blueprint.post("/<device_id>/activate-code")
@described(ActivationCode, status=201, name="admin_device_activate_code_by_id")
async def make_code_by_id(device_id: str) -> Response:
    """As above, for an id that only one tenant uses; 409 when several do."""
    demand_ids("any", device_id)
    provisioning = services().provisioning
    tenants = await provisioning.tenants_of_device_id(device_id)
    if not tenants:
        raise NotFound(f"there is no device {device_id!r}")
    if len(tenants) > 1:
        raise Conflict(f"several tenants have a device {device_id!r}: say which, /devices/TENANT/{device_id}/…")
    return reply(await provisioning.create_code(tenants[0], device_id, actor=ADMIN), 201)


@blueprint.post("/<tenant_id>/<device_id>/revoke")
@described(Device)
async def revoke(tenant_id: str, device_id: str) -> Response:
    """Shut a device out for good: its tokens, leftover codes and live connections end."""
    demand_ids(tenant_id, device_id)
    await services().provisioning.revoke(tenant_id, device_id, actor=ADMIN)
    return reply(await services().provisioning.device(tenant_id, device_id))


@blueprint.post("/<tenant_id>/<device_id>/rotate-token")
@described(DeviceToken, body=RotateBody, body_optional=True)
async def rotate(tenant_id: str, device_id: str) -> Response:
    """Give a device a new token, shown this once; the old one stays valid for ``grace_s``."""
    demand_ids(tenant_id, device_id)
    wanted = await body_as(RotateBody, optional=True)
    granted = await services().provisioning.rotate_token(tenant_id, device_id, grace_s=wanted.grace_s, actor=ADMIN)
    return reply(granted)
