"""Sessions of devices: opened, saved, left and forgotten, many in one transaction (role pulse_pipeline)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.device_sessions import MOST_A_DEVICE, Leaving, Opening, Saving, SessionDeed, SessionId
from pulse_postgres.pool import beside
from pulse_postgres.sqltime import at

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

_AT = at("d.at_us")
_AFTER = "+ d.expiry_s * interval '1 second'"

# All parts of one statement see what was there before it.
_OPEN = f"""
    WITH d AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bool[], $6::bigint[])
            WITH ORDINALITY AS d (tenant_id, device_id, client_id, at_us, clean, expiry_s, place)
    ), before AS (
        SELECT d.place, s.subscriptions FROM d JOIN device_sessions s USING (tenant_id, device_id, client_id)
        WHERE NOT d.clean AND (s.expires_at > {_AT}) IS NOT FALSE
    ), ended AS (
        DELETE FROM device_sessions s USING d WHERE d.expiry_s = 0
            AND s.tenant_id = d.tenant_id AND s.device_id = d.device_id AND s.client_id = d.client_id
    ), kept AS (
        INSERT INTO device_sessions (tenant_id, device_id, client_id, subscriptions, expiry_s, updated_at)
        SELECT tenant_id, device_id, d.client_id, COALESCE(before.subscriptions, '{{}}'), d.expiry_s, {_AT}
        FROM d JOIN devices USING (tenant_id, device_id) LEFT JOIN before USING (place)
        WHERE d.expiry_s > 0 AND devices.revoked_at IS NULL
        ON CONFLICT (tenant_id, device_id, client_id) DO UPDATE
            SET subscriptions = EXCLUDED.subscriptions, expiry_s = EXCLUDED.expiry_s, expires_at = NULL,
                updated_at = EXCLUDED.updated_at
    )
    SELECT place, subscriptions::text FROM before
"""
_SAVE = f"""
    UPDATE device_sessions s SET subscriptions = d.subscriptions::jsonb, updated_at = {_AT}
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[])
        AS d (tenant_id, device_id, client_id, at_us, subscriptions)
    WHERE s.tenant_id = d.tenant_id AND s.device_id = d.device_id AND s.client_id = d.client_id
"""
_LEAVE = f"""
    WITH d AS (
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
            AS d (tenant_id, device_id, client_id, at_us, expiry_s)
    ), forgotten AS (
        DELETE FROM device_sessions s USING d WHERE d.expiry_s = 0
            AND s.tenant_id = d.tenant_id AND s.device_id = d.device_id AND s.client_id = d.client_id
    )
    UPDATE device_sessions s SET expiry_s = d.expiry_s, expires_at = {_AT} {_AFTER}, updated_at = {_AT}
    FROM d WHERE d.expiry_s > 0
        AND s.tenant_id = d.tenant_id AND s.device_id = d.device_id AND s.client_id = d.client_id
"""
_KEEP_THE_NEWEST = f"""
    DELETE FROM device_sessions s USING (
        SELECT k.tenant_id, k.device_id, beyond.client_id
        FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS u (tenant_id, device_id)) AS k
        CROSS JOIN LATERAL (
            SELECT client_id FROM device_sessions o WHERE o.tenant_id = k.tenant_id AND o.device_id = k.device_id
            ORDER BY expires_at IS NULL DESC, expires_at > {at("$3::bigint")} DESC, updated_at DESC,
                client_id COLLATE "C" DESC
            OFFSET {MOST_A_DEVICE}) AS beyond) AS b
    WHERE s.tenant_id = b.tenant_id AND s.device_id = b.device_id AND s.client_id = b.client_id
