"""Stored secrets encrypted anew, on the real tables, while others use them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.secrets import SecretBox
from pulse_postgres.integrations import Integrations
from pulse_postgres.pool import open_pool
from pulse_postgres.resealing import ANSWERS, REQUESTS, Resealing
from pulse_server.resealing import reseal

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Sequence

    import asyncpg

    from pulse_postgres.resealing import Sealed
    from support.database import Database

OLD, NEW, STRANGE = "o" * 40, "n" * 40, "s" * 40
BOTH = SecretBox(NEW, OLD)
MANY = 250
"""More than two pages."""


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool[Any]]:
    made = await open_pool(database.dsn("pulse_admin"), name="test", max_size=3)
    yield made
    await made.close()


def arrange(database: Database, count: int, key: str, tenant: str = "tenant-a") -> None:
    with database.superuser() as connection:
        connection.execute("INSERT INTO tenants (tenant_id) VALUES (%s) ON CONFLICT DO NOTHING", (tenant,))
        connection.cursor().executemany(
            "INSERT INTO integrations (tenant_id, integration_id, type, name, config, secrets)"
            " VALUES (%s, gen_random_uuid(), 'webhook', %s, '{}', %s)",
            [(tenant, f"hook {n}", SecretBox(key).seal({"/secret": f"{tenant} {n}"})) for n in range(count)],
        )


def stored(database: Database) -> dict[str, tuple[bytes, Any]]:
    with database.superuser() as connection:
        rows = connection.execute(
            "SELECT tenant_id || name, secrets, updated_at FROM integrations WHERE secrets IS NOT NULL"
        ).fetchall()
    return {str(name): (bytes(secrets), updated) for name, secrets, updated in rows}  # type: ignore[call-overload]


async def test_all_are_encrypted_anew_and_nobody_notices(database: Database, pool: asyncpg.Pool[Any]) -> None:
    arrange(database, MANY, OLD)
    arrange(database, 3, NEW, "tenant-b")
    with database.superuser() as connection:
        connection.execute(
            "INSERT INTO integrations (tenant_id, integration_id, type, name, config)"
            " VALUES ('tenant-b', gen_random_uuid(), 'snmp', 'without', '{}')"
        )
    before = stored(database)
    seen: list[int] = []
    done = await reseal(Resealing(pool), BOTH, seen.append)
    assert (done.resealed, done.current, done.unreadable) == (MANY, 3, ())
    assert sum(seen) == await Resealing(pool).count() == MANY + 3
    after = stored(database)
    for name, (secrets, updated) in after.items():
        assert SecretBox(NEW).open(secrets) == BOTH.open(before[name][0]), "the new key alone reads what was there"
        assert not SecretBox(OLD).is_current(secrets)
        assert updated == before[name][1], "nobody edited it: connections are kept, and a 410 still counts"
    again = await reseal(Resealing(pool), BOTH)
    assert (again.resealed, again.current) == (0, MANY + 3)
    assert stored(database) == after


async def test_it_can_be_interrupted_and_run_again(database: Database, pool: asyncpg.Pool[Any]) -> None:
    arrange(database, MANY, OLD)

    class Interrupted(Exception):  # noqa: N818
        pass

    def interrupt(_: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        await reseal(Resealing(pool), BOTH, interrupt)
    half = [SecretBox(NEW).is_current(secrets) for secrets, _ in stored(database).values()]
    assert sum(half) == 100, "the first page is there"
    done = await reseal(Resealing(pool), BOTH)
    assert (done.resealed, done.current) == (MANY - 100, 100)


async def test_those_that_no_key_reads_are_named_and_left_alone(database: Database, pool: asyncpg.Pool[Any]) -> None:
    arrange(database, 2, STRANGE, "tenant-b")
    arrange(database, 3, OLD)
    before = stored(database)
    done = await reseal(Resealing(pool), BOTH)
    assert (done.resealed, done.current, len(done.unreadable)) == (3, 0, 2)
    assert {each.key[0] for each in done.unreadable} == {"tenant-b"}
    after = stored(database)
    assert {name for name in after if after[name] == before[name]} == {"tenant-bhook 0", "tenant-bhook 1"}


class _Busy(Resealing):
    """Somebody saves another secret between our reading and our writing."""

    def __init__(self, pool: asyncpg.Pool[Any], by: SecretBox) -> None:
        super().__init__(pool)
        self._by = by
        self._integrations = Integrations(pool)
        self.edited: uuid.UUID | None = None

    async def replace(self, changes: Sequence[tuple[Sealed, bytes]]) -> int:
        if self.edited is None:
            self.edited = changes[0][0].key[1]
            secrets = self._by.seal({"/secret": "edited"})
            await self._integrations.update("tenant-a", self.edited, actor="t", config={}, secrets=secrets)
        return await super().replace(changes)


@pytest.mark.parametrize("by", [OLD, NEW])
async def test_whoever_edits_meanwhile_wins(database: Database, pool: asyncpg.Pool[Any], by: str) -> None:
    """Also a process that still encrypts with the old key: its row is taken in a second pass."""
    arrange(database, 5, OLD)
    store = _Busy(pool, SecretBox(by))
    done = await reseal(store, BOTH)
    assert (done.resealed, done.current) == ((5, 0) if by == OLD else (4, 1))
    assert store.edited
    found = await Integrations(pool).stored("tenant-a", store.edited)
    assert found.secrets is not None
    assert SecretBox(NEW).open(found.secrets) == {"/secret": "edited"}


async def test_what_may_be_answered_again_is_encrypted_anew_too(database: Database, pool: asyncpg.Pool[Any]) -> None:
    with database.superuser() as connection:
        connection.cursor().executemany(
            "INSERT INTO request_keys (tenant_id, subject, key, request, answer) VALUES (%s, 's', %s, %s, %s)",
            [
                (tenant, f"k{n}", SecretBox(OLD).seal({"n": n}), SecretBox(OLD).seal({"a": n}) if n % 2 else None)
                for tenant in ("", "tenant-a")
                for n in range(MANY)
            ],
        )
    asked, answered = [await reseal(Resealing(pool, place), BOTH) for place in (REQUESTS, ANSWERS)]
    assert (asked.resealed, answered.resealed, asked.unreadable, answered.unreadable) == (2 * MANY, MANY, (), ())
    with database.superuser() as connection:
        rows = connection.execute("SELECT key, request, answer FROM request_keys").fetchall()
    box = SecretBox(NEW)
    for key, request, answer in rows:
        number = int(str(key)[1:])
        assert box.open(request) == {"n": number}  # type: ignore[arg-type]
        assert (answer is None) or box.open(answer) == {"a": number}  # type: ignore[arg-type]
    again = [await reseal(Resealing(pool, place), SecretBox(NEW)) for place in (REQUESTS, ANSWERS)]
    assert [each.current for each in again] == [2 * MANY, MANY]
