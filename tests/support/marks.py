"""A mark left in everything of a tenant's, and a look for it in every table that there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.types.json import Json, Jsonb

from support.tables import TENANT_TABLES

if TYPE_CHECKING:
    from collections.abc import Mapping

Connection = psycopg.Connection[Any]

_TABLES = """
    SELECT relname::text FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'm', 'f') AND NOT relispartition
"""
_COLUMNS = """
    SELECT attname::text, atttypid::regtype::text, EXISTS (
        SELECT FROM pg_constraint WHERE conrelid = attrelid AND contype <> 'n' AND attnum = ANY (conkey)
        UNION ALL SELECT FROM pg_index WHERE indrelid = attrelid AND indisunique AND attnum = ANY (indkey)) AS bound
    FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
"""
_HASH_BYTES = 32


def found(connection: Connection, mark: str) -> dict[str, int]:
    """How many rows of each table have the mark in any column, as text or as bytes; only tables where it is."""
    look = sql.SQL("SELECT count(*) FROM {} t WHERE to_jsonb(t)::text ~ %s")
    counts = {}
    for (table,) in connection.execute(_TABLES).fetchall():
        query = look.format(sql.Identifier(table))
        ((count,),) = connection.execute(query, (f"{mark}|{mark.encode().hex()}",))
        counts[table] = count
    return {table: count for table, count in counts.items() if count}


def leave(connection: Connection, tenant_id: str, mark: str) -> None:
    """Put the mark into every column of the tenant's rows that takes it.

    Fails for a table that has no row of the tenant, or has columns that nothing binds and none of which took the mark:
    of such a table nothing could be proven.
    """
    for (table,) in connection.execute(TENANT_TABLES).fetchall():
        columns = connection.execute(_COLUMNS, (table,)).fetchall()
        values = {name: _MARKED[kind](mark) for name, kind, _ in columns if kind in _MARKED and name != "tenant_id"}
        taken = {name for name in values if _takes(connection, table, tenant_id, {name: values[name]})}
        free = {name for name, _, bound in columns if name in values and not bound}
        assert free <= taken, f"{table}: {free - taken} took no mark; is there a row of {tenant_id}?"


def _takes(connection: Connection, table: str, tenant_id: str, values: Mapping[str, Any]) -> bool:
    ((name, value),) = values.items()
    change = sql.SQL("UPDATE {} SET {} = %s WHERE tenant_id = %s").format(sql.Identifier(table), sql.Identifier(name))
    try:
        with connection.transaction():
            changed = connection.execute(change, (value, tenant_id)).rowcount
    except psycopg.errors.IntegrityError:
        return False
    assert changed, f"{table}: there is no row of {tenant_id}, so nothing can be proven of it"
    return True


_MARKED: dict[str, Any] = {
    "text": str,
    "character varying": str,
    "text[]": lambda mark: [mark],
    "json": lambda mark: Json({mark: mark}),
    "jsonb": lambda mark: Jsonb({mark: mark}),
    "bytea": lambda mark: mark.encode().ljust(_HASH_BYTES, b"."),
}
