"""``/customer/commands`` and those of one device: what devices are asked to do, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response

from pulse_postgres.command_pages import CommandFilter, command_page, one_command
from pulse_postgres.command_requests import CommandRequests
from pulse_postgres.devices import one_device
from pulse_postgres.paging import parted
from pulse_server.inputs.commands import CommandBody, CommandPage, DeviceCommandPage
from pulse_server.outputs.commands import Command, CommandList
from pulse_server.web import pages
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.replies import demand_ids, page_reply, parts_of, reply
from pulse_server.web.views import either

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("customer_commands", __name__)


@blueprint.get("/commands")
@described(CommandList, query=CommandPage)
async def show() -> Response:
    """The tenant's commands, newest first."""
    part, wanted = parted(query_as(CommandPage).model_dump())
    mine = own()
    return page_reply(await command_page(mine.pool, CommandFilter(**wanted), tenant_id=mine.tenant_id, **part))


@blueprint.get("/commands/<uuid:command_id>")
@described(Command)
async def one(command_id: uuid.UUID) -> Response:
    """One command."""
    mine = own()
    return reply(await one_command(mine.pool, mine.tenant_id, command_id))


@blueprint.get("/devices/<device_id>/commands")
@described(CommandList, query=DeviceCommandPage)
async def of_device(device_id: str) -> Response:
    """The commands of one device, newest first."""
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    part, wanted = parted(query_as(DeviceCommandPage, blank=pages.wanted()).model_dump())
    device = await one_device(mine.pool, mine.tenant_id, device_id)
    which = CommandFilter(device_id=device_id, **wanted)
    found = await command_page(mine.pool, which, tenant_id=mine.tenant_id, **part)

    async def of_what() -> dict[str, object]:
        return {"device": device}

    return await either("customer/device_commands_all.html", parts_of(found), besides=of_what)


@blueprint.post("/devices/<device_id>/commands")
@described(Command, body=CommandBody, status=201)
async def queue(device_id: str) -> Response:
    """Queue a command; 409 when the device is revoked, or has 100 open ones."""
    mine = own()
    demand_ids(mine.tenant_id, device_id)
    await one_device(mine.pool, mine.tenant_id, device_id)
    return reply(await queued(device_id, await body_as(CommandBody)), 201)


async def queued(device_id: str, wanted: CommandBody) -> dict[str, Any]:
    """Queue a command and return it. Raises Conflict: the device is revoked, or has too many open ones."""
    mine = own()
    command_id = await CommandRequests(mine.pool).queue(
        mine.tenant_id,
        device_id,
        wanted.name,
        wanted.payload_json(),
        expires_in_s=wanted.expires_in_s,
        actor=mine.actor,
    )
    return await one_command(mine.pool, mine.tenant_id, command_id)
