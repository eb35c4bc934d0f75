"""``/customer/telemetry/exports``: files of readings that the tenant asks for, fetches, and gives up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response, request

from pulse_core.errors import Conflict
from pulse_postgres.exports import Limits, add_export, end_export, export_page, one_export, pieces_of
from pulse_server.exporting.encoding import MEDIA_TYPES
from pulse_server.exporting.files import unpacked
from pulse_server.inputs.telemetry import ExportBody, ExportPage
from pulse_server.outputs.telemetry import Export, ExportFile, ExportList
from pulse_server.web import pages
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.csv_answers import attachment
from pulse_server.web.customer.own import own
from pulse_server.web.described import described
from pulse_server.web.replies import parts_of, reply
from pulse_server.web.services import services
from pulse_server.web.views import either

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator

blueprint = Blueprint("customer_exports", __name__, url_prefix="/telemetry/exports")


@blueprint.get("")
@described(ExportList, query=ExportPage)
async def show() -> Response:
    """The tenant's exports, newest first: how far each is, and until when its file can be fetched."""
    mine, asked = own(), query_as(ExportPage, blank=pages.wanted())
    found = await export_page(mine.pool, tenant_id=mine.tenant_id, **asked.model_dump())
    return await either("customer/exports.html", parts_of(found))


@blueprint.post("")
@described(Export, body=ExportBody, status=202)
async def create() -> Response:
    """Ask for a file of readings, written in the background; 409 when there are as many as there may be."""
    return reply(await exported(await body_as(ExportBody)), 202)


@blueprint.get("/<uuid:export_id>")
@described(Export)
async def one(export_id: uuid.UUID) -> Response:
    """One export, and how far it is."""
    mine = own()
    return reply(await one_export(mine.pool, mine.tenant_id, export_id))


@blueprint.get("/<uuid:export_id>/file")
@described(ExportFile, refuses=[409])
async def file(export_id: uuid.UUID) -> Response:
    """The file of an export that is DONE; 409 while it is not, or not any more."""
    mine = own()
    export = await one_export(mine.pool, mine.tenant_id, export_id)
    if export["status"] != "DONE":
        raise Conflict(f"there is no file: the export is {export['status']}")

    async def parts() -> AsyncIterator[bytes]:
        async for piece in pieces_of(mine.pool, mine.tenant_id, export_id):
            yield await asyncio.to_thread(unpacked, piece)

    response = Response(parts() if request.method == "GET" else b"", content_type=MEDIA_TYPES[export["format"]])
    response.timeout = None
    begun = export["created_at"].strftime("%Y%m%d-%H%M%S")
    response.headers["Content-Disposition"] = attachment(f"telemetry-{mine.tenant_id}-{begun}.{export['format']}")
    response.headers["Content-Length"] = str(export["bytes"])
    return response


@blueprint.delete("/<uuid:export_id>")
@described(status=204)
async def end(export_id: uuid.UUID) -> Response:
    """Cancel an export that is under way; delete one that is over, with its file."""
    mine = own()
    await end_export(mine.pool, mine.tenant_id, export_id, actor=mine.actor)
    return Response(status=204)


async def exported(wanted: ExportBody) -> dict[str, Any]:
    """Ask for an export and return it. Raises Conflict: there are as many as there may be."""
    mine, config = own(), services().config.exports
    limits = Limits(config.active_per_tenant, config.kept_per_tenant)
    added = await add_export(mine.pool, mine.tenant_id, wanted.wanted, actor=mine.actor, limits=limits)
    services().export_asked.set()
    return added
