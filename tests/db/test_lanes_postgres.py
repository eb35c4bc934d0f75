"""A lane in PostgreSQL: what one commit writes, and what it leaves out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import asyncpg
import msgspec
import pytest

from pulse_core.api import PluginConfig, ReadingKey
from pulse_core.records import (
    AlertEvent,
    DeviceStatus,
    Reading,
    Reason,
    Reject,
    WriteSet,
    partition_of,
)
from pulse_postgres.lanes import PostgresLaneStores
from pulse_postgres.telemetry.store import PostgresTelemetryStore
from support.batches import (
    ALL,
    NOW_US,
    S,
    alert,
    delivery,
    integrate,
    judged,
    key,
    lane_stores,
    reading,
    register,
    state,
    step,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from pulse_postgres.lanes import PostgresLane
    from support.database import Database


@pytest.fixture
async def lane(database: Database) -> AsyncIterator[PostgresLane]:
    register(database, "tenant-a/dev-1", "tenant-a/dev-2", "tenant-b/dev-1")
    async with lane_stores(database) as stores:
        opened = await stores.open(3, ALL)
        yield opened
        await opened.close()


def alerts(database: Database) -> dict[Any, str]:
    return dict(judged(database, "SELECT alert_id, status FROM alerts"))


def delivered(database: Database) -> set[Any]:
    return {row[0] for row in judged(database, "SELECT delivery_id FROM deliveries")}


async def test_what_was_committed_is_loaded_again(lane: PostgresLane, database: Database) -> None:
    opened = alert()
    written = state(alerts={opened.fingerprint: opened})
    other = state("tenant-b/dev-1", status=DeviceStatus.STALE, status_until_us=None, last_seq=None, wake_us={})
    never_seen = state("tenant-a/dev-2", last_seen_us=0, last_ts_us=0, memory={}, source="")
    await lane.commit(
        WriteSet(readings=[reading(ts_us=NOW_US + 1)], states=[written, other, never_seen], changes=[step(opened)])
    )
    assert sorted(await lane.load(), key=lambda each: each.key) == [written, never_seen, other]
    never = judged(database, "SELECT last_seen_at, last_ts FROM device_state WHERE device_id = 'dev-2'")
    assert never == [(None, None)]
    newer = msgspec.structs.replace(written, last_seen_us=NOW_US + S, memory={"other": [1, "x"]})
    await lane.commit(WriteSet(states=[newer]))
    assert newer in await lane.load()
    known = await lane.known([ReadingKey(key(), NOW_US + 1, NOW_US + 1), ReadingKey(key(), NOW_US, NOW_US)])
    assert known == {0}


async def test_a_step_of_an_alert_carries_what_it_causes(lane: PostgresLane, database: Database) -> None:
    integration_id, opened = integrate(database), alert()
    told = delivery(opened, integration_id)
    await lane.commit(WriteSet(states=[state()], changes=[step(opened)], deliveries=[told]))
    row = judged(database, "SELECT severity, confidence, summary, details, fingerprint, site_id FROM alerts")
    assert row == [(4, 0.5, "silent for 30 s", {"threshold_s": 30}, "NO_HEARTBEAT/dev-1", "site-1")]
    ((event, decisions),) = judged(database, "SELECT event, decisions FROM alert_changes")
    assert event == "OPEN"
    assert decisions == [
        {
            "route_id": "00000000-0000-0000-0000-000000000001",
            "matched": True,
            "failed": None,
            "integration_id": None,
            "name": "",
        }
    ]
    ((cause, status, payload),) = judged(database, "SELECT cause, status, notification FROM deliveries")
    assert (cause, status) == ("alert", "PENDING")
    assert payload == msgspec.to_builtins(told.notification)


async def test_a_closed_alert_is_not_loaded(lane: PostgresLane, database: Database) -> None:
    integration_id, opened = integrate(database), alert()
    await lane.commit(WriteSet(states=[state()], changes=[step(opened)]))
    told = delivery(opened, integration_id, AlertEvent.CLOSED)
    closing = step(opened, AlertEvent.CLOSED, at_us=NOW_US + S)
    await lane.commit(WriteSet(states=[state()], changes=[closing], deliveries=[told]))
    assert alerts(database) == {opened.alert_id: "CLOSED"}
    assert judged(database, "SELECT closed_at - opened_at = interval '1 second' FROM alerts") == [(True,)]
    assert delivered(database) == {told.delivery_id}
    assert [each.alerts for each in await lane.load()] == [{}]


async def test_opened_closed_and_opened_again_in_one_batch(lane: PostgresLane, database: Database) -> None:
    """Whatever came before in the same batch, the last one is the open one, and all are told."""
    integration_id = integrate(database)
    before, second, third = alert(), alert(), alert()
    await lane.commit(WriteSet(states=[state()], changes=[step(before)]))
    deliveries = [
        delivery(before, integration_id, AlertEvent.CLOSED),
        delivery(second, integration_id, AlertEvent.OPEN),
        delivery(second, integration_id, AlertEvent.CLOSED),
        delivery(third, integration_id, AlertEvent.OPEN),
    ]
    changes = [
        step(before, AlertEvent.CLOSED),
        step(second),
        step(second, AlertEvent.CLOSED),
        step(third),
    ]
    await lane.commit(WriteSet(states=[state()], changes=changes, deliveries=deliveries))
    assert alerts(database) == {
        before.alert_id: "CLOSED",
        second.alert_id: "CLOSED",
        third.alert_id: "OPEN",
    }
    assert delivered(database) == {each.delivery_id for each in deliveries}
    assert len(judged(database, "SELECT FROM alert_changes")) == 5
    assert [list(each.alerts.values()) for each in await lane.load()] == [[third]]


async def test_nobody_is_told_of_an_alert_that_did_not_open(lane: PostgresLane, database: Database) -> None:
    """Somebody else's alert with that fingerprint is not closed."""
    integration_id = integrate(database)
    first, second, other = alert(), alert(), alert(fingerprint="OTHER/dev-1")
    await lane.commit(WriteSet(changes=[step(first)]))
    told = [delivery(second, integration_id), delivery(other, integration_id)]
    await lane.commit(WriteSet(states=[state()], changes=[step(second), step(other)], deliveries=told))
    assert alerts(database) == {first.alert_id: "OPEN", other.alert_id: "OPEN"}
    assert delivered(database) == {told[1].delivery_id}
    too_late = delivery(second, integration_id, AlertEvent.CLOSED)
    await lane.commit(WriteSet(changes=[step(second, AlertEvent.CLOSED)], deliveries=[too_late]))
    assert too_late.delivery_id not in delivered(database)


