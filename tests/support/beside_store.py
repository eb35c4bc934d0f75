"""A telemetry store that shares no transaction: a file of SQLite beside the database, that outlives every process.

It is as slow, as away and as full as files beside it say (:class:`Beside`). The product loads it as a distribution of
its own, :func:`install`, so that this module imports nothing but what a plugin may.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace

from pulse_core.api import (
    DeviceKey,
    PermanentFailure,
    Place,
    PluginConfig,
    ReadingsRefused,
    SelectedReading,
    Selection,
    Size,
    StoredReading,
    StoreUnavailable,
    TelemetryStore,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.api import Reading, ReadingKey

UNSTORABLE = "unstorable"
"""A reading with a metric of this name is refused."""
WHY = "this store keeps no such thing"
_TABLES = """
    CREATE TABLE IF NOT EXISTS readings (
        tenant_id, device_id, ts_us, key_hash, received_us, msg_type, site_id, seq, metrics,
        PRIMARY KEY (tenant_id, device_id, ts_us, key_hash)) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS rooms (tenant_id PRIMARY KEY);
"""
_READING = "ts_us, received_us, msg_type, site_id, seq, metrics"


class Beside:
    """How the store is to behave; and what it was asked, line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def go(self, *, away: bool = False, slow_s: float = 0.0, rooms: int = 1000) -> None:
        """Behave so from now on."""
        said = self._beside("said.new")
        said.write_text(json.dumps({"away": away, "slow_s": slow_s, "rooms": rooms}))
        said.replace(self._beside("said"))

    def said(self) -> dict[str, Any]:
        """How to behave."""
        try:
            found: dict[str, Any] = json.loads(self._beside("said").read_text())
        except FileNotFoundError:
            return {"away": False, "slow_s": 0.0, "rooms": 1000}
        return found

    def rooms(self) -> list[str]:
        """The tenants that have room."""
        with sqlite3.connect(self.path) as connection:
            return [row[0] for row in connection.execute("SELECT tenant_id FROM rooms ORDER BY 1")]

    def seqs(self, tenant_id: str) -> dict[str, list[int]]:
        """The seq of every reading of a tenant, by device."""
        with sqlite3.connect(self.path) as connection:
            query = "SELECT device_id, seq FROM readings WHERE tenant_id = ?"
            found: dict[str, list[int]] = {}
            for device_id, seq in connection.execute(query, (tenant_id,)):
                found.setdefault(device_id, []).append(seq)
            return found

    def _beside(self, suffix: str) -> Path:
        return self.path.with_suffix(f".{suffix}")


class BesideConfig(PluginConfig):
    path: Path = Path("beside.sqlite")


