"""What people ask of deliveries: send it again, send all these again, do not send it, try this integration."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.errors import Conflict, NotFound, TooMany
from pulse_postgres.acting import acting, asking
from pulse_postgres.audit import audit
from pulse_postgres.delivery.record import cancel, let_next_go
from pulse_postgres.paging import Where

if TYPE_CHECKING:
    from collections.abc import Callable

    from asyncpg import Record
    from asyncpg.pool import PoolConnectionProxy

    from pulse_core.records import Notification
    from pulse_postgres.connections import Connections
    from pulse_postgres.delivery.pages import DeliveryFilter

REPLAYED_AT_MOST = 10_000
"""By one request."""

TESTS_A_MINUTE = 5
"""Of one tenant."""

_FINISHED = "('DELIVERED', 'DEAD', 'CANCELLED')"

# One at a time of a tenant: so that nothing is replayed twice, and nobody tests more than is allowed.
_TAKE_TURNS = "SELECT pg_advisory_xact_lock(hashtextextended('asked of deliveries: ' || $1, 0))"

_ONE = f"""
    SELECT d.status, d.cause, i.enabled, i.deleted_at IS NOT NULL AS deleted, EXISTS (
        SELECT FROM deliveries r WHERE r.tenant_id = d.tenant_id AND r.caused_by = d.delivery_id
        AND r.cause = 'replay' AND r.status NOT IN {_FINISHED}) AS replaying
    FROM deliveries d JOIN integrations i USING (tenant_id, integration_id)
    WHERE d.tenant_id = $1 AND d.delivery_id = $2
"""

# MATERIALIZED: the new id is made once a row, and put into the notification as well.
_REPLAY = """
    WITH picked AS MATERIALIZED (
        SELECT d.*, gen_random_uuid() AS new_id
        FROM deliveries d JOIN integrations i USING (tenant_id, integration_id) WHERE {})
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause, caused_by,
                            notification, due_at)
    SELECT tenant_id, new_id, integration_id, alert_id, route_id, event, 'replay', delivery_id,
           jsonb_set(notification, '{{delivery_id}}', to_jsonb(new_id::text)), now()
    FROM picked RETURNING delivery_id
"""
_COUNT = "SELECT count(*) FROM deliveries d JOIN integrations i USING (tenant_id, integration_id) WHERE {}"

# A test is asked for again, not replayed: only that keeps to its limit.
_REPLAYABLE = f"""
    d.status IN {_FINISHED} AND d.cause <> 'test' AND i.enabled AND i.deleted_at IS NULL AND NOT EXISTS (
        SELECT FROM deliveries r WHERE r.tenant_id = d.tenant_id AND r.caused_by = d.delivery_id
        AND r.cause = 'replay')
"""

_LOCK = """
    SELECT tenant_id, delivery_id, alert_id, integration_id, event, status FROM deliveries
    WHERE tenant_id = $1 AND delivery_id = $2 FOR UPDATE
"""

_TESTED = f"""
    SELECT created_at + interval '1 minute' - clock_timestamp() AS wait FROM deliveries
    WHERE tenant_id = $1 AND cause = 'test' AND created_at > clock_timestamp() - interval '1 minute'
    ORDER BY created_at DESC OFFSET {TESTS_A_MINUTE - 1} LIMIT 1
"""
_USABLE = "SELECT enabled FROM integrations WHERE tenant_id = $1 AND integration_id = $2 AND deleted_at IS NULL"
_TEST = """
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, event, cause, notification, created_at, due_at)
    VALUES ($1, $2, $3, 'OPEN', 'test', $4::jsonb, clock_timestamp(), clock_timestamp())
