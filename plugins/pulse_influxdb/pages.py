"""Readings as they were: of one device, of many page by page, and whether there is a reading at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.api import PermanentFailure, Place, SelectedReading, StoredReading, StoreUnavailable
from pulse_influxdb.asking import Query, stamp
from pulse_influxdb.lines import hash_of, sortable
from pulse_influxdb.names import text_of, word
from pulse_influxdb.packed import unpacked
from pulse_influxdb.place import LAST_US, KeptInInflux, all_of, steady

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pulse_core.api import DeviceKey, ReadingKey, Selection
    from pulse_influxdb.asking import Part, Tables
    from pulse_influxdb.place import Rows

COLUMNS = (
    "CAST(r.time AS BIGINT) AS time_ns, r.device_id, r.key_hash, r.received_us, r.msg_type, r.site_id, r.seq, r.metrics"
)
_KEYS_AT_ONCE = 1000


class ReadFromInflux(KeptInInflux):
    """What the store gives back."""

    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        """See :meth:`TelemetryStore.known`. By the hashes, which are nearly unique; what comes back is compared."""
        by_tenant: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            by_tenant.setdefault(key.device.tenant_id, []).append(index)
        work = [
            self._known_of(tenant_id, {index: keys[index] for index in indexes[first : first + _KEYS_AT_ONCE]})
            for tenant_id, indexes in by_tenant.items()
            for first in range(0, len(indexes), _KEYS_AT_ONCE)
        ]
        return set().union(*await all_of(work))

    async def history(
        self,
        device: DeviceKey,
        *,
        start_us: int,
        end_us: int,
        limit: int,
        before_us: int | None = None,
        msg_types: Sequence[str] | None = None,
    ) -> list[StoredReading]:
        """See :meth:`TelemetryStore.history`: from the newest part of the time back, until there are enough."""
        until_us = end_us if before_us is None else min(end_us, before_us)

        async def attempt() -> list[StoredReading]:
            tables = await self.tables(self.database(device.tenant_id))
            found: list[StoredReading] = []
            for part in reversed(tables.parts(start_us, until_us, self.options.query_range_h)):
                found += await self._newest(device, part, tables, limit - len(found), msg_types)
                if len(found) >= limit:
                    break
            return found

        return await steady(attempt)

    async def select(self, wanted: Selection, *, limit: int, after: Place | None = None) -> list[SelectedReading]:
        """See :meth:`TelemetryStore.select`: the first of each part of the time, and of these the first. So a page of
        many devices costs a query for each part of the time; one of one device, few.
        """

        def build(query: Query) -> str:
            selected(query, wanted)
            if after is not None:
                device, at = query.param(word(after.device_id)), query.param(stamp(after.ts_us))
                query.where(
                    f"(r.device_id > {device} OR (r.device_id = {device} AND (r.time > {at}"
                    f" OR (r.time = {at} AND r.key_hash > {query.param(sortable(after.key_hash))}))))"
                )
            return f"SELECT * FROM ({query.rows(COLUMNS)}) ORDER BY device_id, time_ns, key_hash LIMIT {int(limit)}"

        if wanted.devices is not None and len(set(wanted.devices)) == 1:
            rows = await self._first(wanted, limit, after, build)
        else:
            answers = await self.ask(wanted.tenant_id, wanted.start_us, wanted.end_us, build)
            rows = sorted(
                (row for _, part in answers for row in part),
                key=lambda row: (row["device_id"], row["time_ns"], row["key_hash"]),
            )
        return [_selected(row, wanted.metrics) for row in rows[:limit]]

    async def _first(self, wanted: Selection, limit: int, after: Place | None, build: Callable[[Query], str]) -> Rows:
        """Of one device: its readings are in order of time, so parts are asked from where the page begins, until there
        are enough.
        """
        database = self.database(wanted.tenant_id)
        start_us = wanted.start_us
        if after is not None and (after.device_id,) == wanted.devices:
            start_us = max(start_us, after.ts_us)

        async def attempt() -> Rows:
            tables = await self.tables(database)
            found: Rows = []
            for part in tables.parts(start_us, wanted.end_us, self.options.query_range_h):
                query = Query(wanted.tenant_id, part, tables)
                sql = build(query)
                found += await self.server.query(database, sql, query.params)
                if len(found) >= limit:
                    break
            return found

        return await steady(attempt)

    async def _newest(
        self, device: DeviceKey, part: Part, tables: Tables, limit: int, msg_types: Sequence[str] | None
    ) -> list[StoredReading]:
        """The newest of a part, with all that are of the last one's time."""

        async def asked(condition: str, at_us: int | None = None) -> Rows:
            query = Query(device.tenant_id, part, tables)
            query.among("device_id", [word(device.device_id)])
            query.among("msg_type", None if msg_types is None else [word(each) for each in msg_types])
            if at_us is not None:
                query.where(f"r.time = {query.param(stamp(at_us))}")
            sql = f"SELECT * FROM ({query.rows(COLUMNS)}) ORDER BY time_ns DESC{condition}"
            return await self.server.query(self.database(device.tenant_id), sql, query.params)

        rows = await asked(f" LIMIT {int(limit)}")
        if len(rows) == limit:
            last_ns = rows[-1]["time_ns"]
            rows = [row for row in rows if row["time_ns"] > last_ns] + await asked("", last_ns // 1000)
        return [reading_of(row) for row in rows]

    async def _known_of(self, tenant_id: str, keys: dict[int, ReadingKey]) -> set[int]:
        since = {index: key.ts_us if key.since_us is None else key.since_us for index, key in keys.items()}
        until = {index: key.ts_us if key.since_us is None else LAST_US for index, key in keys.items()}

        async def attempt() -> set[int]:
            tables = await self.tables(self.database(tenant_id))
            parts = tables.parts(min(since.values()), max(until.values()) + 1, self.options.query_range_h)
            work = []
            for part in parts:
                there = {i: keys[i] for i in keys if since[i] < part.end_us and until[i] >= part.start_us}
                if there:
                    work.append(self._known_in(tenant_id, part, tables, there))
            return set().union(*await all_of(work))

        try:
            return await steady(attempt)
        except PermanentFailure as error:  # a lane that cannot know must not go on
            raise StoreUnavailable(str(error)) from error

    async def _known_in(self, tenant_id: str, part: Part, tables: Tables, keys: dict[int, ReadingKey]) -> set[int]:
        query = Query(tenant_id, part, tables)
        query.among("device_id", list({word(key.device.device_id) for key in keys.values()}))
        query.among("key_hash", list({sortable(key.key_hash) for key in keys.values()}))
        sql = query.rows("CAST(r.time AS BIGINT) AS time_ns, r.device_id, r.key_hash")
        at: dict[tuple[str, str], list[int]] = {}
        for row in await self.server.query(self.database(tenant_id), sql, query.params):
            at.setdefault((row["device_id"], row["key_hash"]), []).append(row["time_ns"] // 1000)
        return {index for index, key in keys.items() if _is_there(key, at)}


def selected(query: Query, wanted: Selection) -> None:
    """Ask for nothing but what is selected."""
    query.among("device_id", None if wanted.devices is None else [word(each) for each in wanted.devices])
    query.among("site_id", None if wanted.sites is None else [word(each) for each in wanted.sites])
    query.among("msg_type", None if wanted.msg_types is None else [word(each) for each in wanted.msg_types])
    query.having(wanted.metrics)


def reading_of(row: dict[str, Any]) -> StoredReading:
    """A row of :data:`COLUMNS` as a reading."""
    return StoredReading(
        ts_us=row["time_ns"] // 1000,
        received_us=row["received_us"],
        msg_type=text_of(row["msg_type"]),
        site_id=text_of(row["site_id"]),
        seq=int(row["seq"]) if row["seq"] else None,
        metrics=unpacked(row["metrics"]),
    )


def _selected(row: dict[str, Any], names: Sequence[str] | None) -> SelectedReading:
    reading = reading_of(row)
    if names is not None:
        for name in reading.metrics.keys() - set(names):
            del reading.metrics[name]
    return SelectedReading(Place(text_of(row["device_id"]), reading.ts_us, hash_of(row["key_hash"])), reading)


def _is_there(key: ReadingKey, at: dict[tuple[str, str], list[int]]) -> bool:
    times = at.get((word(key.device.device_id), sortable(key.key_hash)), [])
    if key.since_us is None:
        return key.ts_us in times
    return any(time_us >= key.since_us for time_us in times)
