"""Nothing is shown across tenants without its line: in what order, whatever is cut off, however many ask at once."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

import asyncpg
import psycopg
import pytest
import pytest_asyncio
from quart import g, has_request_context, request

from pulse_core.principal import Role
from pulse_postgres.audit import AuditLog
from support import two_tenants
from support.admin import KEY, Admin, Caller
from support.batches import judged
from support.guards import admin_api_over
from support.rights import OPERATOR_ADMINS, OPERATORS, RIGHTS, Route, ask, routes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.database import Database

AT_ONCE = 150
KILLS_EVERY_S = 0.03
LINES = "SELECT FROM audit_log WHERE request_id = %s AND action IN ('operator.access', 'admin.access')"

DIE = """
    CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(60); RETURN NEW; END $$;
    CREATE CONSTRAINT TRIGGER die AFTER INSERT ON audit_log {} FOR EACH ROW
        WHEN (NEW.action IN ('operator.access', 'admin.access')) EXECUTE FUNCTION die();
"""
_OF_NO_INTEREST = ("BEGIN", "COMMIT", "ROLLBACK", "INSERT INTO audit_log", "SELECT pg_advisory_unlock_all")
MOMENTS = {"while it is written": "NOT DEFERRABLE", "while it is committed": "DEFERRABLE INITIALLY DEFERRED"}


class Watched(asyncpg.Connection):
    """A connection that asks, before each statement of a request across tenants: does everybody see its line?"""

    judge: ClassVar[psycopg.Connection[Any]]
    early: ClassVar[list[str]]
    seen: ClassVar[set[str]]

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        self._look(query)
        return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        self._look(query)
        return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        self._look(query)
        return await super().fetchval(query, *args, **options)

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        self._look(query)
        return await super().execute(query, *args, **options)

    def _look(self, query: str) -> None:
        if not has_request_context() or not ("principal" in g or request.path.startswith("/api/admin")):
            return
        if query.lstrip().startswith(_OF_NO_INTEREST):
            return
        type(self).seen.add(f"{request.method} {request.url_rule}")
        if self.judge.execute(LINES, (g.request_id,)).rowcount != 1:
            type(self).early.append(f"{request.path}: {query}")


_OF_MEMORY = ("plugins", "events", "tenants/~new", "users/new", "api-tokens/new")
"""What is answered without asking the database."""


@pytest.fixture
def filled(database: Database) -> Database:
    two_tenants.fill(database)
    return database


@pytest.fixture
def watching(filled: Database) -> Iterator[None]:
    Watched.early, Watched.seen = [], set()
    with psycopg.connect(filled.url, autocommit=True) as judge:
        Watched.judge = judge
        yield


@pytest_asyncio.fixture
async def admin(filled: Database, tmp_path: Path, watching: None) -> AsyncIterator[Admin]:
    with suppress(BrokenPipeError):  # of a connection that was cut, when it is closed
        async with admin_api_over(Watched, filled, tmp_path) as found:
            yield found


async def watched(admin: Admin) -> list[tuple[Caller, Route]]:
    """Every route across tenants, and somebody who may call it."""
    callers = {
        OPERATORS: await admin.operator(Role.OPERATOR),
        OPERATOR_ADMINS: await admin.operator(Role.OPERATOR_ADMIN),
        RIGHTS["GET /api/admin/devices"]: Caller(admin.client, "", {"X-Admin-Key": KEY}),
    }
    found = [*routes(admin.client.app, "/operator"), *routes(admin.client.app, "/api/admin")]
    return [(callers[RIGHTS[str(route)]], route) for route in found]


async def test_the_line_is_there_before_the_first_statement(admin: Admin) -> None:
    found = await watched(admin)
    for number, (caller, route) in enumerate(found):
        await ask(caller, route, headers={"X-Request-Id": f"order-{number}"})
    assert Watched.early == []
    of_memory = {Route("GET", f"/operator/{path}") for path in _OF_MEMORY}
    asking = {route for _, route in found if route.method == "GET"} - of_memory
    assert {str(route) for route in asking} <= Watched.seen, "the control: what was watched did ask"


@pytest.mark.parametrize("moment", MOMENTS)
async def test_cut_off_before_the_line_is_certain_nothing_is_shown(admin: Admin, filled: Database, moment: str) -> None:
    found = await watched(admin)
    with filled.superuser() as hand:
        hand.execute(DIE.format(MOMENTS[moment]).encode())
    for caller, route in found:
        status, body, _ = await ask(caller, route, headers={"X-Request-Id": "cut"})
        assert (status, body["title"]) == (503, "Service Unavailable"), (str(route), body)
        assert "tenant-" not in str(body), (str(route), body)
    assert judged(filled, LINES, "cut") == []
    assert Watched.seen == set(), "nothing was even asked"


def kill(filled: Database, *roles: str) -> None:
    judged(
        filled,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND usename = ANY(%s)",
        [f"pulse_{role}" for role in roles],
    )


async def test_cut_off_between_the_line_and_the_look_the_line_stays(
    admin: Admin, filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = await watched(admin)
    note = AuditLog.note

    async def noted_and_cut_off(log: AuditLog, *said: Any, **more: Any) -> None:
        await note(log, *said, **more)
        await asyncio.to_thread(kill, filled, "operator", "admin")

    monkeypatch.setattr(AuditLog, "note", noted_and_cut_off)
    for number, (caller, route) in enumerate(found):
        status, body, _ = await ask(caller, route, headers={"X-Request-Id": f"between-{number}"})
        assert status < 500 or status == 503, (str(route), body)
        assert len(judged(filled, LINES, f"between-{number}")) == 1, str(route)
    assert Watched.early == []


async def test_of_many_at_once_that_are_cut_off_at_random_none_is_shown_without_its_line(
    admin: Admin, filled: Database
) -> None:
    found = [(caller, route) for caller, route in await watched(admin) if route.method == "GET"]
    shown, failed = [], []

    async def one(number: int) -> None:
        caller, route = found[number % len(found)]
        request_id = f"many-{number}"
        status, body, _ = await ask(caller, route, headers={"X-Request-Id": request_id})
        if status == 200:
            shown.append(str(route))
            assert Watched.judge.execute(LINES, (request_id,)).rowcount == 1, (str(route), body)
        else:
            failed.append(str(route))
            assert (status, "tenant-" in str(body)) == (503, False), (str(route), body)

    async def cutting() -> None:
        while True:
            await asyncio.sleep(KILLS_EVERY_S)
            await asyncio.to_thread(kill, filled, "operator")

    cuts = asyncio.create_task(cutting())
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(AT_ONCE):
                group.create_task(one(number))
    finally:
        cuts.cancel()
        await asyncio.wait({cuts})
    assert shown, "the control"
    assert failed, "the control: some were cut off"
    assert Watched.early == []
