"""The second integration of a route: who is handed to it, and when. In the transaction of whoever decides so.

What the first integration was told already it is told the end of, too: a notification is handed over only if no
earlier one of the same alert and route was delivered by the first. One that follows is handed over with its OPEN.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_postgres.delivery.record import cancel, let_next_go
from pulse_postgres.sqltime import at

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from asyncpg.pool import PoolConnectionProxy

    from pulse_postgres.delivery.order import Unfinished

_MOST_AT_ONCE = 500

# OFFSET 0 here and below: see claim. With all conditions inside, all that was ever delivered may be walked.
_NOT_TOLD = """
    NOT EXISTS (
        SELECT FROM (SELECT integration_id, route_id, cause, status FROM deliveries
                     WHERE tenant_id = d.tenant_id AND alert_id = d.alert_id OFFSET 0) e
        WHERE e.integration_id = d.integration_id AND e.route_id = d.route_id AND e.cause = 'alert'
          AND e.status = 'DELIVERED')
"""

_STAND_IN = f"""
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause, caused_by,
                            notification, due_at)
    SELECT d.tenant_id, k.new, f.integration_id, d.alert_id, d.route_id, d.event, 'fallback', d.delivery_id,
           jsonb_set(d.notification, '{{delivery_id}}', to_jsonb(k.new::text)), {at("$4::bigint")}
    FROM unnest($1::text[], $2::uuid[], $3::uuid[]) AS k (t, d, new)
    CROSS JOIN LATERAL (SELECT * FROM deliveries WHERE tenant_id = k.t AND delivery_id = k.d OFFSET 0) d
    JOIN integration_routes r ON r.tenant_id = d.tenant_id AND r.route_id = d.route_id
    JOIN integrations f ON f.tenant_id = r.tenant_id AND f.integration_id = r.fallback_integration_id
    WHERE d.cause = 'alert' AND f.enabled AND f.integration_id <> d.integration_id AND {_NOT_TOLD}
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, caused_by, delivery_id, alert_id, event
"""

_FOLLOWING = """
    SELECT d.tenant_id, d.delivery_id
    FROM unnest($1::text[], $2::uuid[]) AS k (t, d)
    JOIN deliveries d ON d.tenant_id = k.t AND d.delivery_id = k.d
    WHERE EXISTS (SELECT FROM deliveries f WHERE f.tenant_id = d.tenant_id AND f.alert_id = d.alert_id
                  AND f.route_id = d.route_id AND f.cause = 'fallback')
"""

# What is due while the probe is due, too, may be that probe: it is for the first integration, or that would stay out of
# use for good.
_WAITED_ENOUGH = f"""
    SELECT d.tenant_id, d.delivery_id, d.alert_id, d.integration_id, d.event
    FROM breakers b
    JOIN integration_routes r ON r.tenant_id = b.tenant_id AND r.integration_id = b.integration_id
    JOIN integrations f ON f.tenant_id = r.tenant_id AND f.integration_id = r.fallback_integration_id AND f.enabled
    CROSS JOIN LATERAL (
        SELECT * FROM deliveries d
        WHERE d.tenant_id = b.tenant_id AND d.integration_id = b.integration_id AND d.route_id = r.route_id
          AND d.status IN ('PENDING', 'RETRYING') AND d.cause = 'alert' AND {_NOT_TOLD}
          AND {at("$1::bigint")} < GREATEST(d.due_at, b.probe_at)
        ORDER BY d.due_at LIMIT {_MOST_AT_ONCE} FOR UPDATE SKIP LOCKED) d
    WHERE b.opened_at <= {at("$1::bigint")} - make_interval(secs => r.fallback_after_s)
      AND NOT EXISTS (SELECT FROM breakers o WHERE o.tenant_id = f.tenant_id AND o.integration_id = f.integration_id)
"""


async def stand_in(
    connection: PoolConnectionProxy[Any], keys: Sequence[tuple[str, uuid.UUID]], now_us: int
) -> dict[uuid.UUID, uuid.UUID]:
    """Make a fallback delivery for each of these whose route has one that can be used; return new ids by old ones."""
    if not keys:
        return {}
    made = await connection.fetch(
        _STAND_IN,
        [tenant_id for tenant_id, _ in keys],
        [delivery_id for _, delivery_id in keys],
        [uuid.uuid4() for _ in keys],
        now_us,
    )
    return {row["caused_by"]: row["delivery_id"] for row in made}


async def follow(connection: PoolConnectionProxy[Any], going: Sequence[Unfinished], now_us: int) -> set[uuid.UUID]:
    """Hand over those whose earlier notification went to the fallback; return which."""
    later = [each for each in going if each.cause == "alert" and each.event != "OPEN"]
    if not later:
        return set()
    rows = await connection.fetch(_FOLLOWING, [each.tenant_id for each in later], [each.delivery_id for each in later])
    following = {row["delivery_id"] for row in rows}
    moving = [msgspec.structs.asdict(each) for each in later if each.delivery_id in following]
    return await _hand(connection, moving, now_us, "its OPEN went there")


async def hand_over(connection: PoolConnectionProxy[Any], now_us: int) -> int:
    """Do :meth:`~pulse_core.ports.DeliveryStore.hand_over` in the connection's transaction."""
    rows = await connection.fetch(_WAITED_ENOUGH, now_us)
    return len(await _hand(connection, rows, now_us, "this integration's breaker is open"))


async def _hand(
    connection: PoolConnectionProxy[Any], rows: Sequence[Mapping[str, Any]], now_us: int, why: str
) -> set[uuid.UUID]:
    made = await stand_in(connection, [(row["tenant_id"], row["delivery_id"]) for row in rows], now_us)
    moved = [row for row in rows if row["delivery_id"] in made]
    reasons = [f"handed to the fallback as delivery {made[row['delivery_id']]}: {why}" for row in moved]
    await cancel(connection, moved, reasons, now_us)
    await let_next_go(connection, moved, now_us)
    return set(made)
