"""Taking deliveries out of the outbox, in one transaction: pick and lock, decide the order, lease."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.outbox import Claim, ClaimedDelivery, StoredIntegration
from pulse_core.schedule import Schedule
from pulse_postgres.delivery.fallback import follow
from pulse_postgres.delivery.order import Turns, Unfinished, turns
from pulse_postgres.delivery.record import cancel
from pulse_postgres.sqltime import at, us

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from asyncpg import Record
    from asyncpg.pool import PoolConnectionProxy

    from pulse_core.outbox import ClaimRoom

WAITING = "status IN ('PENDING', 'RETRYING')"
_UNFINISHED = "status IN ('PENDING', 'SENDING', 'RETRYING')"

_FEW = 300
"""So many may be due before a claim goes from integration to integration instead of from one delivery to the next."""

# few: whose deliveries are due, the oldest first. If that was all of them, they are the lines: what is merely waiting
# (thousands of dead endpoints, tried twice a day) costs nothing. hops: otherwise, who has something waiting, by hopping
# through the index from one integration to the next (a loose index scan), so that the cost is one look-up an
# integration, however much is due. due: the head of each line, no longer than its
# room. A tenant's turns count on from what it has under way, so a crowd of one tenant cannot starve another. OFFSET 0
# keeps the look-up by primary key: with the condition on the status inside, a planner without fresh statistics walks
# a whole line for each row.
_PICK = f"""
    WITH RECURSIVE few AS MATERIALIZED (
        SELECT tenant_id, integration_id FROM deliveries WHERE {WAITING} AND due_at <= {at("$1::bigint")}
        ORDER BY due_at LIMIT {_FEW} + 1
    ), hops AS (
        (SELECT tenant_id, integration_id FROM deliveries
         WHERE {WAITING} AND (SELECT count(*) FROM few) > {_FEW}
         ORDER BY tenant_id, integration_id LIMIT 1)
        UNION ALL
        SELECT n.tenant_id, n.integration_id FROM hops l CROSS JOIN LATERAL (
            SELECT tenant_id, integration_id FROM deliveries
            WHERE {WAITING} AND (tenant_id, integration_id) > (l.tenant_id, l.integration_id)
            ORDER BY tenant_id, integration_id LIMIT 1) n
    ), lines AS (
        SELECT * FROM hops UNION SELECT * FROM few WHERE (SELECT count(*) FROM few) <= {_FEW}
    ), rooms AS (
        SELECT * FROM unnest($4::uuid[], $5::text[], $6::integer[]) AS r (integration_id, endpoint, room)
    ), running AS (
        SELECT * FROM unnest($7::text[], $8::integer[]) AS b (tenant_id, running)
    ), due AS (
        SELECT l.tenant_id, d.delivery_id, d.due_at,
               COALESCE(r.endpoint, l.integration_id::text) AS endpoint, COALESCE(r.room, $3) AS room,
               row_number() OVER (PARTITION BY l.tenant_id ORDER BY d.due_at) + COALESCE(b.running, 0) AS turn
        FROM lines l
        LEFT JOIN rooms r ON r.integration_id = l.integration_id
        LEFT JOIN running b ON b.tenant_id = l.tenant_id
        CROSS JOIN LATERAL (
            SELECT delivery_id, due_at FROM deliveries
            WHERE tenant_id = l.tenant_id AND integration_id = l.integration_id
              AND {WAITING} AND due_at <= {at("$1::bigint")}
            ORDER BY due_at LIMIT LEAST(COALESCE(r.room, $3), $2)) d
    ), places AS (
        SELECT *, row_number() OVER (PARTITION BY endpoint ORDER BY turn, due_at) AS place FROM due
    ), ranked AS (
        SELECT tenant_id, delivery_id, turn, due_at FROM places WHERE place <= room
        ORDER BY turn, due_at LIMIT $2
    ), locked AS (
        SELECT d.tenant_id, d.delivery_id, d.alert_id, d.integration_id, d.event, d.cause, d.status, d.attempts,
               {us("d.due_at")} AS again_us
        FROM ranked r CROSS JOIN LATERAL (
            SELECT * FROM deliveries WHERE tenant_id = r.tenant_id AND delivery_id = r.delivery_id
            OFFSET 0 FOR UPDATE SKIP LOCKED) d
        WHERE d.{WAITING} AND d.due_at <= {at("$1::bigint")}
    )
    SELECT r.delivery_id AS ranked_id, l.* FROM ranked r LEFT JOIN locked l USING (tenant_id, delivery_id)
    ORDER BY r.turn, r.due_at
