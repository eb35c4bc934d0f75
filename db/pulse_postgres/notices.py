"""Notices of what has changed, from every process to every web process: PostgreSQL's NOTIFY, a few times a second.

They are sent after the commit that they are about, on a connection of their own: a NOTIFY takes a lock of the whole
database cluster while it commits, and no batch of readings shall wait for that. One that is lost with its process costs
those who look on the next change's time, never data.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

import structlog

from pulse_core.errors import StoreUnavailable
from pulse_core.notices import EVERYTHING, Kind, payloads, read
from pulse_postgres.pool import listen, unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import asyncpg

    from pulse_core.notices import Board

TOPIC: Final = "pulse_notices"
_REGISTRY: Final = "pulse_devices"
EVERY_S: Final = 0.25
"""A process tells no more often than this."""
_MOST = 64
"""So many payloads at once say less than "everything" does."""

_TELL = "SELECT pg_notify($1, told) FROM unnest($2::text[]) AS told"

_log = structlog.get_logger(__name__)


class Teller:
    """Tells what stands on a process's board. ``pool``: of any of our roles."""

    def __init__(self, pool: asyncpg.Pool[Any], board: Board) -> None:
        self._pool = pool
        self._board = board

    async def run(self) -> None:
        """Tell, until cancelled: the first change at once, those that follow together."""
        while True:
            await self._board.some.wait()
            told = payloads(self._board.take())
            try:
                with unavailable():
                    await self._pool.execute(_TELL, TOPIC, told if len(told) <= _MOST else [EVERYTHING])
            except StoreUnavailable as error:
                self._board.note_everything()
                _log.debug("notices.not_told", reason=str(error))
            except Exception:  # noqa: BLE001 - told in the log
                _log.exception("notices.failed")  # and go on: nothing that matters hangs on them
            await asyncio.sleep(EVERY_S)


async def hear(dsn: str) -> AsyncIterator[list[tuple[str, str, list[str] | None]] | None]:
    """Yield what every process tells: tenant, kind and ids (None: many). None: anything may have changed.

    None comes first, too, and whenever something was missed. Changes of the registry are heard by themselves.

    :raises StoreUnavailable: the connection could not be made, or is lost. Iterate again to reconnect.
    """
    async for payload in listen(dsn, TOPIC, _REGISTRY):
        tenant_id, slash, device_id = (payload or "").partition("/")
        if payload is None:
            yield None
        elif slash and " " not in payload:  # of the registry: no line of ours is without a blank
            yield [(tenant_id, Kind.DEVICES, [device_id] if device_id else None)]
        else:
            yield read(payload)
