"""What people do to alerts: acknowledge them. A step like those that the pipeline takes, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

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

    from pulse_postgres.connections import Connections

_LOCK = f"SELECT {ALERT}, status FROM alerts WHERE tenant_id = $1 AND alert_id = $2 FOR UPDATE"

Routing = Callable[[Sequence[Route], AlertChange], tuple[tuple[Decision, ...], list[Delivery]]]
"""See :func:`pulse_core.routing.route`."""


class AlertRequests:
    """Every call names its tenant. ``pool`` is that customer's :class:`~pulse_postgres.connections.TenantPool`.

    :param routing: decides who is told.
    """

    def __init__(self, pool: Connections, routing: Routing) -> None:
        self._pool = pool
        self._routing = routing

    async def acknowledge(self, tenant_id: str, alert_id: uuid.UUID, *, actor: str) -> None:
        """Say that somebody looks after an open alert, and tell whom the routes name. Again changes nothing.

        :raises NotFound: there is no such alert. :raises Conflict: it is closed.
        """
        async with acting(self._pool) as connection:
            row = await connection.fetchrow(_LOCK, tenant_id, alert_id)
            if row is None:
                raise NotFound("there is no such alert")
            if row["status"] == AlertStatus.CLOSED:
                raise Conflict("the alert is closed already")
            if row["status"] == AlertStatus.ACKNOWLEDGED:
                return
            device = DeviceKey(tenant_id, row["device_id"])
            change = AlertChange(device, AlertEvent.ACKNOWLEDGED, open_alert(row), time.time_ns() // 1000)
            routes = [loaded_route(each) for each in await connection.fetch(TENANTS_ROUTES, tenant_id)]
            decisions, deliveries = self._routing(routes, change)
            happened = await write_changes(connection, [(change, decisions)])
            await write_deliveries(connection, deliveries, happened)
            told = {"deliveries": msgspec.to_builtins([delivery.delivery_id for delivery in deliveries])}
            resource = f"{tenant_id}/{alert_id}"
            await audit(connection, actor, "alert.acknowledge", tenant_id=tenant_id, resource=resource, details=told)
