"""Whether the schema is the one that this program brings. :mod:`pulse_postgres.migrate` makes it so."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import asyncpg

from pulse_core.errors import SchemaError
from pulse_postgres.pool import connect, login_refused, unavailable

TABLE = "_yoyo_migrations"
"""Where yoyo notes what was applied."""


def migrations_dir() -> Path:
    """Where the ``.sql`` files lie."""
    return Path(str(resources.files("pulse_postgres"))) / "migrations"


def known_ids() -> list[str]:
    """Ids of the migrations that this program brings, in order."""
    return sorted(path.stem for path in migrations_dir().glob("*.sql") if not path.name.endswith(".rollback.sql"))


async def check_schema(dsn: str) -> None:
    """Return if the schema is exactly the one that this program brings.

    :param dsn: of any login role.
    :raises SchemaError: it is missing, older, or newer; the text says what to run.
    :raises StoreUnavailable: the database does not answer.
    """
    judge(await _applied_ids(dsn), known_ids())


def judge(applied: list[str] | None, known: list[str]) -> None:
    """Compare what is applied (None: nothing ever was) with what this program knows. Pure; raises SchemaError."""
    if not applied:
        raise SchemaError("the database is empty: run `pulse migrate`")
    if newer := sorted(set(applied) - set(known)):
        raise SchemaError(
            f"the database was made by a newer program (it has {', '.join(newer)}): install that version, "
            "or restore a backup from before"
        )
    if missing := [name for name in known if name not in applied]:
        raise SchemaError(f"the database is only half-migrated (missing: {', '.join(missing)}): run `pulse migrate`")


async def _applied_ids(dsn: str) -> list[str] | None:
    try:
        with unavailable(), login_refused():
            connection = await connect(dsn, timeout=30, command_timeout=30)
            try:
                rows = await connection.fetch(f"SELECT migration_id FROM public.{TABLE}")
            finally:
                await connection.close()
    except (asyncpg.UndefinedTableError, asyncpg.InvalidCatalogNameError):
        return None
    except asyncpg.InsufficientPrivilegeError as error:
        raise SchemaError("the database is only half-migrated (no access to its list): run `pulse migrate`") from error
    return [row["migration_id"] for row in rows]
