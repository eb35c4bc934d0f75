"""What people do to alerts: acknowledge, close. Steps like those that the pipeline takes, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.errors import Conflict, NotFound
from pulse_core.records import AlertChange, AlertEvent, AlertStatus, Decision, Delivery, DeviceKey, Route
from pulse_postgres.acting import acting
from pulse_postgres.audit import audit
from pulse_postgres.routes import TENANTS_ROUTES, loaded_route
from pulse_postgres.states import ALERT, open_alert
from pulse_postgres.writes import write_changes, write_deliveries

if TYPE_CHECKING:
    import uuid

    import asyncpg
    from asyncpg.pool import PoolConnectionProxy

    from pulse_postgres.connections import Connections

_LOCK = f"SELECT {ALERT}, status FROM alerts WHERE tenant_id = $1 AND alert_id = $2 FOR UPDATE"
_HOLD = "UPDATE alerts SET held = true WHERE tenant_id = $1 AND alert_id = $2"

Routing = Callable[[Sequence[Route], AlertChange], tuple[tuple[Decision, ...], list[Delivery]]]
"""See :func:`pulse_core.routing.route`."""


class AlertRequests:
    """Every call names its tenant. ``pool`` is that customer's :class:`~pulse_postgres.connections.TenantPool`.

    :param routing: decides who is told.
    """

    def __init__(self, pool: Connections, routing: Routing) -> None:
        self._pool = pool
        self._routing = routing

    async def acknowledge(self, tenant_id: str, alert_id: uuid.UUID, *, actor: str, note: str = "") -> None:
        """Say that somebody looks after an open alert, and tell whom the routes name. Again changes nothing.

        :raises NotFound: there is no such alert. :raises Conflict: it is closed.
        """
        async with acting(self._pool) as connection:
            row = await _open_one(connection, tenant_id, alert_id)
            if row["status"] != AlertStatus.ACKNOWLEDGED:
                await self._step(connection, row, AlertEvent.ACKNOWLEDGED, actor, note)

    async def close(self, tenant_id: str, alert_id: uuid.UUID, *, actor: str, note: str = "") -> None:
        """Close an alert by hand, and tell whom the routes name.

        It stays closed while what it told of goes on, and no other is opened for that. Once that has ended, the next
        time opens an alert again. This is so whatever is restarted meanwhile: see ``held`` in the schema.

        :raises NotFound: there is no such alert. :raises Conflict: it is closed.
        """
        async with acting(self._pool) as connection:
            row = await _open_one(connection, tenant_id, alert_id)
            await self._step(connection, row, AlertEvent.CLOSED, actor, note)
            await connection.execute(_HOLD, tenant_id, alert_id)

    async def _step(
        self, connection: PoolConnectionProxy[Any], row: asyncpg.Record, event: AlertEvent, actor: str, note: str
    ) -> None:
        tenant_id = row["tenant_id"]
        device = DeviceKey(tenant_id, row["device_id"])
        change = AlertChange(device, event, open_alert(row), time.time_ns() // 1000, actor=actor, note=note)
        routes = [loaded_route(each) for each in await connection.fetch(TENANTS_ROUTES, tenant_id)]
        decisions, deliveries = self._routing(routes, change)
        happened = await write_changes(connection, [(change, decisions)])
        await write_deliveries(connection, deliveries, happened)
        details = {"deliveries": msgspec.to_builtins([delivery.delivery_id for delivery in deliveries]), "note": note}
        await audit(
            connection,
            actor,
            _ACTIONS[event],
            tenant_id=tenant_id,
            resource=f"{tenant_id}/{row['alert_id']}",
            details=details,
        )


_ACTIONS = {AlertEvent.ACKNOWLEDGED: "alert.acknowledge", AlertEvent.CLOSED: "alert.close"}


async def _open_one(connection: PoolConnectionProxy[Any], tenant_id: str, alert_id: uuid.UUID) -> asyncpg.Record:
    row: asyncpg.Record | None = await connection.fetchrow(_LOCK, tenant_id, alert_id)
    if row is None:
        raise NotFound("there is no such alert")
    if row["status"] == AlertStatus.CLOSED:
        raise Conflict("the alert is closed already")
    return row
