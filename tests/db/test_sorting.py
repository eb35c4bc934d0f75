"""Lists in every order that they can have: all pages together are one unpaged query, with ties and NULLs."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse_core.errors import PermanentFailure
from pulse_postgres.audit_pages import AUDIT_ORDERS, AuditFilter, audit_page
from pulse_postgres.command_pages import COMMAND_ORDERS, CommandFilter, command_page
from pulse_postgres.delivery.pages import DELIVERY_ORDERS, DeliveryFilter, delivery_page
from pulse_postgres.devices import DEVICE_ORDERS, DeviceFilter, device_page
from pulse_postgres.identity.api_tokens import TOKEN_ORDERS, token_page
from pulse_postgres.identity.user_pages import USER_ORDERS, user_page
from pulse_postgres.incidents import ALERT_ORDERS, AlertFilter, alert_page
from pulse_postgres.integration_pages import INTEGRATION_ORDERS, ROUTE_ORDERS, integration_page, route_page
from pulse_postgres.paging import Page, Where, item_of, write_cursor
from pulse_postgres.pool import open_pool
from pulse_postgres.refusals import KEPT_ORDERS, REFUSED_ORDERS, quarantine_page, refused_page
from pulse_postgres.sorting import KEY, By, Orders, Sorted
from pulse_postgres.tenants import TENANT_ORDERS, tenant_page
from support import two_tenants

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from support.database import Database

# Any order, over a table with a column of each kind

ORDERS = Orders(
    by={
        "id": KEY,
        "words": By("t.words"),
        "number": By("t.number", int),
        "share": By("t.share", float),
        "flag": By("t.flag", bool),
        "at": By("t.at", dt.datetime, backward=True),
        "late": By("t.late", dt.datetime, nullable=True),
        "maybe": By("t.maybe", int, nullable=True),
        "newest": By("t.newest", uuid.UUID, nullable=True, backward=True),
    },
    key={"tenant_id": By("t.tenant_id"), "id": By("t.id", uuid.UUID)},
    default="id",
)
_TABLE = """
    CREATE TEMPORARY TABLE t (tenant_id text, id uuid, words text, number smallint, share float8, flag boolean,
                              at timestamptz, late timestamptz, maybe integer, newest uuid)
"""
_EPOCH = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
MOMENTS = st.integers(0, 3).map(lambda us: _EPOCH + dt.timedelta(microseconds=us))
IDS = st.integers(0, 5).map(lambda number: uuid.UUID(int=number))
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]), st.uuids(), st.sampled_from(["", "a", "é", "%", "\U0001f600"]), st.integers(-1, 1),
        st.sampled_from([0.0, 0.1, 1e300]), st.booleans(), MOMENTS, st.none() | MOMENTS, st.none() | st.integers(0, 1),
        st.none() | IDS,
    ),
    max_size=12, unique_by=lambda row: row[:2],
)  # fmt: skip
NAMES = ("tenant_id", "id", "words", "number", "share", "flag", "at", "late", "maybe", "newest")


class Session(NamedTuple):
    """A connection, and the loop it works on: hypothesis runs many examples in one synchronous test."""

    loop: asyncio.AbstractEventLoop
    connection: asyncpg.Connection[Any]


@pytest.fixture
def session(database: Database) -> Iterator[Session]:
    loop = asyncio.new_event_loop()
    connection = loop.run_until_complete(asyncpg.connect(database.url))
    loop.run_until_complete(connection.execute(_TABLE))
    yield Session(loop, connection)
    loop.run_until_complete(connection.close())
    loop.close()


async def page(connection: Any, sort: str, limit: int, cursor: str | None) -> Page:
    part, where = Sorted(ORDERS, sort, limit, cursor), Where()
    part.begin(where)
    query = f"SELECT t.*, {part.position} FROM t WHERE {where} ORDER BY {part.order} LIMIT {where.put(part.limit + 1)}"
    return part.page(await connection.fetch(query, *where.arguments), item_of)


async def walked(ask: Callable[[int, str | None], Awaitable[Page]], limit: int) -> list[dict[str, Any]]:
    """Every item, page by page."""
    items: list[dict[str, Any]] = []
    cursor = None
    while True:
        found = await ask(limit, cursor)
        items += found.items
        assert len(found.items) == limit or found.next is None
        if found.next is None:
            return items
        cursor = found.next


def in_order(rows: list[tuple[Any, ...]], sort: str) -> list[tuple[Any, ...]]:
    """What the page says, in plain Python: missing last; ties by id, then tenant, in the index's direction."""
    down, name = sort.startswith("-"), sort.removeprefix("-")
    if ORDERS.by[name] is KEY:
        return sorted(rows, key=lambda row: (row[0], row[1]), reverse=down)
    place = NAMES.index(name)
    ties = sorted(rows, key=lambda row: (row[1], row[0]), reverse=down != ORDERS.by[name].backward)
    there = [row for row in ties if row[place] is not None]
    return sorted(there, key=lambda row: row[place], reverse=down) + [row for row in ties if row[place] is None]


