"""Reading the committed state of devices back at start: 100,000 of them in a second or two."""

from __future__ import annotations

import gc
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.records import DeviceKey, DeviceState, DeviceStatus, OpenAlert, Severity, partition_of
from pulse_postgres.sqltime import us

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from asyncpg import Connection, Record

_CHUNK = 5000

# Only Python knows the partition of a device, so names come first, and the rest for those that are wanted.
_MINE = "JOIN unnest($1::text[], $2::text[]) AS mine (t, d) ON tenant_id = mine.t AND device_id = mine.d"

_STATE_NAMES = "SELECT tenant_id, device_id FROM device_state"
_STATES = f"""
    SELECT tenant_id, device_id, status, {us("status_since")}, {us("status_until")}, {us("last_seen_at")},
           {us("last_ts")}, last_seq, source, memory, wake
    FROM device_state {_MINE}
"""

# What somebody closed by hand, and what still holds, is remembered as if it were open: it must not open anew.
_REMEMBERED = "(status <> 'CLOSED' OR held)"
_ALERT_NAMES = f"SELECT DISTINCT tenant_id, device_id FROM alerts WHERE {_REMEMBERED}"
ALERT = f"""
    tenant_id, device_id, alert_id, alert_type, fingerprint, severity, confidence, summary, site_id,
    {us("opened_at")}, details
"""
"""Of ``alerts``, in the order in which :func:`open_alert` reads them."""
_ALERTS = f"SELECT {ALERT} FROM alerts {_MINE} WHERE {_REMEMBERED}"

_STATUSES = {str(status): status for status in DeviceStatus}
_SEVERITIES = {int(severity): severity for severity in Severity}


async def load_states(connection: Connection, partitions: frozenset[int]) -> list[DeviceState]:
    """Every device state in ``partitions``, with the device's alerts that are not over, by fingerprint."""
    with _collecting_later():
        return await _load(connection, partitions)


async def _load(connection: Connection, partitions: frozenset[int]) -> list[DeviceState]:
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        alerts: dict[tuple[str, str], dict[str, OpenAlert]] = {}
        async for row in _mine(connection, _ALERT_NAMES, _ALERTS, partitions):
            alerts.setdefault((row[0], row[1]), {})[row[4]] = open_alert(row)
        loaded = [
            _state(row, alerts.pop((row[0], row[1]), {}))
            async for row in _mine(connection, _STATE_NAMES, _STATES, partitions)
        ]
    loaded.extend(DeviceState(DeviceKey(*name), alerts=left) for name, left in alerts.items())
    return loaded


@contextmanager
def _collecting_later() -> Iterator[None]:
    """Hold garbage collection off: nothing here is garbage, and looking for it again and again triples the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


async def _mine(connection: Connection, names: str, query: str, partitions: frozenset[int]) -> AsyncIterator[Record]:
    """Rows of ``query`` for those of ``names`` that are in ``partitions``."""
    tenants, devices = [], []
    async for row in _rows(connection, names):
        if partition_of(row[0], row[1]) in partitions:
            tenants.append(row[0])
            devices.append(row[1])
    async for row in _rows(connection, query, tenants, devices):
        yield row


async def _rows(connection: Connection, query: str, *arguments: list[str]) -> AsyncIterator[Record]:
    cursor = await connection.cursor(query, *arguments)
    while rows := await cursor.fetch(_CHUNK):
        for row in rows:
            yield row


def _state(row: Record, alerts: dict[str, OpenAlert]) -> DeviceState:
    return DeviceState(
        key=DeviceKey(sys.intern(row[0]), row[1]),
        status=_STATUSES[row[2]],
        status_since_us=row[3],
        status_until_us=row[4],
        last_seen_us=row[5] or 0,
        last_ts_us=row[6] or 0,
        last_seq=row[7],
        source=sys.intern(row[8]),
        memory=_decode(row[9]),
        wake_us=_decode(row[10]),
        alerts=alerts,
    )


def open_alert(row: Record) -> OpenAlert:
    """Make an alert of a row that begins with :data:`ALERT`."""
    return OpenAlert(
        alert_id=row[2],
        alert_type=sys.intern(row[3]),
        fingerprint=row[4],
        severity=_SEVERITIES[row[5]],
        confidence=row[6],
        summary=row[7],
        site_id=sys.intern(row[8]),
        opened_us=row[9],
        details=_decode(row[10]),
    )


def _decode(text: str) -> dict[str, Any]:
    decoded: dict[str, Any] = msgspec.json.decode(text)
    return decoded
