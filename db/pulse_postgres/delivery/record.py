"""Writing down what became of deliveries: the outcome, the attempt and whose turn is next, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.records import DeliveryStatus
from pulse_postgres.delivery.order import RANK
from pulse_postgres.sqltime import at

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from asyncpg import Record
    from asyncpg.pool import PoolConnectionProxy

    from pulse_core.outbox import Attempt

TOPIC = "pulse_deliveries"

# A late result (another worker took the lease over meanwhile) changes the delivery only for the better. CASE keeps the
# look-up by primary key: of conditions on the status beside it, the planner may make a walk over all that waits.
_FINISH = f"""
    UPDATE deliveries d SET status = r.status, due_at = COALESCE({at("r.due")}, d.due_at), leased_by = NULL,
        lease_until = NULL, last_error = NULLIF(r.detail, ''),
        finished_at = CASE WHEN r.status = 'RETRYING' THEN NULL ELSE {at("$8::bigint")} END
    FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::bigint[])
        AS r (t, d, attempt, status, detail, due)
    WHERE d.tenant_id = r.t AND d.delivery_id = r.d
      AND CASE d.status WHEN 'SENDING' THEN d.leased_by = $7 AND d.attempts = r.attempt
                        WHEN 'RETRYING' THEN r.status = 'DELIVERED' ELSE false END
    RETURNING d.tenant_id, d.delivery_id, d.alert_id, d.integration_id, d.event, d.status, d.cause
"""

_NOTE = f"""
    INSERT INTO delivery_attempts (tenant_id, delivery_id, attempt, started_at, duration_ms, outcome, detail, receipt,
                                   address, tls, next_at)
    SELECT r.t, r.d, r.attempt, {at("r.started")}, r.ms, r.outcome, r.detail, r.receipt, r.address, r.tls,
           {at("r.due")}
    FROM unnest($1::text[], $2::uuid[], $3::integer[], $4::bigint[], $5::integer[], $6::text[], $7::text[],
                $8::text[], $9::text[], $10::text[], $11::bigint[])
        AS r (t, d, attempt, started, ms, outcome, detail, receipt, address, tls, due)
    JOIN deliveries d ON d.tenant_id = r.t AND d.delivery_id = r.d
    ON CONFLICT DO NOTHING
"""

# Told in the order of the subjects, so that two workers cannot block each other. OFFSET 0: see claim.
_NEXT_OF_SUBJECTS = f"""
    UPDATE deliveries d SET due_at = LEAST(d.due_at, {at("$5::bigint")})
    FROM (SELECT s.tenant_id, s.delivery_id
          FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::integer[]) AS k (t, a, i, rank)
          CROSS JOIN LATERAL (
              SELECT tenant_id, delivery_id, integration_id, event, status FROM deliveries
              WHERE tenant_id = k.t AND alert_id = k.a
              OFFSET 0) s
          WHERE s.integration_id = k.i AND s.status = 'PENDING' AND array_position($6::text[], s.event) > k.rank) s
    WHERE d.tenant_id = s.tenant_id AND d.delivery_id = s.delivery_id
    RETURNING 1
"""

_CANCEL = f"""
    UPDATE deliveries d SET status = 'CANCELLED', finished_at = {at("$4::bigint")}, last_error = k.reason
    FROM unnest($1::text[], $2::uuid[], $3::text[]) AS k (t, d, reason)
    WHERE d.tenant_id = k.t AND d.delivery_id = k.d
"""

_DISABLE = f"""
    UPDATE integrations i SET enabled = false, disabled_reason = k.reason, updated_at = now()
    FROM unnest($1::text[], $2::uuid[], $3::bigint[], $4::text[]) AS k (t, i, updated, reason)
    WHERE i.tenant_id = k.t AND i.integration_id = k.i AND i.enabled AND i.updated_at = {at("k.updated")}
"""


async def record(
    connection: PoolConnectionProxy[Any], worker: str, attempts: Sequence[Attempt], now_us: int
) -> list[Record]:
    """Do :meth:`~pulse_core.ports.DeliveryStore.record` in the connection's transaction; return what is finished."""
    which = ([a.tenant_id for a in attempts], [a.delivery_id for a in attempts], [a.attempt for a in attempts])
    details = [a.detail for a in attempts]
    statuses = [str(a.status) for a in attempts]
    due = [a.due_us for a in attempts]
    changed = await connection.fetch(_FINISH, *which, statuses, details, due, worker, now_us)
    await connection.execute(
        _NOTE,
        *which,
        [a.started_us for a in attempts],
        [a.duration_ms for a in attempts],
        [str(a.outcome) for a in attempts],
        details,
        [a.receipt for a in attempts],
        [a.address for a in attempts],
        [a.tls for a in attempts],
        due,
    )
    finished = [row for row in changed if row["status"] != DeliveryStatus.RETRYING]
    await let_next_go(connection, finished, now_us)
    await _disable(connection, attempts)
    return finished


async def cancel(
    connection: PoolConnectionProxy[Any], rows: Sequence[Mapping[str, Any]], reasons: Sequence[str], now_us: int
) -> None:
    """Cancel deliveries whose rows are locked, each for its reason. What waited for them is not told yet."""
    if rows:
        ids = [row["tenant_id"] for row in rows], [row["delivery_id"] for row in rows]
        await connection.execute(_CANCEL, *ids, list(reasons), now_us)


async def let_next_go(connection: PoolConnectionProxy[Any], finished: Iterable[Mapping[str, Any]], now_us: int) -> None:
    """Make due what waited for deliveries that are now finished.

    :param finished: with tenant_id, alert_id, integration_id and event.


    A statement of its own: the rows of the finished ones are locked by now, so a claim that puts a later one off
    has either committed (and is seen here) or waits for us (and will see them finished).
    """
    ended = [row for row in finished if row["alert_id"] is not None]
    if not ended:
        return
    ended.sort(key=lambda row: (row["tenant_id"], row["alert_id"], row["integration_id"]))
    woken = await connection.fetch(
        _NEXT_OF_SUBJECTS,
        [row["tenant_id"] for row in ended],
        [row["alert_id"] for row in ended],
        [row["integration_id"] for row in ended],
        [RANK.get(row["event"], len(RANK)) + 1 for row in ended],
        now_us,
        list(RANK),
    )
    if woken:
        await connection.execute("SELECT pg_notify($1, '')", TOPIC)


async def _disable(connection: PoolConnectionProxy[Any], attempts: Sequence[Attempt]) -> None:
    gone = [attempt for attempt in attempts if attempt.disable is not None]
    if gone:
        await connection.execute(
            _DISABLE,
            [attempt.tenant_id for attempt in gone],
            [attempt.integration_id for attempt in gone],
            [attempt.integration_updated_us for attempt in gone],
            [attempt.disable for attempt in gone],
        )