class BesideStore(TelemetryStore):
    name: ClassVar[str] = "beside"
    transactional: ClassVar[bool] = False
    config_type: ClassVar[type[PluginConfig]] = BesideConfig
    config: BesideConfig

    async def open(self, database: Any) -> None:
        self._beside = Beside(self.config.path)
        self._sqlite = sqlite3.connect(self.config.path, timeout=30, isolation_level=None)
        self._sqlite.execute("PRAGMA journal_mode = WAL")
        self._sqlite.execute("PRAGMA synchronous = OFF")  # processes are killed, machines are not
        self._sqlite.executescript(_TABLES)

    async def close(self) -> None:
        self._sqlite.close()

    async def open_tenant(self, tenant_id: str) -> None:
        most = self._answer()["rooms"]
        ((others,),) = self._sqlite.execute("SELECT count(*) FROM rooms WHERE tenant_id <> ?", (tenant_id,))
        if others >= most:
            raise PermanentFailure(f"there is room for {most} tenants: make more")
        self._sqlite.execute("INSERT OR IGNORE INTO rooms VALUES (?)", (tenant_id,))

    async def write(self, readings: Sequence[Reading], transaction: Any) -> None:
        assert transaction is None
        slow_s = self._answer()["slow_s"]
        await asyncio.sleep(slow_s / 2)
        self._answer()
        refused = {index: WHY for index, each in enumerate(readings) if UNSTORABLE in each.metrics}
        rows = [_row(each) for index, each in enumerate(readings) if index not in refused]
        self._sqlite.execute("BEGIN IMMEDIATE")
        self._sqlite.executemany("INSERT OR IGNORE INTO readings VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
        self._sqlite.execute("COMMIT")
        await asyncio.sleep(slow_s / 2)
        if refused:
            raise ReadingsRefused(refused)

    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        self._answer()
        return {index for index, key in enumerate(keys) if self._knows(key)}

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
        self._answer()
        kinds = "" if msg_types is None else f"AND msg_type IN ({', '.join(map(repr, map(str, msg_types)))})"
        of_it = f"tenant_id = ? AND device_id = ? {kinds}"
        until_us = end_us if before_us is None else min(end_us, before_us)
        query = f"""
            SELECT {_READING} FROM readings WHERE {of_it} AND ts_us < ? AND ts_us >= max(?, coalesce(
                (SELECT ts_us FROM readings WHERE {of_it} AND ts_us < ? ORDER BY ts_us DESC LIMIT 1 OFFSET ?), 0))
            ORDER BY ts_us DESC
        """
        key = (device.tenant_id, device.device_id)
        rows = self._sqlite.execute(query, (*key, until_us, start_us, *key, until_us, limit - 1))
        return [_stored(row) for row in rows]

    async def select(self, wanted: Selection, *, limit: int, after: Place | None = None) -> list[SelectedReading]:
        self._answer()
        query = f"""
            SELECT device_id, ts_us, key_hash, {_READING} FROM readings
            WHERE tenant_id = ? AND ts_us >= ? AND ts_us < ? AND (device_id, ts_us, key_hash) > (?, ?, ?)
            ORDER BY device_id, ts_us, key_hash
        """
        begins = ("", 0, 0) if after is None else (after.device_id, after.ts_us, after.key_hash)
        found: list[SelectedReading] = []
        for row in self._sqlite.execute(query, (wanted.tenant_id, wanted.start_us, wanted.end_us, *begins)):
            each = SelectedReading(Place(*row[:3]), _stored(row[3:]))
            if (picked := _picked(each, wanted)) is not None:
                found.append(picked)
            if len(found) == limit:
                break
        return found

    async def drop_before(self, cutoff_us: int) -> int:
        return self._delete("ts_us < ?", cutoff_us)

    async def forget_device(self, device: DeviceKey) -> int:
        return self._delete("tenant_id = ? AND device_id = ?", device.tenant_id, device.device_id)

    async def forget_tenant(self, tenant_id: str) -> int:
        gone = self._delete("tenant_id = ?", tenant_id)
        self._sqlite.execute("DELETE FROM rooms WHERE tenant_id = ?", (tenant_id,))
        return gone

    async def size(self, tenant_id: str | None = None) -> Size:
        self._answer()
        query = "SELECT count(*) FROM readings WHERE ? IS NULL OR tenant_id = ?"
        ((count,),) = self._sqlite.execute(query, (tenant_id, tenant_id))
        return Size(count, None)

    def _answer(self) -> dict[str, Any]:
        said = self._beside.said()
        if said["away"]:
            raise StoreUnavailable("it is away, says the test")
        return said

    def _delete(self, where: str, *arguments: Any) -> int:
        self._answer()
        return self._sqlite.execute(f"DELETE FROM readings WHERE {where}", arguments).rowcount

    def _knows(self, key: ReadingKey) -> bool:
        since_us, until_us = (key.ts_us, key.ts_us) if key.since_us is None else (key.since_us, 2**62)
        query = """
            SELECT 1 FROM readings
            WHERE tenant_id = ? AND device_id = ? AND ts_us >= ? AND ts_us <= ? AND key_hash = ? LIMIT 1
        """
        device = key.device
        arguments = (device.tenant_id, device.device_id, since_us, until_us, key.key_hash)
        return self._sqlite.execute(query, arguments).fetchone() is not None


def _row(reading: Reading) -> tuple[Any, ...]:
    return (
        reading.device.tenant_id,
        reading.device.device_id,
        reading.ts_us,
        reading.key_hash,
        reading.received_us,
        str(reading.msg_type),
        reading.site_id,
        reading.seq,
        reading.metrics_json,
    )


def _stored(row: tuple[Any, ...]) -> StoredReading:
    ts_us, received_us, msg_type, site_id, seq, metrics = row
    return StoredReading(ts_us, received_us, msg_type, site_id, seq, json.loads(metrics))


def _picked(each: SelectedReading, wanted: Selection) -> SelectedReading | None:
    reading = each.reading
    if wanted.devices is not None and each.place.device_id not in wanted.devices:
        return None
    if wanted.sites is not None and reading.site_id not in wanted.sites:
        return None
    if wanted.msg_types is not None and reading.msg_type not in wanted.msg_types:
        return None
    if wanted.metrics is None:
        return each
    metrics = {name: value for name, value in reading.metrics.items() if name in wanted.metrics}
    return SelectedReading(each.place, replace(reading, metrics=metrics)) if metrics else None


@hookimpl
def pulse_register_telemetry_stores() -> list[type[TelemetryStore]]:
    return [BesideStore]


def install(folder: Path) -> Path:
    """Lay the distribution out in ``folder``, which goes on the product's module path."""
    info = folder / "pulse_beside-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pulse-beside\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pulse.plugins]\nbeside = pulse_beside\n")
    (folder / "pulse_beside.py").write_text(Path(__file__).read_text())
    return folder


def config_of(path: Path) -> str:
    """What the product's configuration says of it, after ``[plugins]``."""
    return f'[plugins.beside]\npath = "{path}"\n'
