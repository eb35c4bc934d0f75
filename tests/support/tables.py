"""The tables of the schema, as the catalogue tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.batches import judged

if TYPE_CHECKING:
    from support.database import Database

_TENANT_TABLES = """
    SELECT relname::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
"""


def tenant_tables(database: Database) -> set[str]:
    """Every table whose rows belong to a tenant."""
    return {name for (name,) in judged(database, _TENANT_TABLES)}