@pytest.mark.parametrize("sort", ORDERS.names)
def test_all_pages_are_all_rows_in_order(session: Session, sort: str) -> None:
    async def once(rows: list[tuple[Any, ...]], limit: int) -> list[dict[str, Any]]:
        await session.connection.execute("TRUNCATE t")
        places = ", ".join(f"${number}" for number in range(1, len(NAMES) + 1))
        await session.connection.executemany(f"INSERT INTO t VALUES ({places})", rows)
        return await walked(lambda limit, cursor: page(session.connection, sort, limit, cursor), limit)

    @settings(max_examples=40)
    @given(rows=ROWS, limit=st.integers(1, 5))
    def check(rows: list[tuple[Any, ...]], limit: int) -> None:
        found = session.loop.run_until_complete(once(rows, limit))
        assert [tuple(item[name] for name in NAMES) for item in found] == in_order(rows, sort)

    check()


def test_a_cursor_belongs_to_its_order(session: Session) -> None:
    for sort in ORDERS.names:
        for other in ORDERS.names:
            values = (None, "a", str(uuid.UUID(int=1)))
            if other != sort:
                with pytest.raises(PermanentFailure, match="cursor"):
                    Sorted(ORDERS, sort, 1, write_cursor(other, *values))
    with pytest.raises(PermanentFailure, match="sort by one of"):
        Sorted(ORDERS, "--id", 1, None)


# Every list that there is