async def test_nobody_is_told_twice_that_an_alert_closed(lane: PostgresLane, database: Database) -> None:
    """Somebody else closed it before."""
    integration_id, opened = integrate(database), alert()
    await lane.commit(WriteSet(changes=[step(opened)]))
    judged(database, "UPDATE alerts SET status = 'CLOSED', closed_at = 'epoch' RETURNING true")
    told = delivery(opened, integration_id, AlertEvent.CLOSED)
    await lane.commit(WriteSet(changes=[step(opened, AlertEvent.CLOSED)], deliveries=[told]))
    assert delivered(database) == set()
    assert judged(database, "SELECT closed_at = 'epoch' FROM alerts") == [(True,)]
    assert judged(database, "SELECT event FROM alert_changes") == [("OPEN",)]


async def test_the_same_fingerprint_is_another_alert_in_another_tenant(lane: PostgresLane, database: Database) -> None:
    one, other = alert(), alert()
    await lane.commit(WriteSet(changes=[step(one), step(other, name="tenant-b/dev-1")]))
    assert alerts(database) == {one.alert_id: "OPEN", other.alert_id: "OPEN"}


async def test_a_deleted_device_does_not_hold_up_its_neighbours(lane: PostgresLane, database: Database) -> None:
    integration_id = integrate(database)
    gone, there = alert(), alert("tenant-a/dev-2")
    told = [delivery(gone, integration_id), delivery(there, integration_id)]
    judged(database, "DELETE FROM devices WHERE tenant_id = 'tenant-a' AND device_id = 'dev-1' RETURNING true")
    await lane.commit(
        WriteSet(
            readings=[reading(), reading("tenant-a/dev-2")],
            states=[state(), state("tenant-a/dev-2")],
            changes=[step(gone), step(there, name="tenant-a/dev-2")],
            deliveries=told,
            rejects=[a_reject()],
        )
    )
    assert [each.key for each in await lane.load()] == [key("tenant-a/dev-2")]
    assert alerts(database) == {there.alert_id: "OPEN"}
    assert delivered(database) == {told[1].delivery_id}
    assert judged(database, "SELECT sum(rejected) FROM quarantine_counts") == [(1,)]


