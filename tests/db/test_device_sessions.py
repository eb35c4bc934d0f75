"""Sessions of devices in the database: those of devices that are gone, those that are over, and what a storm costs."""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import TYPE_CHECKING

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pulse_core.device_sessions import Leaving, Opening, Saving
from pulse_core.errors import StoreUnavailable
from pulse_core.intake.sessions import SessionKeeper
from pulse_core.records import DeviceKey
from pulse_core.testing.sessions import MemorySessions
from pulse_postgres.device_sessions import PostgresDeviceSessions
from pulse_postgres.migrate import migrate, migrations_dir
from pulse_postgres.pool import open_pool
from support.batches import judged, register
from support.memory import START_US, ManualClock

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from pulse_core.device_sessions import SessionDeed, SessionId
    from pulse_core.ports import SessionStore
    from support.database import Database, PostgresServer

KEY, TWO, GONE = DeviceKey("tenant-a", "dev-1"), DeviceKey("tenant-b", "dev-2"), DeviceKey("tenant-a", "gone")
S = 1_000_000
LOOK = "SELECT device_id, client_id FROM device_sessions ORDER BY 1, 2"


@pytest.fixture
async def store(database: Database) -> AsyncIterator[PostgresDeviceSessions]:
    register(database, *map(str, (KEY, TWO)))
    pool = await open_pool(database.dsn("pulse_pipeline"), name="test", max_size=2, by_index=True)
    yield PostgresDeviceSessions(pool)
    await pool.close()


def opening(key: DeviceKey = KEY, client_id: str = "c", *, at_us: int = START_US, expiry_s: int = 60) -> Opening:
    return Opening(key, client_id, at_us, False, expiry_s)


async def test_nothing_is_kept_of_devices_that_are_gone(store: PostgresDeviceSessions, database: Database) -> None:
    judged(database, "UPDATE devices SET revoked_at = now() WHERE device_id = 'dev-2' RETURNING true")
    assert await store.carry([opening(), opening(TWO), opening(GONE)]) == [None] * 3
    assert judged(database, LOOK) == [("dev-1", "c")]
    judged(database, "DELETE FROM devices WHERE device_id = 'dev-1' RETURNING true")
    assert judged(database, LOOK) == []
    assert await store.carry([Saving(KEY, "c", START_US, {"a": 1}), Leaving(KEY, "d", START_US, 60)]) == [None] * 2


async def test_a_tenant_that_is_removed_leaves_none(store: PostgresDeviceSessions, database: Database) -> None:
    await store.carry([opening(), opening(TWO)])
    with database.superuser() as hand:
        hand.execute("DELETE FROM tenants WHERE tenant_id = 'tenant-a'")
    assert judged(database, LOOK) == [("dev-2", "c")]


async def test_those_that_are_over_and_those_of_revoked_devices_are_forgotten(
    store: PostgresDeviceSessions, database: Database
) -> None:
    now_us = time.time_ns() // 1000
    left = [
        opening(client_id="over", at_us=now_us - 61 * S),
        opening(client_id="goes on", at_us=now_us),
        opening(TWO, at_us=now_us),
    ]
    await store.carry([*left, opening(client_id="connected", at_us=now_us - 1000 * S)])
    await store.carry([Leaving(each.key, each.client_id, each.at_us, 60) for each in left])
    judged(database, "UPDATE devices SET revoked_at = now() WHERE device_id = 'dev-2' RETURNING true")
    assert await store.drop_before(0) == 2
    assert await store.drop_before(0) == 0
    assert judged(database, LOOK) == [("dev-1", "connected"), ("dev-1", "goes on")]


async def test_one_that_is_just_opened_is_not_forgotten(store: PostgresDeviceSessions, database: Database) -> None:
    await store.carry([opening()])
    await store.carry([Leaving(KEY, "c", START_US, 1)])
    with psycopg.connect(database.dsn("pulse_pipeline")) as connection:
        connection.execute("UPDATE device_sessions SET expires_at = NULL")
        async with asyncio.timeout(20):
            assert await store.drop_before(0) == 0
        connection.commit()
    assert await store.drop_before(0) == 0


async def test_nothing_that_the_database_says_ends_the_data_path(
    store: PostgresDeviceSessions, database: Database
) -> None:
    with database.superuser() as hand:
        hand.execute("ALTER TABLE device_sessions ADD CHECK (client_id <> '7')")
    with pytest.raises(StoreUnavailable):
        await store.carry([opening(client_id="7"), opening(client_id="6")])
    assert judged(database, LOOK) == [], "all or nothing"
    await store.carry([opening(client_id="8")])


async def test_a_storm_of_logins_costs_few_transactions(store: PostgresDeviceSessions, database: Database) -> None:
    keys = [DeviceKey("tenant-a", f"d{number}") for number in range(500)]
    register(database, *map(str, keys))
    keeper = SessionKeeper(store, ManualClock())
    task = asyncio.create_task(keeper.run())
    count = "SELECT pg_current_xact_id()::text::bigint"
    [[before]] = judged(database, count)
    for again in range(3):
        found = await asyncio.gather(*(keeper.open(key, "c", clean=False, expiry_s=60) for key in keys))
        assert found == [{} if again else None] * 500
        for key in keys:
            keeper.leave(key, "c", 60)
    task.cancel()
    await asyncio.wait((task,))
    await keeper.close()
    assert len(judged(database, "SELECT FROM device_sessions WHERE expires_at IS NOT NULL")) == 500
    [[after]] = judged(database, count)
    assert 6 <= after - before < 60, "for 1500 times opened and left"


