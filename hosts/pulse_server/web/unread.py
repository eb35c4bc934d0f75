"""Pages that show readings among other things: they go without while readings cannot be read, and say so."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from pulse_core.errors import ReadingsAway
from pulse_server.web import pages
from pulse_server.web.services import services

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = structlog.get_logger(__name__)

_PATIENCE_S = 3.0
"""So long a page waits for a telemetry store beside the database."""


@dataclass
class Unread:
    """What a page shows in the place of readings."""

    away: bool = False


@asynccontextmanager
async def spared() -> AsyncIterator[Unread]:
    """Around what asks for readings: a page does without the rest of the block; a program is told, by ReadingsAway."""
    found, page = Unread(), pages.wanted()
    beside = not services().plugins.telemetry_store.transactional
    try:
        async with asyncio.timeout(_PATIENCE_S if page and beside else None):
            yield found
    except (ReadingsAway, TimeoutError) as error:
        if not page:
            raise
        log.warning("page.without_readings", reason=str(error) or f"no answer within {_PATIENCE_S:g} s")
        found.away = True
