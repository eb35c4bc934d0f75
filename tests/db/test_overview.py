"""What operators look at: derived status, newest first, pages that miss nothing, and counts."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pulse_core.errors import NotFound, PermanentFailure
from pulse_core.records import AlertEvent, DeviceStatus, Reason, Reject, WriteSet
from pulse_postgres import incidents
from pulse_postgres.overview import Overview
from pulse_postgres.paging import parted
from pulse_postgres.pool import open_pool
from support.batches import (
    ALL,
    NOW_US,
    S,
    alert,
    delivery,
    integrate,
    judged,
    lane_stores,
    reading,
    register,
    state,
    step,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    import asyncpg

    from pulse_core.records import OpenAlert
    from pulse_postgres.lanes import PostgresLane
    from pulse_postgres.paging import Page
    from support.database import Database


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool[Any]]:
    opened = await open_pool(database.dsn("pulse_operator"), name="test")
    yield opened
    await opened.close()


@pytest.fixture
def overview(pool: asyncpg.Pool[Any]) -> Overview:
    return Overview(pool)


@pytest.fixture
async def lane(database: Database) -> AsyncIterator[PostgresLane]:
    register(database, "tenant-a/dev-1", "tenant-a/dev-2", "tenant-b/dev-1")
    async with lane_stores(database) as stores:
        opened = await stores.open(0, ALL)
        yield opened
        await opened.close()


async def through(ask: Callable[..., Awaitable[Page]], limit: int = 2, **wanted: Any) -> list[dict[str, Any]]:
    """Every item, page by page."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        page = await ask(limit=limit, cursor=cursor, **wanted)
        assert len(page.items) <= limit
        items += page.items
        if page.next is None:
            return items
        assert len(page.items) == limit
        cursor = page.next


async def test_a_devices_status_is_derived(lane: PostgresLane, overview: Overview, database: Database) -> None:
    names = ["online", "late", "stale", "unknown", "revoked", "silent", "judged"]
    register(database, *(f"tenant-a/{name}" for name in names))
    long_ago = NOW_US - 60 * S
    await lane.commit(
        WriteSet(
            states=[
                state("tenant-a/online", status_until_us=NOW_US + 3600 * S),
                state("tenant-a/late", status_until_us=long_ago),
                state("tenant-a/stale", status=DeviceStatus.STALE, status_until_us=long_ago),
                state("tenant-a/unknown", status=DeviceStatus.UNKNOWN),
                state("tenant-a/revoked"),
                state("tenant-a/judged", status_until_us=None),
            ]
        )
    )
    judged(database, "UPDATE devices SET revoked_at = now() WHERE device_id = 'revoked' RETURNING true")
    found = {item["device_id"]: item for item in await through(overview.devices, tenant_id="tenant-a")}
    assert {name: found[name]["status"] for name in names} == {
        "online": "ONLINE",
        "late": "UNKNOWN",
        "stale": "STALE",
        "unknown": "UNKNOWN",
        "revoked": "REVOKED",
        "silent": "UNKNOWN",
        "judged": "ONLINE",
    }
    assert await overview.device("tenant-a", "online") == found["online"]
    assert found["online"]["last_seen_at"].timestamp() == pytest.approx(NOW_US / 1e6)
    online = await through(overview.devices, status="ONLINE")
    assert [item["device_id"] for item in online] == ["judged", "online"]
    counts = await overview.counts(tenant_id="tenant-a")
    assert counts["devices"] == {"ONLINE": 2, "STALE": 1, "REVOKED": 1, "UNKNOWN": 5}


async def test_a_device_that_is_a_little_late_is_still_online(
    lane: PostgresLane, overview: Overview, database: Database
) -> None:
    """The judge may be a moment behind."""
    await lane.commit(WriteSet(states=[state()]))
    judged(database, "UPDATE device_state SET status_until = now() - interval '1 s' RETURNING true")
    assert (await overview.device("tenant-a", "dev-1"))["status"] == "ONLINE"


async def open_many(lane: PostgresLane, *moments_s: float) -> list[OpenAlert]:
    """One alert at each moment, in turns of two tenants."""
    made: list[OpenAlert] = []
    for number, moment_s in enumerate(moments_s):
        opened = alert(fingerprint=f"F/{number}", opened_us=NOW_US + round(moment_s * S))
        tenant = "tenant-b" if number % 2 else "tenant-a"
        await lane.commit(WriteSet(changes=[step(opened, name=f"{tenant}/dev-1")]))
        made.append(opened)
    return made


