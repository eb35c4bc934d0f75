"""Marks the hours of devices that readings fall in, so that their roll-ups are made, or made again.

Roll-ups are made of hours that ended a while ago (:data:`RESTS_US`). So the mark of an hour that goes on may be written
before the batch's transaction and be relied on afterwards: it costs a device one row an hour. Late readings mark their
hour in the transaction that stores them, each time.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pulse_postgres.pool import unavailable
from pulse_postgres.sqltime import at, us
from pulse_postgres.telemetry.rolled import HOUR_US, MINUTE_US

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.api import DeviceKey
    from pulse_core.records import Reading
    from pulse_postgres.connections import Connections

RESTS_US = 30 * MINUTE_US
"""So long after its end, by the database's clock, an hour is rolled up at the earliest."""
TRUSTED_US = 10 * MINUTE_US
"""So long after its end a mark that was seen is still sure to be there: a batch takes a minute to commit, at most."""
_REMEMBERED = 1_000_000

_PAIRS = f"""
    SELECT t, d, {at("h")} FROM unnest($1::text[], $2::text[], $3::bigint[]) AS x (t, d, h) ORDER BY t, d, h
"""
_AHEAD = f"""
    WITH marked AS (INSERT INTO telemetry_marks (tenant_id, device_id, hour) {_PAIRS} ON CONFLICT DO NOTHING)
    SELECT {us("clock_timestamp()")}
"""
# It must take the row's lock. A mark that is merely there may be one that is being worked off: without our readings,
# because they are not committed yet.
_BEHIND = f"""
    INSERT INTO telemetry_marks (tenant_id, device_id, hour) {_PAIRS}
    ON CONFLICT (tenant_id, device_id, hour) DO UPDATE SET hour = excluded.hour
"""


class Marks:
    """The marks of one process. It remembers those of the hours that go on."""

    def __init__(self) -> None:
        self._seen: dict[int, set[DeviceKey]] = {}
        self._clock = _DatabaseClock()

    async def ahead(self, readings: Sequence[Reading], database: Connections) -> None:
        """Mark the hours that go on, in a transaction of its own, before that of the readings."""
        trusted = self._clock.now_us() - TRUSTED_US - HOUR_US
        missing = {
            (reading.device, hour)
            for reading in readings
            if (hour := reading.ts_us // HOUR_US * HOUR_US) > trusted and reading.device not in self._seen.get(hour, ())
        }
        if not missing:
            return
        with unavailable():
            self._clock.set(await database.fetchval(_AHEAD, *_columns(missing)))
        self._remember(missing)

    async def behind(self, readings: Sequence[Reading], transaction: Any) -> None:
        """Mark the other hours, in the transaction in which the readings are stored."""
        trusted = self._clock.now_us() - TRUSTED_US - HOUR_US
        late = {
            (reading.device, hour)
            for reading in readings
            if (hour := reading.ts_us // HOUR_US * HOUR_US) <= trusted or reading.device not in self._seen.get(hour, ())
        }
        if late:
            await transaction.execute(_BEHIND, *_columns(late))

    def _remember(self, marked: set[tuple[DeviceKey, int]]) -> None:
        trusted = self._clock.now_us() - TRUSTED_US - HOUR_US
        kept = {hour: devices for hour, devices in self._seen.items() if hour > trusted}
        if sum(len(devices) for devices in kept.values()) > _REMEMBERED:
            kept = {}
        for device, hour in marked:
            kept.setdefault(hour, set()).add(device)
        self._seen = kept


class _DatabaseClock:
    """What time it is in the database, or later: by whichever of our clocks went faster since we asked."""

    def __init__(self) -> None:
        self.set(time.time_ns() // 1000)

    def set(self, now_us: int) -> None:
        """The database has just told."""
        self._told_us, self._wall_ns, self._steady_ns = now_us, time.time_ns(), time.monotonic_ns()

    def now_us(self) -> int:
        """Microseconds since the epoch."""
        return self._told_us + max(time.time_ns() - self._wall_ns, time.monotonic_ns() - self._steady_ns) // 1000


def _columns(marks: set[tuple[DeviceKey, int]]) -> tuple[list[str], list[str], list[int]]:
    return (
        [device.tenant_id for device, _ in marks],
        [device.device_id for device, _ in marks],
        [hour for _, hour in marks],
    )
