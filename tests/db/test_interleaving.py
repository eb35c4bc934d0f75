"""Two tenants over three connections, with whatever can break a transaction off: no row crosses, no tenant sticks.

Alone, with another seed, and to watch: ``PULSE_SEED=7 pytest -s tests/db/test_interleaving.py``.
"""

from __future__ import annotations

import os
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from pulse_postgres import connections
from support import two_tenants
from support.interleaving import CrossingError, Interleaving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asyncpg.pool import PoolConnectionProxy

    from support.database import Database

STATEMENTS = 100_000
HAPPENED = {"cancelled", "timed out", "cut off", "killed", "refused", "strangers", "committed", "rows"}


@pytest.fixture
def filled(database: Database) -> Database:
    two_tenants.fill(database)
    with database.superuser() as hand:
        hand.execute("UPDATE integrations SET name = tenant_id")
    return database


@pytest.mark.slow
async def test_no_row_crosses_and_no_tenant_sticks(filled: Database) -> None:
    seed = int(os.environ.get("PULSE_SEED") or random.randrange(2**32))
    work = Interleaving(filled, STATEMENTS, seed)
    try:
        await work.run()
    except BaseException as error:
        error.add_note(f"PULSE_SEED={seed}, after {dict(work.counts)}")
        raise
    assert {name for name in HAPPENED if not work.counts[name]} == set(), (seed, work.counts)
    assert work.counts["statements"] >= STATEMENTS


async def test_a_policy_that_lets_through_is_seen(filled: Database) -> None:
    with filled.superuser() as hand:
        hand.execute("ALTER POLICY web ON telemetry USING (true)")
    await crosses(filled)


async def test_a_tenant_that_sticks_is_seen(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would stick, if it were set for the session and the pool did not wipe it."""

    @asynccontextmanager
    async def for_ever(pool: asyncpg.Pool[Any], tenant_id: str) -> AsyncIterator[PoolConnectionProxy[Any]]:
        async with pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT set_config('app.tenant_id', $1, false)", tenant_id)
            yield connection

    monkeypatch.setattr(connections, "tenant", for_ever)
    monkeypatch.setattr(asyncpg.Connection, "get_reset_query", lambda _: "")
    await crosses(filled)


async def crosses(database: Database) -> None:
    with pytest.raises(ExceptionGroup) as found:
        await Interleaving(database, STATEMENTS, seed=1).run()
    assert found.value.subgroup(CrossingError)
