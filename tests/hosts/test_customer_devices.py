"""A tenant's devices over the customer API, its dashboard, and what its devices said."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from pulse_core.records import AlertEvent, WriteSet
from support.admin import Admin, Caller, admin_api
from support.batches import ALL, NOW_US, S, alert, judged, lane_stores, reading, register, state, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

MINE = ["boiler-1", "boiler-2", "pump-1"]


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    register(database, *(f"tenant-a/{name}" for name in MINE), "tenant-b/boiler-1", "tenant-b/theirs")
    judged(
        database,
        'UPDATE devices SET labels = \'{"floor": "2", "a:b": ""}\', name = \'North Wing 100%%\', site_id = \'north\''
        " WHERE device_id = 'boiler-2' AND tenant_id = %s RETURNING true",
        "tenant-a",
    )
    async with lane_stores(database) as stores, admin_api(database, tmp_path) as found:
        lane = await stores.open(0, ALL)
        for name, value in (("tenant-a/boiler-1", 1.5), ("tenant-b/boiler-1", 99.0)):
            change, decisions = step(alert(name), AlertEvent.OPEN, name)
            old = reading(
                name, ts_us=NOW_US - 60 * S, metrics={"t": 0, "on": True}, metrics_json='{"t": 0, "on": true}'
            )
            new = reading(name, metrics={"t": value}, metrics_json=f'{{"t": {value}}}')
            await lane.commit(WriteSet(readings=[old, new], states=[state(name)], changes=[(change, decisions)]))
        await lane.close()
        yield found


async def names(caller: Caller, query: str = "") -> list[str]:
    status, body, _ = await caller.get(f"/devices{query}")
    assert status == 200, body
    return [each["device_id"] for each in body["items"]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", MINE),
        ("?prefix=boiler", MINE[:2]),
        ("?search=OILER-2", MINE[1:2]),
        ("?search=wing", MINE[1:2]),
        ("?search=100%25", MINE[1:2]),
        ("?search=%25", MINE[1:2]),
        ("?search=_", []),
        ("?label=floor", MINE[1:2]),
        ("?label=floor:2", MINE[1:2]),
        ("?label=floor:3", []),
        ("?label=roof", []),
        ("?site_id=north", MINE[1:2]),
        ("?status=ONLINE", MINE[:1]),
        ("?status=UNKNOWN&prefix=p", MINE[2:]),
    ],
)
async def test_devices_by_filter(customer: Caller, query: str, found: list[str]) -> None:
    assert await names(customer, query) == found


async def test_devices_page_by_page(customer: Caller) -> None:
    _, body, _ = await customer.get("/devices?limit=2")
    assert [each["device_id"] for each in body["items"]] == MINE[:2]
    assert await names(customer, f"?limit=2&cursor={body['next']}") == MINE[2:]


async def test_nobody_names_another_tenant(customer: Caller) -> None:
    assert (await customer.get("/devices?tenant_id=tenant-b"))[0] == 422
    assert (await customer.get("/dashboard?tenant_id=tenant-b"))[1]["devices"] == {"ONLINE": 1, "UNKNOWN": 2}


async def test_one_device_with_its_latest_values_and_open_alerts(customer: Caller) -> None:
    status, body, _ = await customer.get("/devices/boiler-1")
    assert (status, body["tenant_id"], body["status"]) == (200, "tenant-a", "ONLINE")
    assert body["status_since"]
    assert {name: each["value"] for name, each in body["latest"].items()} == {"on": True, "t": 1.5}
    assert body["latest"]["on"]["ts"] < body["latest"]["t"]["ts"]
    assert [each["tenant_id"] for each in body["open_alerts"]] == ["tenant-a"]
    _, silent, _ = await customer.get("/devices/boiler-2")
    assert (silent["status"], silent["latest"], silent["open_alerts"]) == ("UNKNOWN", {}, [])
    assert silent["labels"]["floor"] == "2"


async def test_what_a_device_said(customer: Caller) -> None:
    _, body, _ = await customer.get("/devices/boiler-1/telemetry")
    assert [each["metrics"]["t"] for each in body["items"]] == [1.5, 0]
    _, first, _ = await customer.get("/devices/boiler-1/telemetry?limit=1")
    _, second, _ = await customer.get(f"/devices/boiler-1/telemetry?limit=1&cursor={first['next']}")
    assert [each["metrics"]["t"] for each in (*first["items"], *second["items"])] == [1.5, 0]
    between = dt.datetime.fromtimestamp((NOW_US - 30 * S) / S, dt.UTC).isoformat().replace("+", "%2B")
    _, late, _ = await customer.get(f"/devices/boiler-1/telemetry?start={between}")
    assert [each["metrics"]["t"] for each in late["items"]] == [1.5]


async def test_row_level_security_stands_behind_the_readings(customer: Caller, database: Database) -> None:
    """The rows are there under the very key that is asked for; only the policy keeps them back."""
    with database.superuser() as hand:
        hand.execute("ALTER POLICY web ON telemetry USING (tenant_id = 'nobody')")
    assert (await customer.get("/devices/boiler-1/telemetry"))[1]["items"] == []
    assert (await customer.get("/devices/boiler-1"))[1]["latest"] == {}


async def test_the_dashboard_is_of_one_tenant(customer: Caller, database: Database) -> None:
    judged(
        database,
        "INSERT INTO quarantine_counts VALUES ('', now(), 'BAD_TOPIC_FORMAT', 0, 3),"
        " ('tenant-a', now(), 'TOKEN_INVALID', 0, 2), ('tenant-b', now(), 'TOKEN_INVALID', 0, 9) RETURNING true",
    )
    assert (await customer.get("/dashboard"))[1] == {
        "devices": {"ONLINE": 1, "UNKNOWN": 2},
        "alerts": {"MAJOR": 1},
        "deliveries": {},
        "rejected": {"TOKEN_INVALID": 2},
        "rejected_over_min": 15,
    }


async def test_devices_in_another_order(customer: Caller) -> None:
    assert await names(customer, "?sort=-device_id") == MINE[::-1]
    _, first, _ = await customer.get("/devices?sort=-device_id&limit=1")
    assert await names(customer, f"?sort=-device_id&cursor={first['next']}") == MINE[::-1][1:]
    status, body, _ = await customer.get(f"/devices?cursor={first['next']}")
    assert (status, "order" in body["detail"]) == (422, True)
    for wrong in ("token_hash", "-", "--name", "name;", "labels"):
        status, body, _ = await customer.get(f"/devices?sort={wrong}")
        assert status == 422
        assert body["errors"][0]["field"] == "sort"