LISTS: dict[str, tuple[Orders, Callable[..., Awaitable[Page]]]] = {
    "devices": (DEVICE_ORDERS, lambda pool, **part: device_page(pool, DeviceFilter(), **part)),
    "alerts": (ALERT_ORDERS, lambda pool, **part: alert_page(pool, AlertFilter(), **part)),
    "deliveries": (DELIVERY_ORDERS, lambda pool, **part: delivery_page(pool, DeliveryFilter(), **part)),
    "commands": (COMMAND_ORDERS, lambda pool, **part: command_page(pool, CommandFilter(), **part)),
    "integrations": (INTEGRATION_ORDERS, integration_page),
    "routes": (ROUTE_ORDERS, route_page),
    "tenants": (TENANT_ORDERS, tenant_page),
    "users": (USER_ORDERS, user_page),
    "tokens": (TOKEN_ORDERS, token_page),
    "audit log": (AUDIT_ORDERS, lambda pool, **part: audit_page(pool, AuditFilter(), **part)),
    "quarantine": (KEPT_ORDERS, quarantine_page),
    "counts": (REFUSED_ORDERS, refused_page),
}
COPIES = """
    INSERT INTO devices (tenant_id, device_id, site_id, name, created_at)
        SELECT t, 'dev-' || x, 's' || x % 2, 'n' || x % 3, now() - x % 2 * interval '1 s'
        FROM generate_series(1, 7) x, unnest(ARRAY['tenant-a', 'tenant-b']) t;
    INSERT INTO device_state (tenant_id, device_id, status, status_since, last_seen_at)
        SELECT tenant_id, device_id, 'STALE', now(), CASE WHEN site_id = 's1' THEN created_at END
        FROM devices WHERE name <> 'n1' AND name <> '';
    INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity, confidence,
                        summary, opened_at, closed_at)
        SELECT tenant_id, gen_random_uuid(), device_id, site_id, 'T', device_id, 'CLOSED', 3, 1, '', created_at,
               CASE WHEN site_id = 's1' THEN created_at END
        FROM devices WHERE name <> '';
    INSERT INTO device_commands (tenant_id, device_id, command_id, name, payload, created_at, created_by, expires_at,
                                 number)
        SELECT tenant_id, device_id, gen_random_uuid(), name, '{}', created_at, 'test',
               created_at + interval '1 hour', 1
        FROM devices WHERE name <> '';
    INSERT INTO integrations (tenant_id, integration_id, type, name, config)
        SELECT tenant_id, gen_random_uuid(), 'webhook', site_id, '{}' FROM devices WHERE name <> '';
    INSERT INTO integration_routes (tenant_id, route_id, integration_id, priority, enabled, name)
        SELECT tenant_id, gen_random_uuid(), integration_id, 5, name = 's1', name FROM integrations;
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, event, cause, status, notification, created_at,
                            due_at, finished_at, attempts)
        SELECT tenant_id, gen_random_uuid(), integration_id, 'OPEN', 'test', 'DEAD', '{}', now(), now(),
               CASE WHEN name = 's1' THEN now() END, 3
        FROM integrations;
    INSERT INTO tenants (tenant_id, name) SELECT 'more-' || x, 'n' || x % 2 FROM generate_series(1, 5) x;
    INSERT INTO users (tenant_id, username, role, password_hash, created_by, last_login_at)
        SELECT tenant_id, tenant_id || device_id, 'customer_viewer', 'h', 't', CASE WHEN site_id = 's1' THEN now() END
        FROM devices WHERE name <> '';
    INSERT INTO api_tokens (tenant_id, name, role, token_hash, created_by, expires_at, last_used_at)
        SELECT tenant_id, site_id, role, sha256(username::bytea), 't', now(), last_login_at
        FROM users JOIN devices USING (tenant_id) WHERE username = tenant_id || device_id;
    INSERT INTO audit_log (tenant_id, at, actor, action) SELECT tenant_id, now(), site_id, 'a' FROM devices;
    INSERT INTO quarantine (tenant_id, reject_id, received_at, reason, device_id)
        SELECT tenant_id, gen_random_uuid(), now(), name, site_id FROM devices;
    INSERT INTO quarantine_counts
        SELECT tenant_id, date_trunc('minute', now()), device_id, shard, 1 FROM devices, generate_series(1, 2) shard;
"""


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool[Any]]:
    two_tenants.fill(database)
    with database.superuser() as hand:
        hand.execute(COPIES)
    opened = await open_pool(database.dsn("pulse_operator"), name="test", max_size=2)
    yield opened
    await opened.close()


async def test_every_list_in_every_order_page_by_page(pool: asyncpg.Pool[Any]) -> None:
    for name, (orders, ask) in LISTS.items():
        whole = sorted(map(msgspec.json.encode, (await ask(pool, limit=200)).items))
        assert len(whole) >= 7, name
        for sort in orders.names:
            unpaged = await ask(pool, limit=200, sort=sort)
            assert unpaged.next is None
            found = await walked(partial(_part, ask, pool, sort), 3)
            assert found == unpaged.items, (name, sort)
            assert sorted(map(msgspec.json.encode, found)) == whole, (name, sort)
            in_sequence(orders, sort, found)
            assert not any("position" in item for item in found)


async def _part(ask: Callable[..., Awaitable[Page]], pool: Any, sort: str, limit: int, cursor: str | None) -> Page:
    return await ask(pool, sort=sort, limit=limit, cursor=cursor)


def in_sequence(orders: Orders, sort: str, items: list[dict[str, Any]]) -> None:
    """The items come in the order that was asked for; those without a value last."""
    name = sort.removeprefix("-")
    shown = [next(iter(orders.key)) if orders.by[name] is KEY else name]
    values = [item[shown[0]] for item in items]
    given = [value for value in values if value is not None]
    assert values[: len(given)] == given, sort
    assert given == sorted(given, reverse=sort.startswith("-")), sort
