"""The telemetry store: readings in InfluxDB 3, a table for each day (UTC)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pulse_core.api import PermanentFailure, ReadingsRefused, Size, StoreUnavailable
from pulse_influxdb.asking import ALL_DEVICES
from pulse_influxdb.lines import forgotten_line, reading_line
from pulse_influxdb.names import DAY_US, forgotten_on, readings_of, word
from pulse_influxdb.numbers import CountedInInflux
from pulse_influxdb.packed import NotStorableError
from pulse_influxdb.pages import ReadFromInflux
from pulse_influxdb.place import LAST_US, all_of
from pulse_influxdb.server import LinesRefusedError, Server

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.api import DeviceKey, PluginConfig, Reading
    from pulse_influxdb.config import InfluxConfig

_LONGEST_REASON = 200


class InfluxTelemetryStore(CountedInInflux, ReadFromInflux):
    """Readings in InfluxDB 3, each one point, written before the batch's transaction."""

    name: ClassVar[str] = "influxdb"
    summary: ClassVar[str] = "Readings in InfluxDB 3, a table for each day."
    transactional: ClassVar[bool] = False

    @classmethod
    async def check(cls, config: PluginConfig) -> None:
        """Find the server, and ask it with our token."""
        server = Server(cast("InfluxConfig", config))
        try:
            await server.databases()
        finally:
            await server.close()

    async def open_tenant(self, tenant_id: str) -> None:
        """See :meth:`TelemetryStore.open_tenant`: a database, where each tenant has its own."""
        advice = 'let tenants share one: plugins.influxdb.tenancy = "shared" (docs/how-to/influxdb.md)'
        try:
            if self.options.tenancy == "shared":
                await self.make_shared()
                return
            name, there = self.database(tenant_id), await self.server.databases()
            if name in there:
                return
            if len(there) >= self.options.max_databases:
                raise PermanentFailure(f"InfluxDB holds {len(there)} databases and allows no more; {advice}")
            await self.server.create_database(name)
        except LinesRefusedError as error:
            raise PermanentFailure(f"InfluxDB makes no database for this tenant: {error}; {advice}") from error

    async def write(self, readings: Sequence[Reading], transaction: Any) -> None:  # noqa: ARG002 - it takes no part
        """See :meth:`TelemetryStore.write`: a request for each database and some thousand readings, side by side."""
        written_us = time.time_ns() // 1000
        refused: dict[int, str] = {}
        lines: dict[str, list[tuple[int, str]]] = {}
        for index, reading in enumerate(readings):
            try:
                one = reading_line(reading, written_us)
            except NotStorableError as error:
                refused[index] = str(error)
            else:
                lines.setdefault(self.database(reading.device.tenant_id), []).append((index, one))
        size = self.options.lines_per_write
        work = [
            self._send(database, of_database[first : first + size])
            for database, of_database in lines.items()
            for first in range(0, len(of_database), size)
        ]
        for each in await all_of(work):
            refused.update(each)
        if refused:
            raise ReadingsRefused({index: refused[index][:_LONGEST_REASON] for index in sorted(refused)})

    async def drop_before(self, cutoff_us: int) -> int:
        """Drop the tables of days that ended before ``cutoff_us``; return how many."""
        cutoff, dropped = cutoff_us // DAY_US, 0
        for database in await self.all_databases():
            tables = await self.tables(database)
            for day in tables.readings:
                if day < cutoff:
                    dropped += await self.server.drop_table(database, readings_of(day))
            for day in tables.forgotten:
                if day + 1 < cutoff:  # a device's clock may be some minutes ahead
                    await self.server.drop_table(database, forgotten_on(day))
        return dropped

    async def forget_device(self, device: DeviceKey) -> int:
        """See :meth:`TelemetryStore.forget_device`. InfluxDB deletes no rows: they are marked, never given back again,
        and go with their day. How many, it does not tell.
        """
        await self._mark(device.tenant_id, word(device.device_id))
        return 0

    async def forget_tenant(self, tenant_id: str) -> int:
        """See :meth:`TelemetryStore.forget_tenant`: its database is dropped; in a shared one its readings are marked as
        :meth:`forget_device` does. How many they were, it does not tell.
        """
        if self.options.tenancy == "database":
            await self.server.drop_database(self.database(tenant_id))
        else:
            await self._mark(tenant_id, ALL_DEVICES)
        return 0

    async def size(self, tenant_id: str | None = None) -> Size:
        """See :meth:`TelemetryStore.size`. Bytes InfluxDB does not tell."""
        databases = await self.all_databases() if tenant_id is None else [self.database(tenant_id)]
        return Size(sum(await all_of([self._count_in(each, tenant_id) for each in databases])), None)

    async def _count_in(self, database: str, tenant_id: str | None) -> int:
        answers = await self.ask_in(
            database, tenant_id, (0, LAST_US), lambda query: f"SELECT count(*) AS n FROM ({query.rows('r.seq')})"
        )
        return sum(row["n"] for _, rows in answers for row in rows)

    async def _send(self, database: str, lines: list[tuple[int, str]]) -> dict[int, str]:
        """Write some lines; return which were refused, and why.

        Where the server does not say which it is that it does not take, they are tried by halves.
        """
        try:
            await self.server.write(database, [text for _, text in lines])
        except LinesRefusedError as error:
            if error.lines:
                return {lines[place][0]: reason for place, reason in error.lines.items()}
            if len(lines) == 1 or "databases" in str(error):
                return {index: str(error) for index, _ in lines}
            half = len(lines) // 2
            return {**await self._send(database, lines[:half]), **await self._send(database, lines[half:])}
        return {}

    async def _mark(self, tenant_id: str, device: str) -> None:
        try:
            await self.server.write(
                self.database(tenant_id), [forgotten_line(tenant_id, device, time.time_ns() // 1000)]
            )
        except LinesRefusedError as error:
            raise StoreUnavailable(f"InfluxDB does not take the mark of what is forgotten: {error}") from error
