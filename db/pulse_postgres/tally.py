"""What a batch adds to the counts: readings accepted by day and by minute, messages refused by minute, what came in a
minute and how long the slowest took. Once, however often it is committed.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING

from pulse_postgres.sqltime import DAY_US, at

if TYPE_CHECKING:
    from collections.abc import Sequence

    from asyncpg import Connection

    from pulse_core.records import Reading, Reject, WriteSet

_MINUTE_US = 60_000_000

# One statement, because each would be a round trip in every batch. What is counted hangs on the row of ``first``, which
# is there only if the lane's last batch was another one.
_TALLY = f"""
    WITH first AS (
        UPDATE lane_partitions SET batch_id = $2 WHERE partition = $1 AND batch_id IS DISTINCT FROM $2 RETURNING true
    ), accepted AS (
        INSERT INTO readings_accepted (day, shard, accepted)
        SELECT date 'epoch' + d, $3, n FROM first, unnest($4::integer[], $5::bigint[]) AS x (d, n)
        ON CONFLICT (day, shard) DO UPDATE SET accepted = readings_accepted.accepted + excluded.accepted
    ), minutes AS (
        INSERT INTO accepted_counts (tenant_id, minute, shard, accepted)
        SELECT t, {at("m")}, $3, n FROM first, unnest($10::text[], $11::bigint[], $12::bigint[]) AS x (t, m, n)
        ON CONFLICT (tenant_id, minute, shard) DO UPDATE SET accepted = accepted_counts.accepted + excluded.accepted
    ), refused AS (
        INSERT INTO quarantine_counts (tenant_id, minute, reason, shard, rejected)
        SELECT t, {at("m")}, r, $3, n
        FROM first, unnest($6::text[], $7::bigint[], $8::text[], $9::bigint[]) AS x (t, m, r, n)
        ON CONFLICT (tenant_id, minute, reason, shard) DO UPDATE
            SET rejected = quarantine_counts.rejected + excluded.rejected
    ), came AS (
        INSERT INTO intake_minutes AS i (minute, shard, accepted, rejected, slowest_us)
        SELECT date_trunc('minute', now()), $3, $13::bigint, $14::bigint, $15::bigint FROM first
        ON CONFLICT (minute, shard) DO UPDATE
            SET accepted = i.accepted + excluded.accepted, rejected = i.rejected + excluded.rejected,
                slowest_us = greatest(i.slowest_us, excluded.slowest_us)
    )
    SELECT true FROM first
"""

_KEPT = f"""
    INSERT INTO quarantine (tenant_id, reject_id, received_at, reason, detail, device_id, topic, payload, raw,
                            source)
    SELECT t, gen_random_uuid(), {at("ts")}, r, de, d, tp, p::jsonb, raw, s
    FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[],
                $9::text[]) AS x (t, ts, r, de, d, tp, p, raw, s)
"""


async def write_tally(
    connection: Connection, writes: WriteSet, partition: int, shard: int, *, readings_kept: bool
) -> None:
    """Count the batch, and keep the refused messages that are to be kept; nothing if it was committed before.

    Readings are counted as the pipeline decided, not as the insert answered: one that vanishes on its way into the
    table is missed by the ledger.

    :param partition: one that the lane has locked: its row in lane_partitions is the lane's own.
    :param readings_kept: they are in this database's tables, so that there is something to compare the count with.
    """
    if not writes.readings and not writes.rejects:
        return
    accepted = _by_day(writes.readings) if readings_kept else []
    refused = _by_minute(writes.rejects)
    columns = [*_columns(accepted, 2), *_columns(refused, 4), *_columns(_accepted(writes.readings), 3)]
    came = len(writes.readings), len(writes.rejects), _slowest_us(writes)
    if await connection.fetchval(_TALLY, partition, writes.batch_id, shard, *columns, *came):
        await _keep(
            connection, [each for each in writes.rejects if each.payload_json is not None or each.raw is not None]
        )


def _slowest_us(writes: WriteSet) -> int:
    """How long ago its first message came, by this host's own clock."""
    came_us = [reading.received_us for reading in writes.readings] + [reject.received_us for reject in writes.rejects]
    return max(0, time.time_ns() // 1000 - min(came_us))


def _by_day(readings: Sequence[Reading]) -> list[tuple[int, int]]:
    return sorted(Counter([reading.ts_us // DAY_US for reading in readings]).items())


def _by_minute(rejects: Sequence[Reject]) -> list[tuple[str, int, str, int]]:
    """In one order for all, so that lanes never wait for each other in a circle."""
    counts = Counter(
        (reject.tenant_id, reject.received_us // _MINUTE_US * _MINUTE_US, str(reject.reason)) for reject in rejects
    )
    return [(*name, count) for name, count in sorted(counts.items())]


def _accepted(readings: Sequence[Reading]) -> list[tuple[str, int, int]]:
    """By tenant and minute, in one order for all."""
    counts = Counter([(each.device.tenant_id, each.received_us // _MINUTE_US * _MINUTE_US) for each in readings])
    return [(*name, count) for name, count in sorted(counts.items())]


def _columns(rows: Sequence[tuple[object, ...]], width: int) -> list[list[object]]:
    return [[row[at] for row in rows] for at in range(width)]


async def _keep(connection: Connection, rejects: Sequence[Reject]) -> None:
    if not rejects:
        return
    await connection.execute(
        _KEPT,
        [reject.tenant_id for reject in rejects],
        [reject.received_us for reject in rejects],
        [reject.reason for reject in rejects],
        [reject.detail for reject in rejects],
        [reject.device_id for reject in rejects],
        [reject.topic for reject in rejects],
        [reject.payload_json for reject in rejects],
        [reject.raw for reject in rejects],
        [reject.source for reject in rejects],
    )
