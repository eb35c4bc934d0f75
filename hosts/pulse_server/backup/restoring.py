"""Bringing a backup back: beside its place, and there only when it works."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from msgspec import Struct

from pulse_core.errors import ConfigError, SchemaError
from pulse_postgres.accounts import ROLES, role_dsn
from pulse_postgres.migrate import migrate
from pulse_postgres.roles import ensure_roles
from pulse_server import key_file
from pulse_server.backup import programs
from pulse_server.backup.archive import Archive, opened
from pulse_server.backup.manifest import Manifest, demand_known_schema, missing_keys
from pulse_server.database import postgres_dir
from pulse_server.embedded import EmbeddedPostgres, lock
from pulse_server.embedded.cluster import sync
from pulse_server.secret_key import path_of, secret_keys

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pulse_core.config import Config

_TABLES = (
    "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm')"
)
_UNGUARDED = """
    SELECT relname FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    AND NOT (relrowsecurity AND relforcerowsecurity)
    AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'tenant_id')
"""


class Restored(Struct, frozen=True):
    """What was done. ``aside``: where lies what was there before; ``readers``: whose logins are to be made again."""

    manifest: Manifest
    migrated: list[str]
    readers: list[str]
    aside: Path | None = None


def restore(
    config: Config, path: Path, *, force: bool, without_key: bool, told: Callable[[str, int, int], None]
) -> Restored:
    """Bring a backup back, into ``data_dir`` or into the empty database at ``database_url``. Blocks.

    The roles are made anew, with the passwords of the key that is there now, and newer migrations are applied.

    :param force: move an embedded database that is there aside. One that runs is never touched.
    :param without_key: go on although the key is missing, without the secrets that were stored.
    :param told: hears what goes on, and how far that is.
    :raises PulseError: it cannot be; nothing was changed.
    """
    with opened(path, lambda done, total: told("checking", done, total)) as archive:
        demand_known_schema(archive.manifest)
        key, keep = _keys(config, archive, without_key=without_key)
        if config.database_url is not None:
            url = config.database_url.get_secret_value()
            _demand_empty(url)
            restored = _load(url, key, archive, told)
            keep()
            return restored
        return _embedded(config, archive, key, keep, force=force, told=told)


def _keys(config: Config, archive: Archive, *, without_key: bool) -> tuple[str, Callable[[], None]]:
    """The key in force from now on, and what is to be done to keep it.

    :raises ConfigError: what the backup was encrypted with is not there.
    """
    place = path_of(config)
    carried = (archive.key or "").split()
    if config.secret_key is None and not place.exists() and carried:
        if not all(key_file.fits(key) for key in carried):
            raise ConfigError("the backup's secret.key holds something else than keys")
        return carried[0], lambda: key_file.put(place, carried)
    at_hand = secret_keys(config) if config.secret_key is not None or place.exists() else ()
    if (missing := missing_keys(archive.manifest, at_hand)) and not without_key:
        where = "secret_key and previous_secret_keys" if config.secret_key is not None else str(place)
        raise ConfigError(
            f"the stored secrets in this backup cannot be read without its secret key ({', '.join(missing)}), which is "
            f"not in {where}: put it there, or go on with --without-key and enter every secret anew"
        )
    return (at_hand or secret_keys(config))[0], lambda: None


def _embedded(
    config: Config,
    archive: Archive,
    key: str,
    keep: Callable[[], None],
    *,
    force: bool,
    told: Callable[[str, int, int], None],
) -> Restored:
    """Restore into a cluster beside its place, and change places when it is whole."""
    place = postgres_dir(config).absolute()
    with _held(place):
        if (place / "cluster").exists() and not force:
            raise ConfigError(
                f"there is a database in {place}: --force moves it aside and restores; nothing is removed"
            )
        place.parent.mkdir(parents=True, exist_ok=True)
        beside = place.with_name(f"{place.name}.restoring-{os.getpid()}")
        try:
            restored = _made(beside, key, archive, told)
            aside = _swapped(beside, place)
            keep()
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return Restored(restored.manifest, restored.migrated, restored.readers, aside)


@contextmanager
def _held(place: Path) -> Iterator[None]:
    """Nobody starts what is there meanwhile. Raises ConfigError when somebody runs it."""
    if not place.exists():
        yield
        return
    handle = lock.take(place)
    try:
        yield
    finally:
        os.close(handle)


def _made(beside: Path, key: str, archive: Archive, told: Callable[[str, int, int], None]) -> Restored:
    server = EmbeddedPostgres(beside)
    try:
        return _load(server.start(), key, archive, told)
    finally:
        server.stop()


def _swapped(beside: Path, place: Path) -> Path | None:
    """Put the new one in its place, and say where the old one went; it stays where it is when that fails."""
    aside = place.with_name(f"{place.name}.before-restore-{datetime.now(UTC):%Y%m%dT%H%M%SZ}")
    there = place.exists()
    if there:
        place.rename(aside)
    try:
        beside.rename(place)
    except OSError:
        if there:
            aside.rename(place)
        raise
    sync(place.parent)
    return aside if there else None


def _load(url: str, key: str, archive: Archive, told: Callable[[str, int, int], None]) -> Restored:
    """Roles, then all the rows, then what this program's schema has besides; then look whether it is all there."""
    with psycopg.connect(url, autocommit=True, connect_timeout=30) as connection:
        ensure_roles(connection, key)
    done = 0

    def pieces() -> Iterator[bytes]:
        nonlocal done
        for chunk in archive.database():
            yield chunk
            done += len(chunk)
            told("restoring", done, archive.manifest.database_bytes)

    programs.load(url, pieces())
    migrated = migrate(url, key)
    return Restored(archive.manifest, migrated, _judged(url, key))


def _judged(url: str, key: str) -> list[str]:
    """Return the readers whose logins are to be made, once it is certain that tenants are kept apart as before."""
    with psycopg.connect(url) as connection:
        if unguarded := [row[0] for row in connection.execute(_UNGUARDED)]:
            raise SchemaError(f"row-level security is not forced on {', '.join(unguarded)}: this is no backup of ours")
        readers = [
            f"{row[0]}/{row[1]}" for row in connection.execute("SELECT tenant_id, name FROM readers ORDER BY 1, 2")
        ]
    for role in ROLES:
        psycopg.connect(role_dsn(url, role, key), connect_timeout=30).close()
    return readers


def _demand_empty(url: str) -> None:
    with psycopg.connect(url, connect_timeout=30) as connection:
        row = connection.execute(_TABLES).fetchone()
    if row is None or row[0]:
        raise ConfigError("the database at database_url is not empty: restore into a new one")
