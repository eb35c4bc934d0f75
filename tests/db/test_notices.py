"""Notices through PostgreSQL: the first at once, those that follow together."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pulse_core.notices import Board, Kind
from pulse_postgres.notices import EVERY_S, TOPIC, Teller, hear
from pulse_postgres.pool import open_pool
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from support.database import Database

Told = list[tuple[str, str, list[str] | None]] | None


@asynccontextmanager
async def telling(database: Database, role: str) -> AsyncIterator[tuple[Board, asyncio.Task[None], Any]]:
    pool = await open_pool(database.dsn(role), name="test", max_size=1)
    board = Board()
    task = asyncio.create_task(Teller(pool, board).run())
    yield board, task, pool
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await pool.close()


@asynccontextmanager
async def hearing(database: Database) -> AsyncIterator[list[Told]]:
    heard: list[Told] = []

    async def listen() -> None:
        async for found in hear(database.dsn("pulse_operator")):
            heard.append(found)  # noqa: PERF401 - others look while it grows

    task = asyncio.create_task(listen())
    await until(lambda: heard, what="the first word: anything may have changed")
    assert heard.pop() is None
    yield heard
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_each_role_that_changes_something_can_tell(database: Database) -> None:
    async with hearing(database) as heard:
        for role in ("pulse_pipeline", "pulse_deliver", "pulse_operator"):
            async with telling(database, role) as (board, _, _pool):
                board.note("tenant-a", Kind.ALERTS, [role])
                await until(lambda: heard)
                assert heard.pop() == [("tenant-a", "alerts", [role])]


async def test_a_storm_is_told_a_few_times_a_second(database: Database) -> None:
    async with hearing(database) as heard, telling(database, "pulse_pipeline") as (board, _, _pool):
        loop = asyncio.get_running_loop()
        began = loop.time()
        ids = 0
        while loop.time() < began + 1.2:
            board.note("tenant-a", Kind.DEVICES, [f"d-{ids % 50}"])
            ids += 1
            await asyncio.sleep(0.001)
        took = loop.time() - began
        board.note("tenant-a", Kind.DEVICES, ["last"])
        await until(lambda: "last" in str(heard), what="the last change")
        assert 2 <= len(heard) <= took / EVERY_S + 2
        assert {each for found in heard for _, _, some in found or () for each in some or ()} >= {"d-0", "d-49"}


async def test_changes_of_the_registry_are_heard_by_themselves(database: Database) -> None:
    async with hearing(database) as heard:
        with database.superuser() as hand:
            hand.execute("INSERT INTO tenants (tenant_id) VALUES ('tenant-a')")
            hand.execute("INSERT INTO devices (tenant_id, device_id, site_id) VALUES ('tenant-a', 'd-1', 's')")
            hand.execute("UPDATE tenants SET stale_after_s = 5")
        await until(lambda: len(heard) >= 2)
        assert heard == [[("tenant-a", "devices", ["d-1"])], [("tenant-a", "devices", None)]]


async def test_after_a_failure_it_is_said_that_anything_may_have_changed(database: Database) -> None:
    async with hearing(database) as heard, telling(database, "pulse_pipeline") as (board, task, _pool):
        with database.superuser() as hand:
            hand.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pulse test'")
        board.note("tenant-a", Kind.DEVICES, ["d-1"])
        await until(lambda: heard)
        assert heard[0] in (None, [("tenant-a", "devices", ["d-1"])])
        board.note("tenant-a", Kind.DEVICES, ["d-2"])
        await until(lambda: [("tenant-a", "devices", ["d-2"])] in heard or heard[-1] is None)
        assert not task.done()


async def test_nonsense_on_the_channel_is_heard_as_everything(database: Database) -> None:
    async with hearing(database) as heard:
        with database.superuser() as hand:
            for text in ("{}", "a b", "' OR 1=1"):
                hand.execute("SELECT pg_notify(%s, %s)", (TOPIC, text))
        await until(lambda: len(heard) == 3)
        assert heard[:2] == [None, None]