async def test_a_deleted_integration_does_not_hold_up_the_alert(lane: PostgresLane, database: Database) -> None:
    gone, there, opened = integrate(database), integrate(database), alert()
    told = [delivery(opened, gone), msgspec.structs.replace(delivery(opened, there), route_id=None)]
    judged(database, "DELETE FROM integrations WHERE integration_id = %s RETURNING true", gone)
    await lane.commit(WriteSet(states=[state()], changes=[step(opened)], deliveries=told))
    assert alerts(database) == {opened.alert_id: "OPEN"}
    assert delivered(database) == {told[1].delivery_id}


def a_reject(**changes: Any) -> Reject:
    made = Reject("tenant-a", "dev-1", Reason.INVALID_FIELD, "ts: no", "tenant/tenant-a/device/dev-1/telemetry", NOW_US)
    return msgspec.structs.replace(made, **changes)


async def test_refusals_are_counted_by_minute_tenant_and_reason(lane: PostgresLane, database: Database) -> None:
    minute_us = NOW_US // (60 * S) * 60 * S
    rejects = [
        a_reject(received_us=minute_us),
        a_reject(received_us=minute_us + 60 * S - 1),
        a_reject(received_us=minute_us + 60 * S),
        a_reject(received_us=minute_us, reason=Reason.MALFORMED_JSON),
        a_reject(received_us=minute_us, tenant_id=""),
    ]
    await lane.commit(WriteSet(rejects=rejects))
    await lane.commit(WriteSet(rejects=[a_reject(received_us=minute_us)]))
    counted = judged(
        database,
        "SELECT tenant_id, (extract(epoch FROM minute) * 1000000)::bigint - %s, reason, shard, rejected"
        " FROM quarantine_counts",
        minute_us,
    )
    assert set(counted) == {
        ("tenant-a", 0, "INVALID_FIELD", 3, 3),
        ("tenant-a", 60 * S, "INVALID_FIELD", 3, 1),
        ("tenant-a", 0, "MALFORMED_JSON", 3, 1),
        ("", 0, "INVALID_FIELD", 3, 1),
    }
    assert judged(database, "SELECT FROM quarantine") == []


async def test_refusals_are_kept_when_they_are_to_be(lane: PostgresLane, database: Database) -> None:
    parsed = a_reject(payload_json='{"a": [1, null]}', source="mqtt")
    raw = a_reject(tenant_id="", raw=b"\x00\xff{")
    await lane.commit(WriteSet(rejects=[parsed, raw, a_reject()]))
    kept = judged(database, "SELECT tenant_id, device_id, reason, detail, topic, payload, raw, source FROM quarantine")
    topic = "tenant/tenant-a/device/dev-1/telemetry"
    assert sorted(kept) == [
        ("", "dev-1", "INVALID_FIELD", "ts: no", topic, None, b"\x00\xff{", ""),
        ("tenant-a", "dev-1", "INVALID_FIELD", "ts: no", topic, {"a": [1, None]}, None, "mqtt"),
    ]


