"""Connections: what counts as "the database is away", one tenant at a time, and being told of changes."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from pulse_core.errors import SchemaError, StoreUnavailable
from pulse_postgres import pool as pools
from pulse_postgres.pool import listen, open_pool, tenant, unavailable
from pulse_postgres.roles import ensure_roles, role_dsn
from pulse_postgres.schema import check_schema

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from support.database import Database

CHANNEL = "pulse_test"


@pytest.fixture
async def web(database: Database) -> AsyncIterator[asyncpg.Pool[Any]]:
    pool = await open_pool(database.dsn("pulse_web"), name="test", max_size=2)
    yield pool
    await pool.close()


@pytest.fixture
def changing(database: Database) -> Iterator[Callable[[str], None]]:
    """Gives the login roles the passwords of another secret key, and at the end the right ones again."""

    def give(key: str) -> None:
        with database.superuser() as connection:
            ensure_roles(connection, key)

    yield give
    give(database.secret_key)


async def test_while_the_key_is_replaced_either_password_opens(
    database: Database, changing: Callable[[str], None]
) -> None:
    """A pool that is open, one that is opened, and every other connection: before and after the database changes."""
    old, new = database.secret_key, "the key after it, of 32 characters and more"
    dsn = role_dsn(database.url, "pulse_pipeline", new, old)
    pool = await open_pool(dsn, name="test", max_size=1)
    for key in (old, new):
        changing(key)
        with database.superuser() as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'pulse_pipeline'"
            )
        await until_open(pool)
        await (await open_pool(dsn, name="test", max_size=1)).close()
        await check_schema(dsn)
        async with aclosing(listen(dsn, CHANNEL)) as heard:
            assert await anext(heard) is None
        only = role_dsn(database.url, "pulse_pipeline", new if key == old else old)
        with pytest.raises(SchemaError, match="another password for it: run `pulse migrate` with this secret_key"):
            await open_pool(only, name="test")
    await pool.close()


async def until_open(pool: asyncpg.Pool[Any]) -> None:
    """A connection that was ended is noticed at its next use."""
    async with asyncio.timeout(30):
        while True:
            with suppress(StoreUnavailable):
                with unavailable():
                    assert await pool.fetchval("SELECT 1") == 1
                return


def backends(database: Database, query: str) -> list[int]:
    with database.superuser() as connection:
        rows = connection.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query LIKE %s", (query,)
        )
        return [int(str(row[0])) for row in rows]


async def test_a_pool_says_who_it_is(web: asyncpg.Pool[Any]) -> None:
    assert await web.fetchval("SHOW application_name") == "pulse test"
    assert await web.fetchval("SHOW timezone") == "UTC"


async def test_nobody_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await open_pool("postgresql://a:b@127.0.0.1:1/pulse", name="test")
    with pytest.raises(StoreUnavailable):
        await open_pool("postgresql://a:b@/pulse?host=/nowhere", name="test")


async def test_a_connection_that_is_cut_is_unavailable(database: Database, web: asyncpg.Pool[Any]) -> None:
    async with web.acquire() as connection:
        with database.superuser() as arranging:
            arranging.execute("SELECT pg_terminate_backend(%s)", (connection.get_server_pid(),))
        with pytest.raises(StoreUnavailable), unavailable():
            await connection.execute("SELECT 1")
        with pytest.raises(StoreUnavailable), unavailable():
            await connection.execute("SELECT 1")
    assert await web.fetchval("SELECT 1") == 1


async def test_a_closed_pool_is_unavailable(web: asyncpg.Pool[Any]) -> None:
    await web.close()
    with pytest.raises(StoreUnavailable), unavailable():
        await web.fetchval("SELECT 1")


async def test_too_slow_is_unavailable(web: asyncpg.Pool[Any]) -> None:
    with pytest.raises(StoreUnavailable), unavailable():
        await web.execute("SELECT pg_sleep(60)", timeout=0.05)
    async with web.acquire() as connection:
        await connection.execute("SET statement_timeout = 10")
        with pytest.raises(StoreUnavailable), unavailable():
            await connection.execute("SELECT pg_sleep(60)")


async def test_the_datas_own_fault_is_not_unavailable(web: asyncpg.Pool[Any]) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError), unavailable():
        await web.execute("SELECT 1 / 0")
    with pytest.raises(asyncpg.InsufficientPrivilegeError), unavailable():
        await web.execute("DELETE FROM tenants")
    with pytest.raises(asyncpg.InterfaceError), unavailable():
        await web.execute("SELECT $1::int", 1, 2, 3)


async def test_a_tenant_lasts_as_long_as_its_transaction(web: asyncpg.Pool[Any]) -> None:
    async with tenant(web, "tenant-a") as connection:
        assert await connection.fetchval("SELECT current_setting('app.tenant_id', true)") == "tenant-a"
        pid = connection.get_server_pid()
    async with web.acquire() as connection:
        assert connection.get_server_pid() == pid
        assert not await connection.fetchval("SELECT current_setting('app.tenant_id', true)")


async def test_no_tenant_is_no_transaction(web: asyncpg.Pool[Any]) -> None:
    with pytest.raises(ValueError, match="never empty"):
        async with tenant(web, ""):
            pass


async def test_hears_what_is_told_after_a_resync(database: Database) -> None:
    async with aclosing(listen(database.dsn("pulse_web"), CHANNEL)) as heard:
        assert await anext(heard) is None
        with database.superuser() as arranging:
            for payload in ("one", "two", ""):
                arranging.execute("SELECT pg_notify(%s, %s)", (CHANNEL, payload))
        assert [await asyncio.wait_for(anext(heard), 10) for _ in range(3)] == ["one", "two", ""]


async def test_keeps_listening_through_silence(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_PING_EVERY_S", 0.02)
    async with aclosing(listen(database.dsn("pulse_web"), CHANNEL)) as heard:
        assert await anext(heard) is None
        waiting = asyncio.ensure_future(anext(heard))
        async with asyncio.timeout(20):
            while not backends(database, "SELECT 1"):  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.02)
        with database.superuser() as arranging:
            arranging.execute("SELECT pg_notify(%s, 'still there')", (CHANNEL,))
        assert await asyncio.wait_for(waiting, 10) == "still there"


async def test_a_cut_connection_is_told(database: Database) -> None:
    async with aclosing(listen(database.dsn("pulse_web"), CHANNEL)) as heard:
        assert await anext(heard) is None
        (pid,) = backends(database, "LISTEN%")
        with database.superuser() as arranging:
            arranging.execute("SELECT pg_terminate_backend(%s)", (pid,))
        with pytest.raises(StoreUnavailable):
            await asyncio.wait_for(anext(heard), 10)


async def test_a_dead_peer_is_noticed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_PING_EVERY_S", 0.05)
    monkeypatch.setattr(pools, "_PING_TIMEOUT_S", 0.2)
    async with aclosing(listen(database.dsn("pulse_web"), CHANNEL)) as heard:
        assert await anext(heard) is None
        (pid,) = backends(database, "LISTEN%")
        os.kill(pid, signal.SIGSTOP)
        try:
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(anext(heard), 20)
        finally:
            os.kill(pid, signal.SIGCONT)


async def test_a_flood_becomes_one_resync(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "_QUEUED_AT_MOST", 10)
    async with aclosing(listen(database.dsn("pulse_web"), CHANNEL)) as heard:
        assert await anext(heard) is None
        with database.superuser() as arranging:
            arranging.execute("SELECT pg_notify(%s, n::text) FROM generate_series(1, 1000) n", (CHANNEL,))
        async with asyncio.timeout(20):
            while await anext(heard) is not None:
                pass


async def test_nobody_to_listen_to_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        await anext(listen("postgresql://a:b@127.0.0.1:1/pulse", CHANNEL))