_BEFORE = """
    INSERT INTO tenants (tenant_id) VALUES ('tenant-a');
    INSERT INTO devices (tenant_id, device_id, site_id) VALUES ('tenant-a', 'dev-1', 's'), ('tenant-a', 'dev-2', 's');
    INSERT INTO device_commands (tenant_id, device_id, name, payload, created_at, created_by, expires_at)
        SELECT 'tenant-a', 'dev-' || 1 + n % 2, n, '{}', now() + n * interval '1 s', 't', now() + interval '1 day'
        FROM generate_series(1, 7) n
"""


def test_commands_that_were_there_before_get_numbers(postgres: PostgresServer, tmp_path: Path) -> None:
    earlier = tmp_path / "migrations"
    shutil.copytree(migrations_dir(), earlier, ignore=shutil.ignore_patterns("002*"))
    database = postgres.empty()
    try:
        migrate(database.url, database.secret_key, directory=earlier)
        with database.superuser() as hand:
            hand.execute(_BEFORE.encode())
        migrate(database.url, database.secret_key)
        found = judged(database, "SELECT device_id, name, number FROM device_commands ORDER BY device_id, name")
    finally:
        database.drop()
    assert found == [
        ("dev-1", "2", 1), ("dev-1", "4", 2), ("dev-1", "6", 3),
        ("dev-2", "1", 1), ("dev-2", "3", 2), ("dev-2", "5", 3), ("dev-2", "7", 4),
    ]  # fmt: skip


# A model of few words, which knows no transactions: what is done to a session, one after the other.

SESSIONS: list[SessionId] = [(KEY, "a"), (KEY, "b"), (TWO, "a")]
Kept = dict["SessionId", tuple[dict[str, int], int, int | None]]
"""Subscriptions, expiry (s), end (µs)."""


def modelled(kept: Kept, deed: SessionDeed) -> dict[str, int] | None:
    before = kept.pop(deed.session, None)
    if isinstance(deed, Opening):
        over = before is None or (before[2] is not None and before[2] <= deed.at_us)
        goes_on = None if before is None or over or deed.clean else before[0]
        if deed.expiry_s:
            kept[deed.session] = goes_on or {}, deed.expiry_s, None
        return goes_on
    if before and isinstance(deed, Saving):
        kept[deed.session] = dict(deed.subscriptions), before[1], before[2]
    if before and isinstance(deed, Leaving) and deed.expiry_s:
        kept[deed.session] = before[0], deed.expiry_s, deed.at_us + deed.expiry_s * S
    return None


expiries = st.sampled_from([0, 1, 2, 5])
deeds = st.one_of(
    st.builds(Opening, st.just(KEY), st.just(""), st.just(0), st.booleans(), expiries),
    st.builds(
        Saving, st.just(KEY), st.just(""), st.just(0), st.dictionaries(st.sampled_from("xy\u00e4"), st.integers(0, 9))
    ),
    st.builds(Leaving, st.just(KEY), st.just(""), st.just(0), expiries),
)
steps = st.one_of(
    st.tuples(st.integers(0, 3), st.dictionaries(st.sampled_from(SESSIONS), deeds, min_size=1)),
    st.tuples(st.integers(0, 3), st.sets(st.sampled_from(SESSIONS))),
)
"""Seconds that pass, and then: deeds, or all but these are left."""


async def play(
    store: SessionStore, program: Sequence[tuple[int, dict[SessionId, SessionDeed] | set[SessionId]]]
) -> None:
    kept: Kept = {}
    now_us = START_US
    for seconds, what in program:
        now_us += seconds * S
        if isinstance(what, set):
            await store.leave_all_but(what, now_us)
            for session, (subscriptions, expiry_s, end) in kept.items():
                if end is None and session not in what:
                    kept[session] = subscriptions, expiry_s, now_us + expiry_s * S
            continue
        batch = [type(deed)(*session, now_us, *rest(deed)) for session, deed in what.items()]
        assert await store.carry(batch) == [modelled(kept, deed) for deed in batch]
    everything = [Opening(*session, now_us, False, 1) for session in SESSIONS]
    assert await store.carry(everything) == [modelled(kept, deed) for deed in everything]


def rest(deed: SessionDeed) -> list[object]:
    return [getattr(deed, name) for name in deed.__struct_fields__[3:]]


@given(st.lists(steps, max_size=12))
def test_the_twin_does_what_the_model_says(
    program: list[tuple[int, dict[SessionId, SessionDeed] | set[SessionId]]],
) -> None:
    asyncio.run(play(MemorySessions(), program))


def test_the_database_does_what_the_model_says(database: Database) -> None:
    register(database, *map(str, (KEY, TWO)))
    with asyncio.Runner() as runner:
        pool = runner.run(open_pool(database.dsn("pulse_pipeline"), name="test", max_size=1, by_index=True))

        @settings(max_examples=150, suppress_health_check=list(HealthCheck))
        @given(st.lists(steps, max_size=12))
        def like_the_model(program: list[tuple[int, dict[SessionId, SessionDeed] | set[SessionId]]]) -> None:
            runner.run(pool.execute("DELETE FROM device_sessions"))
            runner.run(play(PostgresDeviceSessions(pool), program))

        like_the_model()
        runner.run(pool.close())
