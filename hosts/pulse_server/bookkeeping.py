"""Checks the books in the background, and says so when they do not balance."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec
import structlog
from prometheus_client import Gauge

from pulse_core.errors import PulseError
from pulse_core.ledger import Rounds

if TYPE_CHECKING:
    from pulse_core.ledger import Statement
    from pulse_postgres.ledger import Ledger

log = structlog.get_logger(__name__)

DIFFERENCE = Gauge(
    "pulse_ledger_difference", "What does not add up in the ledger, by line: anything but 0 is an error", ["line"]
)
CHECKED = Gauge("pulse_ledger_checked_timestamp_seconds", "When the ledger was last checked in the background")

_FIRST_AFTER_S = 15.0
_EVERY_S = 300.0
_REST = 20
"""After a check that took long, so many times as long is waited: checking is to cost a twentieth of a core at most."""


class Bookkeeper:
    """Checks every five minutes, sooner if it could not: all deliveries, and the days of readings whose turn it is."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rounds = Rounds()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, in the background."""
        self._task = asyncio.create_task(self._run(), name="bookkeeper")

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def once(self) -> Statement:
        """Check now, and tell the metrics and the log."""
        found = await self._ledger.check(self._rounds.choose)
        self._rounds.counted(found.days)
        for line in found.lines:
            DIFFERENCE.labels(line.name).set(line.difference)
            if line.difference:
                examples = msgspec.to_builtins(line.examples)
                log.error("ledger.differs", line=line.name, difference=line.difference, examples=examples)
        CHECKED.set(found.at.timestamp())
        return found

    async def _run(self) -> None:
        await asyncio.sleep(_FIRST_AFTER_S)
        while True:
            began, wait_s = time.monotonic(), _EVERY_S
            try:
                await self.once()
            except PulseError as error:
                log.warning("ledger.not_checked", reason=str(error))
                wait_s = _FIRST_AFTER_S
            except Exception:
                log.exception("ledger.not_checked")
                wait_s = _FIRST_AFTER_S
            await asyncio.sleep(max(wait_s, _REST * (time.monotonic() - began)))