async def test_alerts_come_newest_first_across_tenants(lane: PostgresLane, overview: Overview) -> None:
    made = await open_many(lane, 3, 1, 2, 2, 2, 5.000001, 5)
    for limit in (1, 2, 3, 200):
        items = await through(overview.alerts, limit)
        order = sorted(made, key=lambda each: (-each.opened_us, each.alert_id))
        assert [item["alert_id"] for item in items] == [each.alert_id for each in order]
    ours = await through(overview.alerts, tenant_id="tenant-b")
    assert [item["alert_id"] for item in ours] == [made[5].alert_id, made[3].alert_id, made[1].alert_id]
    item = items[0]
    assert (item["severity"], item["severity_name"], item["status"]) == (4, "MAJOR", "OPEN")
    assert (item["details"], item["device_id"]) == ({"threshold_s": 30}, "dev-1")
    assert "position" not in item


async def test_alerts_are_found_by_device_type_and_status(lane: PostgresLane, overview: Overview) -> None:
    one, two = alert(), alert("tenant-a/dev-2", alert_type="HOT")
    await lane.commit(WriteSet(changes=[step(one), step(two, name="tenant-a/dev-2")]))
    await lane.commit(WriteSet(changes=[step(one, AlertEvent.CLOSED)]))

    async def found(**wanted: Any) -> set[uuid.UUID]:
        return {item["alert_id"] for item in await through(overview.alerts, **wanted)}

    assert await found() == {one.alert_id, two.alert_id}
    assert await found(status="OPEN") == {two.alert_id}
    assert await found(status="CLOSED") == {one.alert_id}
    assert await found(device_id="dev-2") == {two.alert_id}
    assert await found(alert_type="HOT", tenant_id="tenant-b") == set()
    assert (await overview.counts())["alerts"] == {"MAJOR": 1}


async def test_an_alert_tells_who_was_told_and_why(lane: PostgresLane, overview: Overview) -> None:
    opened = alert()
    await lane.commit(WriteSet(changes=[step(opened)]))
    await lane.commit(WriteSet(changes=[step(opened, AlertEvent.CLOSED, at_us=NOW_US + S)]))
    found = await overview.alert("tenant-a", opened.alert_id)
    assert [change["event"] for change in found["changes"]] == ["OPEN", "CLOSED"]
    assert found["changes"][0]["decisions"][0]["matched"] is True
    for tenant_id, alert_id in (("tenant-b", opened.alert_id), ("tenant-a", uuid.uuid4())):
        with pytest.raises(NotFound):
            await overview.alert(tenant_id, alert_id)


async def test_deliveries_come_with_their_attempts(lane: PostgresLane, overview: Overview, database: Database) -> None:
    hooks = {tenant: integrate(database, tenant) for tenant in ("tenant-a", "tenant-b")}
    made = await open_many(lane, *range(6))
    for number, opened in enumerate(made):
        tenant = "tenant-b" if number % 2 else "tenant-a"
        told = delivery(opened, hooks[tenant], tenant_id=tenant)
        await lane.commit(WriteSet(deliveries=[msgspec.structs.replace(told, cause="test")]))
    rows = judged(database, "SELECT delivery_id, alert_id FROM deliveries ORDER BY created_at DESC")
    for attempt, outcome in ((2, "DELIVERED"), (1, "TEMPORARY")):
        judged(
            database,
            "INSERT INTO delivery_attempts VALUES ('tenant-b', %s, %s, now(), 12, %s, 'HTTP 200', 'ok') RETURNING true",
            rows[0][0],
            attempt,
            outcome,
        )
    items = await through(overview.deliveries)
    assert [item["delivery_id"] for item in items] == [row[0] for row in rows]
    assert [attempt["outcome"] for attempt in items[0]["attempts"]] == ["TEMPORARY", "DELIVERED"]
    assert items[0]["attempts"][0]["duration_ms"] == 12
    assert items[1]["attempts"] == []
    assert (items[0]["integration_name"], items[0]["integration_type"], items[0]["status"]) == (
        "hook",
        "webhook",
        "PENDING",
    )
    assert await overview.delivery("tenant-b", rows[0][0]) == items[0]
    with pytest.raises(NotFound):
        await overview.delivery("tenant-a", rows[0][0])

    async def found(**wanted: Any) -> list[uuid.UUID]:
        return [item["delivery_id"] for item in await through(overview.deliveries, **wanted)]

    assert await found(alert_id=rows[2][1]) == [rows[2][0]]
    assert await found(integration_id=hooks["tenant-a"]) == [row[0] for row in rows[1::2]]
    assert await found(status="DEAD") == []
    judged(database, "UPDATE deliveries SET status = 'DEAD' WHERE delivery_id = %s RETURNING true", rows[3][0])
    assert await found(status="DEAD") == [rows[3][0]]
    assert (await overview.counts())["deliveries"] == {"PENDING": 5, "DEAD": 1}
    assert (await overview.counts(tenant_id="tenant-b"))["deliveries"] == {"PENDING": 3}


