"""The history of connections in the database: written in batches, bounded, ended for those who died."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.device_connections import MOST_A_DEVICE, ConnectionEvent, DeviceConnection, Ending
from pulse_core.errors import StoreUnavailable
from pulse_core.records import DeviceKey
from pulse_postgres.device_connections import PostgresDeviceConnections
from pulse_postgres.pool import open_pool
from support.batches import judged, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.database import Database

S = 1_000_000
NOW_US = time.time_ns() // 1000
LOOK = "SELECT device_id, client_id, reason FROM device_connections ORDER BY connected_at"


@pytest.fixture
async def store(database: Database) -> AsyncIterator[PostgresDeviceConnections]:
    register(database, "tenant-a/one", "tenant-a/two", "tenant-b/one")
    pool = await open_pool(database.dsn("pulse_pipeline"), name="test", max_size=1)
    yield PostgresDeviceConnections(pool)
    await pool.close()


def one(number: int = 0, device: str = "tenant-a/one", **more: Any) -> DeviceConnection:
    key = DeviceKey(*device.split("/"))
    return DeviceConnection(uuid.uuid4(), key, "mqtt", "mqtt", "::1", f"{number}", NOW_US + number * S, **more)


def refused(number: int = 0, device: str = "tenant-a/one", **more: Any) -> DeviceConnection:
    at_us = NOW_US + number * S
    more = {"detail": "TOKEN_INVALID", "event": ConnectionEvent.REFUSED, **more}
    return one(number, device, ended_us=at_us, **more)


async def test_what_began_ends_once(store: PostgresDeviceConnections, database: Database) -> None:
    lasting, short = one(1), one(2, ended_us=NOW_US + 3 * S, ending=Ending.LOST)
    await store.record([lasting, short])
    lasting.ended_us, lasting.ending = NOW_US + 9 * S, Ending.TAKEN_OVER
    await store.record([lasting])
    lasting.ending = Ending.REVOKED
    await store.record([lasting])
    assert judged(database, LOOK) == [("one", "1", "TAKEN_OVER"), ("one", "2", "LOST")]


async def test_of_each_device_the_newest_are_kept(store: PostgresDeviceConnections, database: Database) -> None:
    await store.record([one(number) for number in range(MOST_A_DEVICE + 20)] + [one(0, "tenant-a/two")])
    await store.record([one(MOST_A_DEVICE + 20), one(0, "tenant-b/one")])
    look = """
        SELECT tenant_id || '/' || device_id, count(*), min(client_id::int) FROM device_connections
        GROUP BY 1 ORDER BY 1
    """
    assert judged(database, look) == [
        ("tenant-a/one", MOST_A_DEVICE, 21), ("tenant-a/two", 1, 0), ("tenant-b/one", 1, 0),
    ]  # fmt: skip


async def test_refusals_are_counted_and_drive_no_connection_out(
    store: PostgresDeviceConnections, database: Database
) -> None:
    first = refused(1)
    await store.record(
        [one(0), one(2, ended_us=NOW_US + 3 * S, ending=Ending.LOST), first, refused(3, "tenant-z/gone")]
    )
    first.times = 7
    await store.record([first])
    await store.record([refused(number) for number in range(10, 10 + MOST_A_DEVICE - 1)])
    look = "SELECT event, count(*), max(times), min(detail) FROM device_connections GROUP BY event ORDER BY event"
    assert judged(database, look) == [("REFUSED", MOST_A_DEVICE, 7, "TOKEN_INVALID"), (None, 2, 1, "")]
    await store.record([refused(900), refused(901, event=ConnectionEvent.WILL, detail="telemetry: taken in")])
    assert judged(database, look) == [
        ("REFUSED", MOST_A_DEVICE, 1, "TOKEN_INVALID"), ("WILL", 1, 1, "telemetry: taken in"), (None, 2, 1, ""),
    ]  # fmt: skip
    await store.end_all_but([])
    assert judged(database, "SELECT count(*) FROM device_connections WHERE reason = 'SERVER_STOPPED'") == [(1,)]
    await store.drop_before(NOW_US + 5 * S)
    assert judged(database, "SELECT min(client_id::int) FROM device_connections WHERE event IS NOT NULL") == [(10,)]


async def test_a_device_that_is_gone_has_no_history(store: PostgresDeviceConnections, database: Database) -> None:
    await store.record([one(1), one(2, "tenant-a/gone"), one(3, "tenant-z/gone")])
    assert judged(database, LOOK) == [("one", "1", None)]
    judged(database, "DELETE FROM devices WHERE device_id = 'one' RETURNING true")
    assert judged(database, LOOK) == []


async def test_those_of_a_dead_process_end_when_the_next_one_starts(
    store: PostgresDeviceConnections, database: Database
) -> None:
    ours, theirs = one(1), one(2, "tenant-b/one")
    await store.record([ours, theirs])
    await store.end_all_but([ours.connection_id])
    assert judged(database, LOOK) == [("one", "1", None), ("one", "2", "SERVER_STOPPED")]


async def test_what_ended_long_ago_is_forgotten(store: PostgresDeviceConnections, database: Database) -> None:
    await store.record([one(1), one(2, ended_us=NOW_US + 3 * S, ending=Ending.LOST)])
    assert await store.drop_before(NOW_US + 3 * S) == 0
    assert await store.drop_before(NOW_US + 4 * S) == 1
    assert judged(database, LOOK) == [("one", "1", None)]


async def test_nothing_that_the_database_says_ends_the_data_path(
    store: PostgresDeviceConnections, database: Database
) -> None:
    with database.superuser() as hand:
        hand.execute("ALTER TABLE device_connections ADD CHECK (client_id <> '7')")
    with pytest.raises(StoreUnavailable):
        await store.record([one(7)])
    await store.record([one(8)])
