"""Commands as people read them: the newest first, of one tenant or of all (pulse_operator)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pulse_core.errors import NotFound
from pulse_postgres.acting import asking
from pulse_postgres.incidents import newest
from pulse_postgres.paging import Page, Where, item_of, page_of
from pulse_postgres.sqltime import us

if TYPE_CHECKING:
    import uuid

    import asyncpg

    from pulse_postgres.connections import Connections

STATUS = "CASE WHEN status IN ('QUEUED', 'SENT') AND expires_at <= now() THEN 'EXPIRED' ELSE status END"
"""SQL for the status that is true now: the table is brought up to it only now and then."""

_SHOWN = f"""
    tenant_id, command_id, device_id, name, payload::text, {STATUS} AS status, created_at, created_by, expires_at,
    sent_at, acknowledged_at, way
"""
_COMMANDS = f"""
    SELECT c.*, {us("c.created_at")} AS position
    FROM tenants t CROSS JOIN LATERAL (
        SELECT {_SHOWN} FROM device_commands WHERE tenant_id = t.tenant_id AND %s
        ORDER BY created_at DESC, command_id LIMIT %s) AS c
    WHERE %s ORDER BY c.created_at DESC, c.command_id LIMIT %s
"""
_ONE = f"SELECT {_SHOWN} FROM device_commands WHERE tenant_id = $1 AND command_id = $2"


class CommandFilter(Struct, frozen=True, kw_only=True):
    """Which commands; what is None does not matter."""

    device_id: str | None = None
    status: str | None = None


async def command_page(
    pool: Connections,
    wanted: CommandFilter,
    *,
    tenant_id: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Commands, the newest first."""
    inner = Where()
    inner.add_given("device_id = {}", wanted.device_id)
    inner.add_given(f"{STATUS} = {{}}", wanted.status)
    if wanted.status not in {None, "ACKNOWLEDGED"}:
        inner.add("status <> 'ACKNOWLEDGED'")  # for the index of the few: nothing else tells that it will do
    rows, limit = await newest(pool, _COMMANDS, inner, ("created_at", "command_id"), tenant_id, limit, cursor)
    return page_of(rows, limit, _item, "position", "command_id")


async def one_command(pool: Connections, tenant_id: str, command_id: uuid.UUID) -> dict[str, Any]:
    """One command. Raises NotFound."""
    with asking():
        row = await pool.fetchrow(_ONE, tenant_id, command_id)
    if row is None:
        raise NotFound("there is no such command")
    return _item(row)


def _item(row: asyncpg.Record) -> dict[str, Any]:
    """The payload stays the JSON text that it is."""
    return {**item_of(row), "payload": msgspec.Raw(row["payload"].encode())}
