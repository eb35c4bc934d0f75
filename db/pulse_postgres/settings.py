"""The operator's live settings: (name, value) rows."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.settings import Settings, parse_settings
from pulse_postgres.acting import acting
from pulse_postgres.audit import audit
from pulse_postgres.pool import listen, unavailable
from pulse_postgres.revisions import demand_revision

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Mapping

    import asyncpg

CHANNEL = "pulse_settings"

_LOAD = "SELECT name, value FROM settings"
_LAST_CHANGES = "SELECT name, updated_by AS by, updated_at AS at FROM settings ORDER BY name"
_LOCK = "LOCK TABLE settings IN SHARE ROW EXCLUSIVE MODE"
_SAVE = """
    INSERT INTO settings (name, value, updated_by)
    SELECT n, v::jsonb, $3 FROM unnest($1::text[], $2::text[]) AS x (n, v)
    ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = now(), updated_by = excluded.updated_by
"""


class PostgresSettings:
    """See :class:`pulse_core.ports.SettingsStore`. Any role may read that runs a process; pulse_admin may save.

    :param dsn: where to listen for changes; who only loads and saves needs none.
    """

    def __init__(self, pool: asyncpg.Pool[Any], dsn: str = "") -> None:
        self._pool = pool
        self._dsn = dsn

    async def load(self) -> Settings:
        """The settings now; what was never saved has its default.

        :raises ConfigError: when a saved value is not allowed (any more).
        """
        with unavailable():
            rows = await self._pool.fetch(_LOAD)
        return parse_settings(_values(rows))

    async def last_changes(self) -> list[dict[str, Any]]:
        """Who changed which setting last, and when: ``name``, ``by``, ``at``. A setting never changed is not there."""
        with unavailable():
            return [dict(row) for row in await self._pool.fetch(_LAST_CHANGES)]

    async def changes(self) -> AsyncIterator[None]:
        """Yields at once, and whenever settings may have changed."""
        async for _ in listen(self._dsn, CHANNEL):
            yield

    async def save(self, values: Mapping[str, Any], actor: str, *, only_if: Collection[str] | None = None) -> Settings:
        """Set ``values`` (names of :class:`Settings`), leave the others; return all settings as they are now.

        The audit log tells the old and the new value of each that changed, those that MODE forces off included.

        :param only_if: see :func:`revision_of`.
        :raises ConfigError: naming each wrong name or value; then nothing is saved.
        :raises Stale: they are none of those revisions.
        """
        async with acting(self._pool) as connection:
            await connection.execute(_LOCK)
            before = _values(await connection.fetch(_LOAD))
            if only_if is not None:
                demand_revision(revision_of(parse_settings(before)), only_if)
            settings = parse_settings({**before, **values}).as_mode_allows()
            changes = _changes(before, settings)
            texts = [msgspec.json.encode(change["new"]).decode() for change in changes.values()]
            await connection.execute(_SAVE, list(changes), texts, actor)
            await audit(connection, actor, "settings.save", resource="settings", details=changes)
        return settings


def revision_of(settings: Settings) -> str:
    """What changes whenever a setting takes effect with another value: there are no edits to count, only values."""
    return hashlib.sha256(settings.as_mode_allows().model_dump_json().encode()).hexdigest()[:16]


def _changes(before: dict[str, Any], settings: Settings) -> dict[str, dict[str, Any]]:
    """The old and the new value of each setting that is another than it was."""
    defaults = Settings().model_dump()
    return {
        name: {"old": before.get(name, defaults[name]), "new": value}
        for name, value in settings.model_dump().items()
        if before.get(name, defaults[name]) != value
    }


def _values(rows: list[asyncpg.Record]) -> dict[str, Any]:
    return {row[0]: msgspec.json.decode(row[1]) for row in rows}