"""

# By alert alone: with the integration inside, a planner without fresh statistics walks all that it ever had to send.
_OF_SUBJECTS = f"""
    SELECT s.tenant_id, s.delivery_id, s.alert_id, s.integration_id, s.event, s.cause, s.status, s.attempts,
           {us("COALESCE(s.lease_until, s.due_at)")} AS again_us
    FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::uuid[], $3::uuid[]) AS k (t, a, i)) k
    CROSS JOIN LATERAL (
        SELECT * FROM deliveries WHERE tenant_id = k.t AND alert_id = k.a OFFSET 0) s
    WHERE s.integration_id = k.i AND s.{_UNFINISHED} AND NOT s.delivery_id = ANY($4::uuid[])
"""

_HOLD = f"""
    SELECT tenant_id, delivery_id, alert_id, integration_id, event, cause, status, attempts,
           {us("COALESCE(lease_until, due_at)")} AS again_us
    FROM deliveries
    WHERE (tenant_id, delivery_id) IN (SELECT * FROM unnest($1::text[], $2::uuid[]))
      AND status NOT IN ('DELIVERED', 'DEAD', 'CANCELLED')
    FOR UPDATE SKIP LOCKED
"""

RETURNING = f"""
    RETURNING d.tenant_id, d.delivery_id, d.event, d.cause, d.notification, d.attempts,
              {us("d.first_attempt_at")} AS first_attempt_us, k.lease_us,
              i.integration_id, i.type, i.config, i.secrets, i.enabled, i.disabled_reason,
              {us("i.updated_at")} AS updated_us, i.retry, i.deleted_at IS NOT NULL AS deleted
"""

_TAKE = f"""
    UPDATE deliveries d SET status = 'SENDING', leased_by = $3, lease_until = {at("$5::bigint")},
        attempts = d.attempts + 1, first_attempt_at = COALESCE(d.first_attempt_at, {at("$4::bigint")})
    FROM (SELECT *, 0::bigint AS lease_us FROM unnest($1::text[], $2::uuid[]) AS k (t, d)) k, integrations i
    WHERE d.tenant_id = k.t AND d.delivery_id = k.d
      AND i.tenant_id = d.tenant_id AND i.integration_id = d.integration_id
    {RETURNING}
"""

_TAKE_TESTS = f"""
    UPDATE deliveries d SET status = 'SENDING', leased_by = $1, lease_until = {at("$3::bigint")},
        attempts = d.attempts + 1, first_attempt_at = {at("$2::bigint")}
    FROM (SELECT tenant_id AS t, delivery_id AS d, 0::bigint AS lease_us FROM deliveries
          WHERE cause = 'test' AND status = 'PENDING' AND due_at <= {at("$2::bigint")}
          ORDER BY due_at LIMIT $4 FOR UPDATE SKIP LOCKED) k, integrations i
    WHERE d.tenant_id = k.t AND d.delivery_id = k.d
      AND i.tenant_id = d.tenant_id AND i.integration_id = d.integration_id
    {RETURNING}
"""

_WAIT = f"""
    UPDATE deliveries d SET due_at = {at("k.until")}
    FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS k (t, d, until)
    WHERE d.tenant_id = k.t AND d.delivery_id = k.d
