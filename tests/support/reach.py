"""How far each login role reaches into a table when nothing but row-level security holds it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import sql

from pulse_postgres.accounts import READERS, ROLES
from support import policies
from support.two_tenants import TENANTS

if TYPE_CHECKING:
    from collections.abc import Iterator

Connection = psycopg.Connection[Any]

OURS = TENANTS[0]
_ELSEWHERE = "elsewhere"
_COLUMNS = """
    SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
    AND attgenerated = '' ORDER BY attnum
"""


class Difference(NamedTuple):
    """Where a role reaches what it is not to, or does not reach what it is to."""

    role: str
    tenant_id: str | None
    deed: str
    found: object
    wanted: object


class Table:
    """One table, its columns, and a row of each tenant (``*`` in tables without tenants)."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self.name = name
        self._columns = [row[0] for row in connection.execute(_COLUMNS, (name,))]
        self._of_tenants = "tenant_id" in self._columns
        self._who = sql.Identifier("tenant_id") if self._of_tenants else sql.Literal("*")
        look = sql.SQL("SELECT {}, to_jsonb(t)::text FROM {} t").format(self._who, self._table)
        self._rows = {str(who): row for who, row in connection.execute(look)}
        assert self._rows, f"{name}: nothing can be shown without a row in it"

    @property
    def _table(self) -> sql.Identifier:
        return sql.Identifier(self.name)

    def differences(self) -> Iterator[Difference]:
        """Everything that is not as :mod:`support.policies` says; lazily, so that whoever needs one waits for one."""
        rows = frozenset(self._rows)
        for role in (*ROLES, READERS):
            for tenant_id in (OURS, None):
                wanted = {
                    command: policies.expected(self.name, role, command, rows, tenant_id)
                    for command in ("SELECT", "INSERT", "UPDATE", "DELETE")
                }
                for deed, found in self._deeds(role, tenant_id, wanted["UPDATE"]):
                    right = self._moves(role, wanted["UPDATE"]) if deed == "MOVE" else wanted[deed]
                    if found != right:
                        yield Difference(role, tenant_id, deed, found, right)

    def _deeds(self, role: str, tenant_id: str | None, changeable: frozenset[str]) -> Iterator[tuple[str, object]]:
        first = sql.Identifier(self._columns[0])
        yield "SELECT", self._reached(role, tenant_id, "SELECT {who} FROM {table}")
        yield "INSERT", frozenset(who for who in self._rows if self._inserts(role, tenant_id, who))
        update = "UPDATE {table} SET {first} = {first} RETURNING {who}"
        yield "UPDATE", self._reached(role, tenant_id, update, first=first)
        yield "DELETE", self._reached(role, tenant_id, "DELETE FROM {table} RETURNING {who}")
        if self._of_tenants and changeable:
            move = sql.SQL("UPDATE {} SET tenant_id = {}").format(self._table, sql.Literal(_ELSEWHERE))
            yield "MOVE", self._passes(role, tenant_id, move)

    def _moves(self, role: str, changeable: frozenset[str]) -> bool:
        """Whether a role may give the rows that it can change to another tenant."""
        return bool(changeable) and policies.OWN not in policies.of_role(self.name, role)

    def _reached(self, role: str, tenant_id: str | None, query: str, **more: sql.Composable) -> frozenset[str]:
        statement = sql.SQL(query).format(table=self._table, who=self._who, **more)
        return frozenset(str(row[0]) for row in self._as(role, tenant_id, statement))

    def _inserts(self, role: str, tenant_id: str | None, who: str) -> bool:
        """Whether the policies let a role put this row there. Whatever else speaks against it is judged later."""
        columns = sql.SQL(", ").join(map(sql.Identifier, self._columns))
        insert = sql.SQL("INSERT INTO {t} ({c}) SELECT {c} FROM jsonb_populate_record(NULL::{t}, {row})")
        row = sql.Literal(self._rows[who])
        return self._passes(role, tenant_id, insert.format(t=self._table, c=columns, row=row + sql.SQL("::jsonb")))

    def _passes(self, role: str, tenant_id: str | None, statement: sql.Composed) -> bool:
        try:
            self._as(role, tenant_id, statement)
        except psycopg.errors.InsufficientPrivilege as error:
            if "row-level security" not in str(error):
                raise
            return False
        except psycopg.errors.IntegrityError:
            return True
        return True

    def _as(self, role: str, tenant_id: str | None, statement: sql.Composed) -> list[tuple[Any, ...]]:
        """Run a statement as a role, and take it back."""
        setting = f"SELECT set_config('app.tenant_id', '{tenant_id}', true)" if tenant_id else "SELECT"
        self._connection.execute(f"SAVEPOINT deed; SET LOCAL ROLE {role}; {setting}".encode())
        try:
            cursor = self._connection.execute(statement)
            return cursor.fetchall() if cursor.description else []
        finally:
            self._connection.execute("ROLLBACK TO SAVEPOINT deed")