async def test_refusals_are_counted_over_all_lanes(lane: PostgresLane, overview: Overview, database: Database) -> None:
    def refused(reason: Reason, minutes: int, tenant_id: str = "tenant-a") -> Reject:
        return Reject(tenant_id, "d", reason, "", "t", NOW_US - minutes * 60 * S, payload_json="[1]", raw=b"\xff")

    await lane.commit(
        WriteSet(
            rejects=[
                refused(Reason.MALFORMED_JSON, 0),
                refused(Reason.INVALID_FIELD, 0),
                refused(Reason.INVALID_FIELD, 1),
                refused(Reason.INVALID_FIELD, 1, ""),
                refused(Reason.INVALID_FIELD, 2, "tenant-b"),
            ]
        )
    )
    judged(
        database,
        "INSERT INTO quarantine_counts SELECT tenant_id, minute, reason, 1, 10 FROM quarantine_counts RETURNING true",
    )
    items = await through(overview.refused)
    assert [(item["tenant_id"], item["reason"], item["rejected"]) for item in items] == [
        ("tenant-a", "INVALID_FIELD", 11),
        ("tenant-a", "MALFORMED_JSON", 11),
        ("", "INVALID_FIELD", 11),
        ("tenant-a", "INVALID_FIELD", 11),
        ("tenant-b", "INVALID_FIELD", 11),
    ]
    assert len(await through(overview.refused, since=datetime.fromtimestamp(NOW_US // (60 * S) * 60, UTC))) == 2
    assert len(await through(overview.refused, tenant_id="")) == 1
    assert len(await through(overview.refused, reason="MALFORMED_JSON")) == 1
    kept = await through(overview.quarantine)
    assert len(kept) == 5
    assert (kept[0]["payload"], kept[0]["raw"]) == ([1], b"\xff")
    assert [item["tenant_id"] for item in kept[2:]] in (["", "tenant-a", "tenant-b"], ["tenant-a", "", "tenant-b"])
    assert len(await through(overview.quarantine, tenant_id="tenant-a", reason="INVALID_FIELD")) == 2


async def test_integrations_and_routes_of_all_tenants(
    lane: PostgresLane, overview: Overview, database: Database
) -> None:
    made = {integrate(database, tenant) for tenant in ("tenant-a", "tenant-b", "tenant-b")}
    assert {item["integration_id"] for item in await through(overview.integrations)} == made
    assert len(await through(overview.integrations, tenant_id="tenant-b")) == 2
    for tenant, integration_id in judged(database, "SELECT tenant_id, integration_id FROM integrations"):
        judged(
            database,
            "INSERT INTO integration_routes (tenant_id, route_id, integration_id)"
            " VALUES (%s, gen_random_uuid(), %s) RETURNING true",
            tenant,
            integration_id,
        )
    assert len(await through(overview.routes)) == 3
    assert {item["tenant_id"] for item in await through(overview.routes, tenant_id="tenant-a")} == {"tenant-a"}


async def test_pages_are_json(lane: PostgresLane, overview: Overview, database: Database) -> None:
    hook, opened = integrate(database), alert()
    batch = WriteSet(
        readings=[reading()], states=[state()], changes=[step(opened)], deliveries=[delivery(opened, hook)]
    )
    await lane.commit(batch)
    for ask in (overview.devices, overview.alerts, overview.deliveries, overview.integrations, overview.refused):
        text = msgspec.json.encode(await ask())
        assert set(msgspec.json.decode(text)) == {"items", "next"}


@pytest.mark.parametrize("cursor", ["", "x", "WyJhIl0", "\ud800", "WzEsICJhIl0"])
async def test_a_foreign_cursor_is_refused(cursor: str, overview: Overview) -> None:
    for ask in (overview.devices, overview.alerts, overview.deliveries, overview.refused, overview.quarantine):
        with pytest.raises(PermanentFailure, match="cursor"):
            await ask(cursor=cursor)


async def test_the_filter_by_status_and_the_status_that_is_shown_agree(overview: Overview, database: Database) -> None:
    """Whatever the registry and the state say of a device, together."""
    with database.superuser() as hand:
        hand.execute("INSERT INTO tenants VALUES ('tenant-a')")
        hand.execute(
            "INSERT INTO devices (tenant_id, device_id, site_id, revoked_at)"
            " SELECT 'tenant-a', concat_ws(':', s, u, r), 's', CASE WHEN r THEN now() END"
            " FROM unnest(ARRAY['ONLINE', 'STALE', 'UNKNOWN', 'none']) s, unnest(ARRAY['past', 'future', 'never']) u,"
            " unnest(ARRAY[true, false]) r"
        )
        hand.execute(
            "INSERT INTO device_state (tenant_id, device_id, status, status_since, status_until)"
            " SELECT tenant_id, device_id, split_part(device_id, ':', 1), now(),"
            " CASE split_part(device_id, ':', 2) WHEN 'past' THEN now() - interval '1 hour'"
            " WHEN 'future' THEN now() + interval '1 hour' END"
            " FROM devices WHERE device_id NOT LIKE 'none%'"
        )
    shown = (await overview.devices(limit=200)).items
    assert len(shown) == 24
    for status in DeviceStatus:
        expected = [item["device_id"] for item in shown if item["status"] == status]
        assert expected, status
        found = await through(overview.devices, status=str(status))
        assert [item["device_id"] for item in found] == expected, status


async def test_a_page_costs_a_page(overview: Overview, pool: asyncpg.Pool[Any], database: Database) -> None:
    """100,000 devices, closed alerts and deliveries: a page reads some hundred rows of them, by index."""
    with database.superuser() as hand:
        hand.execute("INSERT INTO tenants SELECT 'tenant-' || x FROM generate_series(0, 4) x")
        hand.execute(
            "INSERT INTO devices (tenant_id, device_id, site_id)"
            " SELECT 'tenant-' || x % 5, 'dev-' || x, 'site-1' FROM generate_series(1, 100000) x"
        )
        hand.execute(
            "INSERT INTO alerts SELECT tenant_id, gen_random_uuid(), device_id, site_id, 'T', device_id,"
            " CASE WHEN device_id LIKE '%%777' THEN 'OPEN' ELSE 'CLOSED' END, 4, 1, '', '{}',"
            " now() - random() * interval '90 days' FROM devices"
        )
        hand.execute("ANALYZE")
    wanted: list[dict[str, Any]] = [
        {},
        {"tenant_id": "tenant-3"},
        {"status": "OPEN"},
        {"device_id": "dev-7", "tenant_id": "tenant-2"},
    ]
    second = (await overview.alerts(limit=20)).next
    for filters in (*wanted, {"cursor": second}):
        explaining = Explaining(pool)
        part, wanted_ones = parted(filters)
        tenant_id = wanted_ones.pop("tenant_id", None)
        which = incidents.AlertFilter(**wanted_ones)
        await incidents.alert_page(explaining, which, tenant_id=tenant_id, limit=20, **part)  # type: ignore[arg-type]
        query, arguments = explaining.asked[0]
        plan = await pool.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON) {query}", *arguments)
        assert rows_read(msgspec.json.decode(plan[0][0])[0]["Plan"]) < 2000, filters


class Explaining:
    """A pool that remembers what it was asked."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    async def fetch(self, query: str, *arguments: Any) -> list[Any]:
        self.asked.append((query, arguments))
        return await self._pool.fetch(query, *arguments)


def rows_read(plan: dict[str, Any]) -> float:
    """Rows that the scans of a plan looked at, filtered ones included."""
    own = 0.0
    if "Scan" in plan["Node Type"]:
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        own = rows * plan["Actual Loops"]
    return own + sum(rows_read(child) for child in plan.get("Plans", ()))
