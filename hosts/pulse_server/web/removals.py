"""Tenants that this process is removing: that takes as long as there are readings, and a page shows how far it is."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from pulse_core.errors import PulseError

if TYPE_CHECKING:
    from pulse_postgres.tenants import Tenants

log = structlog.get_logger(__name__)

_AT_MOST = 200


@dataclass
class Progress:
    """How far a removal is, told by whoever removes."""

    days: int = 0
    """So many days of readings there are; 0: that is not known yet."""
    days_done: int = 0
    readings: int = 0
    """So many are gone."""

    def note(self, days_done: int, days: int, readings: int) -> None:
        """So far it has come."""
        self.days_done, self.days, self.readings = days_done, days, readings


@dataclass(frozen=True)
class Removal:
    """One of them."""

    progress: Progress
    task: asyncio.Task[int]

    @property
    def runs(self) -> bool:
        """Whether it goes on."""
        return not self.task.done()

    @property
    def error(self) -> str | None:
        """Why it came to nothing, for people."""
        if self.runs:
            return None
        if self.task.cancelled():
            return "it was interrupted; begin it again, and it goes on"
        error = self.task.exception()
        if error is None:
            return None
        return str(error) if isinstance(error, PulseError) else "our fault; the log knows more"


class Removals:
    """Those of one process, at most so many that are over."""

    def __init__(self) -> None:
        self._of: dict[str, Removal] = {}

    def of(self, tenant_id: str) -> Removal | None:
        """The last one of a tenant, also when it is over."""
        return self._of.get(tenant_id)

    def begin(self, tenants: Tenants, tenant_id: str, *, actor: str) -> Removal:
        """Begin, unless it runs already."""
        running = self._of.get(tenant_id)
        if running is not None and running.runs:
            return running
        progress = Progress()
        work = tenants.remove(tenant_id, actor=actor, told=progress.note)
        begun = Removal(progress, asyncio.create_task(work, name=f"remove {tenant_id}"))
        begun.task.add_done_callback(lambda _: _log(tenant_id, begun))
        self._of.pop(tenant_id, None)
        self._of[tenant_id] = begun
        over = [name for name, each in self._of.items() if not each.runs]
        for name in over[: max(0, len(self._of) - _AT_MOST)]:
            del self._of[name]
        return begun

    async def stop(self) -> None:
        """Leave off; what is gone is gone, and in the books."""
        running = [each.task for each in self._of.values() if each.runs]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _log(tenant_id: str, removal: Removal) -> None:
    if removal.error is not None:
        error = None if removal.task.cancelled() else removal.task.exception()
        known = error is None or isinstance(error, PulseError)
        log.warning("tenant.not_removed", tenant_id=tenant_id, reason=removal.error, exc_info=None if known else error)