@pytest.mark.parametrize(
    "poison",
    [
        WriteSet(readings=[reading(), reading("tenant-a/dev-2", metrics_json='{"t": "\\u0000"}')]),
        WriteSet(readings=[reading(), reading(site_id="\ud800")]),
        WriteSet(readings=[reading()], states=[state(memory={"x": "\x00"})]),
        WriteSet(readings=[reading(), reading("tenant-a/dev-2", seq=2**63)]),
    ],
    ids=["NUL in jsonb", "lone surrogate", "NUL in memory", "not a bigint"],
)
async def test_poison_is_the_datas_fault_and_leaves_nothing(
    poison: WriteSet, lane: PostgresLane, database: Database
) -> None:
    """The error is none that would be tried again, and the lane works on."""
    with pytest.raises((asyncpg.PostgresError, ValueError)):
        await lane.commit(poison)
    assert judged(database, "SELECT FROM telemetry") == []
    await lane.commit(WriteSet(readings=[reading()], states=[state()]))
    assert len(judged(database, "SELECT FROM telemetry")) == 1


async def test_each_lane_loads_its_own_devices(database: Database) -> None:
    names = [f"tenant-{number % 3}/dev-{number}" for number in range(60)]
    register(database, *names)
    opened = {name: alert(name) for name in names[::2]}
    async with lane_stores(database) as stores:
        lanes = [await stores.open(shard, range(shard, 64, 4)) for shard in range(4)]
        first = lanes[0]
        await first.commit(
            WriteSet(
                states=[state(name) for name in names],
                changes=[step(each, name=name) for name, each in opened.items()],
            )
        )
        loaded = [await lane.load() for lane in lanes]
        for lane in lanes:
            await lane.close()
    for shard, states in enumerate(loaded):
        assert {partition_of(each.key.tenant_id, each.key.device_id) % 4 for each in states} == {shard}
    assert sorted(str(each.key) for states in loaded for each in states) == sorted(names)
    held = {str(each.key): list(each.alerts.values()) for states in loaded for each in states}
    assert held == {name: [opened[name]] if name in opened else [] for name in names}


class ElsewhereStore(PostgresTelemetryStore):
    """A store that does not share the transaction."""

    transactional = False

    def __init__(self) -> None:
        super().__init__(PluginConfig())
        self.written: list[Reading] = []
        self.transactions: list[Any] = []

    async def prepare(self, readings: Sequence[Reading]) -> None:
        """Nothing."""

    async def write(self, readings: Sequence[Reading], transaction: Any) -> None:
        self.written += readings
        self.transactions.append(transaction)


async def test_a_store_elsewhere_is_written_before_the_commit(database: Database) -> None:
    """What is committed here must be there already; the other way round it could be lost."""
    register(database, "tenant-a/dev-1")
    store = ElsewhereStore()
    lane = await PostgresLaneStores(database.dsn("pulse_pipeline"), store).open(0, ALL)
    with pytest.raises(asyncpg.PostgresError):
        await lane.commit(WriteSet(readings=[reading()], states=[state(memory={"x": "\x00"})]))
    assert len(store.written) == 1
    await lane.commit(WriteSet(readings=[reading()], states=[state()]))
    assert store.transactions == [None, None]
    assert judged(database, "SELECT FROM telemetry") == []
    assert len(await lane.load()) == 1
    await lane.close()


@pytest.mark.slow
async def test_a_hundred_thousand_devices_are_loaded_in_seconds(database: Database) -> None:
    with database.superuser() as hand:
        hand.execute("INSERT INTO tenants SELECT 'tenant-' || x FROM generate_series(0, 9) x")
        hand.execute(
            "INSERT INTO devices (tenant_id, device_id, site_id)"
            " SELECT 'tenant-' || x % 10, 'dev-' || x, 'site-1' FROM generate_series(1, 100000) x"
        )
        hand.execute(
            "INSERT INTO device_state (tenant_id, device_id, status, status_since, memory)"
            """ SELECT tenant_id, device_id, 'ONLINE', now(), '{"heartbeat": {"seen_us": 1}}' FROM devices"""
        )
    async with lane_stores(database) as stores:
        lanes = [await stores.open(shard, range(shard, 64, 4)) for shard in range(4)]
        began = time.monotonic()
        loaded = [len(await lane.load()) for lane in lanes]
        took_s = time.monotonic() - began
        for lane in lanes:
            await lane.close()
    assert sum(loaded) == 100_000
    assert took_s < 15, "2 s on a quiet machine"
