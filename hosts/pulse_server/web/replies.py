"""JSON answers: UUIDs as text, times as ISO 8601 in UTC."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from quart import Response

from pulse_core.errors import NotFound
from pulse_server.inputs import LONG_ID, SMALL_ID

if TYPE_CHECKING:
    from pulse_postgres.paging import Page

_SMALL = re.compile(SMALL_ID)
_LONG = re.compile(LONG_ID)


def reply(value: Any, status: int = 200) -> Response:
    """Answer with ``value`` as JSON."""
    return Response(msgspec.json.encode(value), status=status, content_type="application/json")


def page_reply(page: Page) -> Response:
    """Answer with a page: ``{"items": […], "next": cursor | null}``."""
    return reply(parts_of(page))


def parts_of(page: Page) -> dict[str, Any]:
    """What is answered of a page."""
    return {"items": page.items, "next": page.next}


def demand_tenant_id(tenant_id: str) -> None:
    """As :func:`demand_ids`, of a tenant alone."""
    if not _SMALL.fullmatch(tenant_id):
        raise NotFound("there is no such tenant")


def demand_ids(tenant_id: str, device_id: str) -> None:
    """What cannot be an id names nothing.

    :raises NotFound: as for an id that does not exist.
    """
    if not _SMALL.fullmatch(tenant_id) or not _LONG.fullmatch(device_id):
        raise NotFound("there is no such device")
