"""Commands as people read them: the newest first, of one tenant or of all (pulse_operator)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from pulse_core.errors import NotFound
from pulse_postgres.acting import asking
from pulse_postgres.incidents import of_each_tenant
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.sorting import By, Orders, Sorted

if TYPE_CHECKING:
    import asyncpg

    from pulse_postgres.connections import Connections

STATUS = "CASE WHEN status IN ('QUEUED', 'SENT') AND expires_at <= now() THEN 'EXPIRED' ELSE status END"
"""SQL for the status that is true now: the table is brought up to it only now and then."""

_SHOWN = f"""
    tenant_id, command_id, device_id, name, payload::text, {STATUS} AS status, created_at, created_by, expires_at,
    sent_at, acknowledged_at, way
"""
_COMMANDS = f"""
    SELECT c.* FROM tenants t CROSS JOIN LATERAL (
        SELECT {_SHOWN}, %s FROM device_commands WHERE tenant_id = t.tenant_id AND %s ORDER BY %s LIMIT %s) AS c
    WHERE %s ORDER BY %s LIMIT %s
"""
COMMAND_ORDERS = Orders(
    by={
        "created_at": By("created_at", datetime, backward=True),
        "expires_at": By("expires_at", datetime),
        "device_id": By("device_id"),
        "name": By("name"),
        "status": By(STATUS),
    },
    key={"tenant_id": By("tenant_id"), "command_id": By("command_id", uuid.UUID)},
    default="-created_at",
)

_ONE = f"SELECT {_SHOWN} FROM device_commands WHERE tenant_id = $1 AND command_id = $2"


class CommandFilter(Struct, frozen=True, kw_only=True):
    """Which commands; what is None does not matter."""

    device_id: str | None = None
    status: str | None = None

    def where(self) -> Where:
        """The conditions."""
        where = Where()
        where.add_given("device_id = {}", self.device_id)
        where.add_given(f"{STATUS} = {{}}", self.status)
        if self.status not in {None, "ACKNOWLEDGED"}:
            where.add("status <> 'ACKNOWLEDGED'")  # for the index of the few: nothing else tells that it will do
        return where


async def command_page(
    pool: Connections,
    wanted: CommandFilter,
    *,
    tenant_id: str | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Commands, the newest first unless ``sort`` is another of COMMAND_ORDERS."""
    part = Sorted(COMMAND_ORDERS, sort, limit, cursor)
    return part.page(await of_each_tenant(pool, _COMMANDS, "c", wanted.where(), part, tenant_id), _item)


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
