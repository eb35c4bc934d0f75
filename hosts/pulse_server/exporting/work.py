"""Works on the exports that tenants ask for, in the background of the web role: a piece at a time, each committed."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING

import structlog

from pulse_core.api import Selection
from pulse_core.errors import PermanentFailure, PulseError
from pulse_postgres import export_work
from pulse_postgres.export_work import Job, Step, devices_in_order
from pulse_server.exporting.encoding import lines_of
from pulse_server.exporting.files import packed
from pulse_server.exporting.pages import Share, pages_of

if TYPE_CHECKING:
    from pulse_core.api import SelectedReading
    from pulse_core.config import ExportsConfig
    from pulse_postgres.connections import TenantPool
    from pulse_server.exporting.encoding import CsvLines, JsonLines
    from pulse_server.web.services import Services

log = structlog.get_logger(__name__)

_LOOK_EVERY_S = 2.0
_SWEEP_EVERY_S = 60.0
_AGAIN_AFTER = dt.timedelta(seconds=5)
_TOLD_FOR = dt.timedelta(days=7)
"""So long an export is in the list after it has ended, or its file has gone."""
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_US = dt.timedelta(microseconds=1)


class Exporter:
    """Takes up what waits, a turn at a time. Several processes may do so at once."""

    def __init__(self, services: Services, config: ExportsConfig) -> None:
        self._services = services
        self._config = config
        self._lease = dt.timedelta(seconds=config.lease_s)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin."""
        working = [asyncio.create_task(self._work(), name=f"exports {at}") for at in range(self._config.workers)]
        self._tasks = [*working, asyncio.create_task(self._sweep(), name="exports sweep")]

    async def stop(self) -> None:
        """Leave off; what is committed stays, and another goes on behind it at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def turn(self) -> bool:
        """Work on the export whose turn it is, for a while; return whether there was one."""
        job = await export_work.claim(self._services.pools.admin, self._lease)
        if job is None:
            return False
        pool = self._services.tenant_pool(job.tenant_id)
        try:
            await self._go_on(pool, job)
        except asyncio.CancelledError:
            with suppress(PulseError):
                await export_work.release(pool, job)
            raise
        except PermanentFailure as error:
            await export_work.fail(pool, job, str(error))
            log.warning("export.failed", tenant_id=job.tenant_id, export_id=str(job.export_id), reason=str(error))
        except PulseError as error:
            log.warning("export.waits", tenant_id=job.tenant_id, export_id=str(job.export_id), reason=str(error))
            await export_work.release(pool, job, _AGAIN_AFTER)
        except Exception:
            log.exception("export.failed", tenant_id=job.tenant_id, export_id=str(job.export_id))
            await export_work.fail(pool, job, "our fault; the log knows more")
        return True

    async def sweep(self) -> None:
        """Let go of files that are too old."""
        admin = self._services.pools.admin
        for tenant_id, export_id in await export_work.due(admin):
            await export_work.expire(self._services.tenant_pool(tenant_id), tenant_id, export_id)
        await export_work.forget(admin, _TOLD_FOR + dt.timedelta(hours=self._config.kept_h))

    async def _go_on(self, pool: TenantPool, job: Job) -> None:
        """Write on until the file is whole, or the turn is over."""
        ends_at = time.monotonic() + self._config.turn_s
        wanted = selection_of(job)
        lines, done = (
            lines_of(job.format, job.metrics),
            Share(wanted, await devices_in_order(pool, job.tenant_id, job.devices, job.sites)),
        )
        now: Job | None = job
        if not job.pieces and lines.head:
            now = await export_work.go_on(pool, job, _step(lines, [], lines.head, done), self._lease)
        async with (
            self._services.telemetry_of(job.tenant_id) as store,
            aclosing(pages_of(store, wanted, limit=self._config.page_readings, after=job.place)) as pages,
        ):
            async for page in pages:
                if now is None:
                    return  # cancelled; or another has it
                step = await asyncio.to_thread(_step, lines, page, b"", done)
                now = await export_work.go_on(pool, now, step, self._lease)
                if now is not None and time.monotonic() > ends_at:
                    await export_work.release(pool, now)
                    return
        if now is not None:
            await export_work.finish(pool, now, dt.timedelta(hours=self._config.kept_h))

    async def _work(self) -> None:
        asked = self._services.export_asked
        while True:
            asked.clear()
            try:
                if await self.turn():
                    continue
            except PulseError as error:
                log.warning("exports.wait", reason=str(error))
            except Exception:
                log.exception("exports.wait")
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY_S):
                    await asked.wait()

    async def _sweep(self) -> None:
        while True:
            try:
                await self.sweep()
            except PulseError as error:
                log.warning("exports.not_swept", reason=str(error))
            await asyncio.sleep(_SWEEP_EVERY_S)


def selection_of(job: Job) -> Selection:
    """The readings of an export."""
    start_us = (job.starts_at - _EPOCH) // _US if job.starts_at else 0
    end_us = (job.ends_at - _EPOCH) // _US
    return Selection(job.tenant_id, start_us, end_us, devices=job.devices, sites=job.sites, metrics=job.metrics)


def _step(lines: CsvLines | JsonLines, page: list[SelectedReading], head: bytes, done: Share) -> Step:
    text = head + lines.encode(page)
    place = page[-1].place if page else None
    return Step(packed(text), len(text), len(page), place, done.at(page))