"""
_LEAVE_ALL_BUT = f"""
    UPDATE device_sessions d SET expires_at = {at("$4::bigint")} {_AFTER}, updated_at = {at("$4::bigint")}
    WHERE expires_at IS NULL AND NOT EXISTS (
        SELECT FROM unnest($1::text[], $2::text[], $3::text[]) AS u (tenant_id, device_id, client_id)
        WHERE u.tenant_id = d.tenant_id AND u.device_id = d.device_id AND u.client_id = d.client_id)
"""
# Whoever is just being opened is not waited for: two who wait for each other would hold up every login.
_FORGET = """
    DELETE FROM device_sessions s USING (
        SELECT tenant_id, device_id, client_id FROM device_sessions WHERE expires_at <= now() FOR UPDATE SKIP LOCKED) o
    WHERE s.tenant_id = o.tenant_id AND s.device_id = o.device_id AND s.client_id = o.client_id
"""
_FORGET_REVOKED = """
    DELETE FROM device_sessions s USING (
        SELECT tenant_id, device_id, client_id FROM device_sessions JOIN devices USING (tenant_id, device_id)
        WHERE revoked_at IS NOT NULL FOR UPDATE OF device_sessions SKIP LOCKED) o
    WHERE s.tenant_id = o.tenant_id AND s.device_id = o.device_id AND s.client_id = o.client_id
"""


class PostgresDeviceSessions:
    """See :class:`pulse_core.ports.SessionStore`. ``pool`` is its own, so that logins wait for nobody else."""

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def carry(self, deeds: Sequence[SessionDeed]) -> list[dict[str, int] | None]:
        """Do all of it in one transaction."""
        found: list[dict[str, int] | None] = [None] * len(deeds)
        openings = [(place, deed) for place, deed in enumerate(deeds) if isinstance(deed, Opening)]
        savings = [deed for deed in deeds if isinstance(deed, Saving)]
        leavings = [deed for deed in deeds if isinstance(deed, Leaving)]
        async with beside(self._pool) as connection, connection.transaction():
            if savings:
                texts = [msgspec.json.encode(deed.subscriptions).decode() for deed in savings]
                await connection.execute(_SAVE, *_columns(savings), texts)
            if leavings:
                await connection.execute(_LEAVE, *_columns(leavings), [deed.expiry_s for deed in leavings])
            if openings:
                places, opened = zip(*openings, strict=True)
                for place, text in await _open(connection, opened):
                    found[places[place - 1]] = msgspec.json.decode(text, type=dict[str, int])
        return found

    async def leave_all_but(self, sessions: Collection[SessionId], at_us: int) -> None:
        """Leave every connected one that is none of these."""
        those = [
            [key.tenant_id for key, _ in sessions],
            [key.device_id for key, _ in sessions],
            [client_id for _, client_id in sessions],
        ]
        async with beside(self._pool) as connection:
            await connection.execute(_LEAVE_ALL_BUT, *those, at_us)

    async def drop_before(self, cutoff_us: int) -> int:  # noqa: ARG002 - a session says itself when it is over
        """Forget those that are over, and those of revoked devices; return how many."""
        async with beside(self._pool) as connection:
            tags = [await connection.execute(each) for each in (_FORGET, _FORGET_REVOKED)]
        return sum(int(tag.removeprefix("DELETE ")) for tag in tags)


async def _open(connection: PoolConnectionProxy[Any], openings: Sequence[Opening]) -> list[asyncpg.Record]:
    """Of those that go on, their place in ``openings``, from 1, and their subscriptions."""
    columns = _columns(openings)
    which = [deed.clean for deed in openings], [deed.expiry_s for deed in openings]
    found: list[asyncpg.Record] = await connection.fetch(_OPEN, *columns, *which)
    await connection.execute(_KEEP_THE_NEWEST, *columns[:2], max(columns[3]))
    return found


def _columns(deeds: Iterable[SessionDeed]) -> list[list[Any]]:
    rows = [(deed.key.tenant_id, deed.key.device_id, deed.client_id, deed.at_us) for deed in deeds]
    return [list(column) for column in zip(*rows, strict=True)]
