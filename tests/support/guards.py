"""The guards that keep tenants apart, taken away one at a time, and the customer API over what is left.

Queries name the tenant, and row-level security enforces it. Either is to suffice alone.
"""

from __future__ import annotations

import json
import re
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple
from unittest.mock import patch

import asyncpg
import psycopg
from quart import g, has_request_context

from pulse_postgres.tokens import hash_token
from support import two_tenants
from support.admin import Admin, Caller, admin_api
from support.tables import tenant_tables
from support.two_tenants import DAY, TENANTS, an_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

OURS, THEIRS = TENANTS
THEIR_DEVICE = "a-device-of-theirs"
FOREIGN = (THEIRS, str(an_id(THEIRS)), THEIR_DEVICE)
"""Whatever is the other tenant's has one of these in it."""

_NAMES_THE_TENANT = re.compile(r"(?:\b\w+\.)?\btenant_id\s*=\s*\$\d+")
_TOKEN = "pulse_" + "A" * 43
_USED = re.compile(r'"last_used_at": (?:null|"[^"]*")')
"""Noted now and then, after the answer."""
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\"]*")
_SECRET = re.compile(r"(?:[0-9A-Z]{5}-){3}[0-9A-Z]{5}|(?<=\"token\": \")[A-Za-z0-9_-]{43}")
"""A device's code, a device's token: made up at each call."""
_ID = re.compile(r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|\b[0-9a-f]{32}\b")

_MORE = """
INSERT INTO devices (tenant_id, device_id, site_id) VALUES (%(theirs)s, %(device)s, 's');
INSERT INTO telemetry (tenant_id, device_id, ts, key_hash, received_at, msg_type, site_id, metrics)
    VALUES (%(theirs)s, %(device)s, %(day)s, 1, now(), 'telemetry', 's', '{"of": "theirs"}');
INSERT INTO metric_catalogue (tenant_id, name, unit, updated_by) VALUES (%(theirs)s, %(device)s, 'theirs', 'test');
UPDATE tenants SET stale_after_s = 7 WHERE tenant_id = %(ours)s;
UPDATE deliveries SET alert_id = delivery_id, route_id = delivery_id, cause = 'alert';
INSERT INTO api_tokens (tenant_id, token_id, name, role, token_hash, created_by, expires_at)
    VALUES (%(ours)s, 'ffffffff-0000-4000-8000-000000000000', 'ours', 'customer_admin',
        %(hash)s, 'test', now() + interval '1 day');
"""


class Guards(NamedTuple):
    """Which of them stand."""

    query: bool
    policy: bool


class Forgetful(asyncpg.Connection):
    """A connection on which no query of a customer's request says of which tenant: that condition is always true.

    Before it is known who asks, nothing is changed: that is not what this guard guards.
    """

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        return await super().fetch(_forgotten(query), *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        return await super().fetchrow(_forgotten(query), *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        return await super().fetchval(_forgotten(query), *args, **options)

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        return await super().execute(_forgotten(query), *args, **options)

    async def executemany(self, command: str, args: Any, **options: Any) -> Any:
        return await super().executemany(_forgotten(command), args, **options)


def _forgotten(query: str) -> str:
    if not has_request_context() or "principal" not in g:
        return query
    return _NAMES_THE_TENANT.sub(lambda found: f"({found[0]} OR true)", query)


class Answer(NamedTuple):
    """What was answered, without what differs from one call to the next: times, and ids made meanwhile."""

    status: int
    body: str

    @property
    def foreign(self) -> bool:
        """Whether something of the other tenant's stands in it."""
        return any(each in self.body for each in FOREIGN)


class World:
    """Two tenants and the customer API, called by one of them."""

    def __init__(self, hand: psycopg.Connection[Any], tables: list[str], caller: Caller) -> None:
        self._hand = hand
        self._tables = tables
        self._caller = caller
        self.app = caller.client.app

    def begin_anew(self, then: str = "") -> None:
        """Everything as it was at first, and then what happened next: a statement."""
        self._hand.execute(f"TRUNCATE {', '.join(self._tables)}".encode())
        two_tenants.fill_by(self._hand)
        values = {"ours": OURS, "theirs": THEIRS, "device": THEIR_DEVICE, "day": DAY, "hash": hash_token(_TOKEN)}
        self._hand.execute((_MORE + then).encode(), values)

    def theirs(self) -> list[Any]:
        """Every row of the other tenant's, as it stands."""
        look = " UNION ALL ".join(
            f"SELECT '{table} ' || to_jsonb(t)::text FROM {table} t WHERE tenant_id = '{THEIRS}'"
            for table in self._tables
        )
        return self._hand.execute(f"{look} ORDER BY 1".encode()).fetchall()

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        form: dict[str, str] | None = None,
        wanting: dict[str, str] | None = None,
    ) -> Answer:
        """Call a path. Whoever edits has seen the newest version."""
        headers = {"If-Match": "*", "X-Request-Id": "the-same", **(wanting or {})}
        more: dict[str, Any] = {} if form is None else {"form": form}
        status, said, _ = await self._caller.call(method, path, None if more else body, headers=headers, **more)
        text = said.decode() if isinstance(said, bytes) else json.dumps(said, indent=1)
        said = _USED.sub('"last_used_at": "(whenever)"', _MOMENT.sub("(a time)", text))
        return Answer(status, _ID.sub(_unless_known, _SECRET.sub("(a secret)", said)))


def _unless_known(found: re.Match[str]) -> str:
    known = {str(an_id(each)) for each in TENANTS}
    return found[0] if found[0] in known else "(an id)"


@asynccontextmanager
async def admin_api_over(
    kind: type[asyncpg.Connection[Any]], database: Database, folder: Path, **overrides: Any
) -> AsyncIterator[Admin]:
    """As :func:`support.admin.admin_api`, with every statement going over connections of this kind."""
    async with AsyncExitStack() as stack:
        with patch.object(asyncpg, "create_pool", partial(asyncpg.create_pool, connection_class=kind)):
            admin = await stack.enter_async_context(admin_api(database, folder, **overrides))
        yield admin


@asynccontextmanager
async def world(database: Database, folder: Path, guards: Guards) -> AsyncIterator[World]:
    """The customer API on ``database``, behind these guards alone."""
    tables = sorted(tenant_tables(database))
    kind: type[asyncpg.Connection[Any]] = asyncpg.Connection if guards.query else Forgetful
    with psycopg.connect(database.url, autocommit=True, cursor_factory=psycopg.ClientCursor) as hand:
        if not guards.policy:
            for table in tables:
                hand.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY".encode())
        async with admin_api_over(kind, database, folder) as admin:
            yield World(hand, tables, Caller(admin.client, "", {"Authorization": f"Bearer {_TOKEN}"}))
