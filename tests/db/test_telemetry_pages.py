"""Pages of readings, and events, are read from an index where they begin, whatever the database's language."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from pulse_core.api import DeviceKey, Place, Selection
from pulse_postgres.sqltime import moment
from pulse_postgres.telemetry import pages
from pulse_postgres.telemetry import store as telemetry_store
from support.telemetry import a_store

if TYPE_CHECKING:
    from support.database import Database

DAY_US = 86_400_000_000
MANY = """
    INSERT INTO telemetry SELECT 'tenant-a', 'd' || x % 100, now() - x * interval '4 s', x, now(),
        CASE WHEN x % 1000 = 1 THEN 'event' ELSE 'telemetry' END, 's', x, '{"a": 1, "b": 2}'
    FROM generate_series(1, 60000) x
"""


@pytest.fixture
def many(database: Database) -> Database:
    """100 devices with 600 readings each over three days; of one of them, 60 are events."""
    with database.superuser() as hand:
        hand.execute("SELECT ensure_telemetry_day(current_date - d) FROM generate_series(-1, 3) d")
        hand.execute(MANY)
        hand.execute("VACUUM ANALYZE telemetry")
    return database


def plan_of(database: Database, role: str, query: str, arguments: list[Any]) -> list[str]:
    """How PostgreSQL finds this, for these very values, for an operator or within the tenant's policies."""
    for number in range(len(arguments), 0, -1):
        query = query.replace(f"${number}", f"%({number})s")
    with psycopg.connect(database.dsn(role), cursor_factory=psycopg.ClientCursor) as connection:
        connection.execute(pages._BY_INDEX)
        connection.execute("SELECT set_config('app.tenant_id', 'tenant-a', true)")
        values = {str(number): value for number, value in enumerate(arguments, 1)}
        rows = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS OFF) {query}".encode(), values)
        return [str(row[0]) for row in rows]


def rows_read(plan: list[str]) -> int:
    """How many rows came out of tables, or were looked at in vain."""
    scans = [each for each in plan if " on telemetry_" in each and "never executed" not in each]
    assert scans
    read = sum(
        int(float(each.split("actual")[1].split("rows=")[1].split(" ")[0])) * int(each.split("loops=")[1].rstrip(")"))
        for each in scans
    )
    return read + sum(int(each.split(":")[1]) for each in plan if "Rows Removed" in each)


@pytest.mark.parametrize("role", ["pulse_operator", "pulse_web"])
@pytest.mark.parametrize("devices", [None, ("d3",), tuple(f"d{number}" for number in range(100))])
async def test_a_page_is_read_where_it_begins(many: Database, devices: tuple[str, ...] | None, role: str) -> None:
    now = time.time_ns() // 1000
    wanted = Selection("tenant-a", now - 5 * DAY_US, now, devices=devices)
    after = Place("d3", now - DAY_US, 0)
    plan = plan_of(many, role, *pages._query(wanted, 200, after))
    assert rows_read(plan) < 3 * 200, "\n".join(plan)
    assert not any("Seq Scan" in each for each in plan), "\n".join(plan)
    async with a_store(many, role, tenant_id="tenant-a" if role == "pulse_web" else "") as store:
        page = await store.select(wanted, limit=200, after=after)
    assert len(page) == 200
    assert all(each.place > after for each in page)


@pytest.mark.parametrize("role", ["pulse_operator", "pulse_web"])
async def test_the_events_of_a_device_are_found_at_once(many: Database, role: str) -> None:
    now = time.time_ns() // 1000
    arguments = ["tenant-a", "d1", moment(now - 5 * DAY_US), moment(now), 100, ["event"]]
    plan = plan_of(many, role, telemetry_store._HISTORY_OF_TYPES, arguments)
    assert rows_read(plan) == 60, "\n".join(plan)
    async with a_store(many, role, tenant_id="tenant-a" if role == "pulse_web" else "") as store:
        found = await store.history(
            DeviceKey("tenant-a", "d1"), start_us=now - 5 * DAY_US, end_us=now, limit=100, msg_types=["event"]
        )
    assert len(found) == 60