"""


class DeliveryRequests:
    """Every call names its tenant. ``pool`` is that customer's :class:`~pulse_postgres.connections.TenantPool`."""

    def __init__(self, pool: Connections) -> None:
        self._pool = pool

    async def replay(self, tenant_id: str, delivery_id: uuid.UUID, *, actor: str) -> uuid.UUID:
        """Have a finished delivery made again, as it was; return the new one's id.

        :raises NotFound: there is no such delivery.
        :raises Conflict: it is not finished, is being replayed, was a test, or its integration cannot be used.
        """
        async with acting(self._pool) as connection:
            await connection.execute(_TAKE_TURNS, tenant_id)
            row = _found(await connection.fetchrow(_ONE, tenant_id, delivery_id))
            if why_not := _not_replayable(row):
                raise Conflict(why_not)
            where = _of(tenant_id)
            where.add("d.delivery_id = {}", delivery_id)
            (made,) = await connection.fetch(_REPLAY.format(where), *where.arguments)
            await _note(connection, actor, "delivery.replay", tenant_id, delivery_id, made=str(made[0]))
        return uuid.UUID(str(made[0]))

    async def count(self, tenant_id: str, wanted: DeliveryFilter) -> int:
        """How many deliveries :meth:`replay_all` would make again."""
        where = _replayable(tenant_id, wanted)
        with asking():
            return int(await self._pool.fetchval(_COUNT.format(where), *where.arguments))

    async def replay_all(self, tenant_id: str, wanted: DeliveryFilter, *, count: int, actor: str) -> list[uuid.UUID]:
        """Have every finished delivery that fits made again, but those replayed before; return the new ones' ids.

        :param count: as many as that must fit, or nothing is done.
        :raises Conflict: it is another number by now, or more than 10,000.
        """
        async with acting(self._pool) as connection:
            await connection.execute(_TAKE_TURNS, tenant_id)
            where = _replayable(tenant_id, wanted)
            found = int(await connection.fetchval(_COUNT.format(where), *where.arguments))
            if found > REPLAYED_AT_MOST:
                raise Conflict(f"{found} deliveries match, and {REPLAYED_AT_MOST} is the most at once: narrow it down")
            made: list[uuid.UUID] = []
            if found == count:
                made = [row[0] for row in await connection.fetch(_REPLAY.format(where), *where.arguments)]
                found = len(made)
            if found != count:
                raise Conflict(f"count says {count}, but {found} deliveries match now: nothing was replayed")
            asked = {name: value for name, value in msgspec.to_builtins(wanted).items() if value is not None}
            details = {**asked, "count": found}
            await audit(connection, actor, "delivery.replay-all", tenant_id=tenant_id, details=details)
        return made

    async def cancel(self, tenant_id: str, delivery_id: uuid.UUID, *, actor: str) -> None:
        """Let a delivery that waits for an attempt never be attempted again; what waited behind it may go.

        :raises NotFound: there is no such delivery.
        :raises Conflict: it is finished, or being attempted just now.
        """
        async with acting(self._pool) as connection:
            row = dict(_found(await connection.fetchrow(_LOCK, tenant_id, delivery_id)))
            now_us = time.time_ns() // 1000
            if row["status"] == "SENDING":
                raise Conflict("an attempt is under way: its outcome decides")
            if row["status"] not in {"PENDING", "RETRYING"}:
                raise Conflict(f"it is {row['status']} already")
            await cancel(connection, [row], [f"cancelled by {actor}"], now_us)
            await let_next_go(connection, [row], now_us)
            await _note(connection, actor, "delivery.cancel", tenant_id, delivery_id)

    async def test(
        self,
        tenant_id: str,
        integration_id: uuid.UUID,
        notification: Callable[[uuid.UUID], Notification],
        *,
        actor: str,
    ) -> uuid.UUID:
        """Have a test delivered; return its id.

        :param notification: makes what is sent, given the delivery's id.
        :raises NotFound: there is no such integration.
        :raises Conflict: it is disabled.
        :raises TooMany: the tenant has tested 5 times within a minute, on whatever host.
        """
        delivery_id = uuid.uuid4()
        packed = msgspec.json.encode(notification(delivery_id)).decode()
        async with acting(self._pool) as connection:
            enabled = await connection.fetchval(_USABLE, tenant_id, integration_id)
            if enabled is None:
                raise NotFound("there is no such integration")
            if not enabled:
                raise Conflict("the integration is disabled: enable it, then test it")
            await connection.execute(_TAKE_TURNS, tenant_id)
            wait = await connection.fetchval(_TESTED, tenant_id)
            if wait is not None:
                raise TooMany(f"{TESTS_A_MINUTE} tests a minute", retry_after_s=wait.total_seconds())
            await connection.execute(_TEST, tenant_id, delivery_id, integration_id, packed)
            await _note(connection, actor, "integration.test", tenant_id, integration_id, made=str(delivery_id))
        return delivery_id


def _of(tenant_id: str) -> Where:
    where = Where()
    where.add("d.tenant_id = {}", tenant_id)
    return where


def _replayable(tenant_id: str, wanted: DeliveryFilter) -> Where:
    where = wanted.where(_of(tenant_id), "d.")
    where.add(_REPLAYABLE)
    return where


def _not_replayable(row: Record) -> str | None:
    if row["status"] not in {"DELIVERED", "DEAD", "CANCELLED"}:
        return f"it is {row['status']}: only what is finished can be replayed"
    if row["cause"] == "test":
        return "it was a test: test the integration again"
    if row["deleted"] or not row["enabled"]:
        return f"its integration is {'deleted' if row['deleted'] else 'disabled'}"
    return "a replay of it is not finished yet" if row["replaying"] else None


def _found(row: Record | None) -> Record:
    if row is None:
        raise NotFound("there is no such delivery")
    return row


async def _note(
    connection: PoolConnectionProxy[Any], actor: str, action: str, tenant_id: str, object_id: uuid.UUID, **details: Any
) -> None:
    await audit(connection, actor, action, tenant_id=tenant_id, resource=f"{tenant_id}/{object_id}", details=details)