"""


async def claim(
    connection: PoolConnectionProxy[Any],
    worker: str,
    *,
    now_us: int,
    lease_until_us: int,
    limit: int,
    per_endpoint: int,
    rooms: Sequence[ClaimRoom],
    running: Mapping[str, int],
) -> Claim:
    """Do :meth:`~pulse_core.ports.DeliveryStore.claim` in the connection's transaction."""
    rows = await connection.fetch(_TAKE_TESTS, worker, now_us, lease_until_us, limit)
    tests = claimed_of(rows, lambda _: now_us)
    rows = await connection.fetch(
        _PICK,
        now_us,
        limit - len(tests),
        per_endpoint,
        [room.integration_id for room in rooms],
        [room.endpoint for room in rooms],
        [max(0, room.room) for room in rooms],
        list(running),
        list(running.values()),
    )
    picked = [_unfinished(row) for row in rows if row["delivery_id"] is not None]
    if not picked:
        return Claim(tests, more=bool(rows))
    order = turns(picked, await _others(connection, picked), now_us)
    await _settle(connection, order, now_us, lease_until_us)
    moved = await follow(connection, order.go, now_us)
    going = [each for each in order.go if each.delivery_id not in moved]
    taken = await connection.fetch(_TAKE, *_ids(going), worker, now_us, lease_until_us)
    place = {each.delivery_id: index for index, each in enumerate(going)}
    claimed = sorted(claimed_of(taken, lambda _: now_us), key=lambda each: place[each.delivery_id])
    more = len(rows) + len(tests) >= limit or len(claimed) < len(rows)
    return Claim(tests + claimed, more=more, cancelled=len(order.told) + len(moved))


async def _others(connection: PoolConnectionProxy[Any], picked: Sequence[Unfinished]) -> list[Unfinished]:
    """Find the other unfinished deliveries of the same subjects, and hold those that nobody else is working on."""
    subjects = [each for each in picked if each.alert_id is not None]
    seen = await connection.fetch(
        _OF_SUBJECTS,
        [each.tenant_id for each in subjects],
        [each.alert_id for each in subjects],
        [each.integration_id for each in subjects],
        [each.delivery_id for each in picked],
    )
    if not seen:
        return []
    others = [_unfinished(row, held=False) for row in seen]
    held = {each.delivery_id: each for each in map(_unfinished, await connection.fetch(_HOLD, *_ids(others)))}
    return [held.get(each.delivery_id, each) for each in others]


async def _settle(connection: PoolConnectionProxy[Any], order: Turns, now_us: int, least_us: int) -> None:
    """Cancel what another tells, and put off what must wait: to be woken when the earlier one is finished."""
    if order.told:
        reasons = [
            f"told by delivery {closing.delivery_id}: the alert was closed before" for closing in order.told.values()
        ]
        await cancel(connection, [msgspec.structs.asdict(earlier) for earlier in order.told], reasons, now_us)
    if order.wait:
        until = [max(least_us, *(one.again_us for one in before)) for before in order.wait.values()]
        await connection.execute(_WAIT, *_ids(order.wait), until)


def _ids(rows: Iterable[Unfinished]) -> tuple[list[str], list[uuid.UUID]]:
    rows = list(rows)
    return [row.tenant_id for row in rows], [row.delivery_id for row in rows]


def _unfinished(row: Record, *, held: bool = True) -> Unfinished:
    fields = {name: row[name] for name in Unfinished.__struct_fields__ if name != "held"}
    return Unfinished(**fields, held=held)


def claimed_of(rows: Iterable[Record], claimed_us: Callable[[Record], int]) -> list[ClaimedDelivery]:
    """Read the rows of RETURNING; an integration is decoded once."""
    integrations: dict[uuid.UUID, StoredIntegration] = {}
    result = []
    for row in rows:
        integration = integrations.get(row["integration_id"])
        if integration is None:
            integration = integrations[row["integration_id"]] = _integration(row)
        result.append(
            ClaimedDelivery(
                tenant_id=row["tenant_id"],
                delivery_id=row["delivery_id"],
                integration=integration,
                event=row["event"],
                cause=row["cause"],
                notification_json=row["notification"],
                attempt=row["attempts"],
                first_attempt_us=row["first_attempt_us"],
                claimed_us=claimed_us(row),
            )
        )
    return result


def _integration(row: Record) -> StoredIntegration:
    return StoredIntegration(
        tenant_id=row["tenant_id"],
        integration_id=row["integration_id"],
        type=row["type"],
        config=msgspec.json.decode(row["config"]),
        secrets=row["secrets"],
        enabled=row["enabled"],
        disabled_reason=row["disabled_reason"],
        updated_us=row["updated_us"],
        retry=None if row["retry"] is None else msgspec.json.decode(row["retry"], type=Schedule),
        deleted=row["deleted"],
    )
