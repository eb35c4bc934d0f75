"""What people do to alerts: acknowledge, close. Steps like those that the pipeline takes, in one transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from enum import StrEnum
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

    Found = dict[uuid.UUID, asyncpg.Record]
    """Alerts by their ids."""

# In one order, so that no two people who choose the same alerts wait for each other.
_LOCK = f"""
    SELECT {ALERT}, status FROM alerts WHERE tenant_id = $1 AND alert_id = ANY ($2::uuid[])
    ORDER BY alert_id FOR UPDATE
"""
_HOLD = "UPDATE alerts SET held = true WHERE tenant_id = $1 AND alert_id = ANY ($2::uuid[])"

Routing = Callable[[Sequence[Route], AlertChange], tuple[tuple[Decision, ...], list[Delivery]]]
"""See :func:`pulse_core.routing.route`."""


class Outcome(StrEnum):
    """What became of one of several alerts."""

    DONE = "DONE"
    ACKNOWLEDGED_ALREADY = "ACKNOWLEDGED_ALREADY"
    CLOSED_ALREADY = "CLOSED_ALREADY"
    NOT_FOUND = "NOT_FOUND"


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
        await self._step_one(tenant_id, alert_id, AlertEvent.ACKNOWLEDGED, actor, note)

    async def close(self, tenant_id: str, alert_id: uuid.UUID, *, actor: str, note: str = "") -> None:
        """Close an alert by hand, and tell whom the routes name.

        It stays closed while what it told of goes on, and no other is opened for that. Once that has ended, the next
        time opens an alert again. This is so whatever is restarted meanwhile: see ``held`` in the schema.

        :raises NotFound: there is no such alert. :raises Conflict: it is closed.
        """
        await self._step_one(tenant_id, alert_id, AlertEvent.CLOSED, actor, note)

    async def step_all(
        self, tenant_id: str, alert_ids: Sequence[uuid.UUID], event: AlertEvent, *, actor: str, note: str = ""
    ) -> dict[uuid.UUID, Outcome]:
        """As :meth:`acknowledge` or :meth:`close`, several in one transaction: what became of each.

        :param event: ACKNOWLEDGED or CLOSED.
        :raises NotFound: there is none of them.
        """
        async with acting(self._pool) as connection:
            found = await _locked(connection, tenant_id, alert_ids)
            await self._step(connection, found, event, actor, note)
        return {alert_id: _outcome(found, alert_id, event) for alert_id in alert_ids}

    async def _step_one(self, tenant_id: str, alert_id: uuid.UUID, event: AlertEvent, actor: str, note: str) -> None:
        async with acting(self._pool) as connection:
            found = await _locked(connection, tenant_id, [alert_id])
            if found[alert_id]["status"] == AlertStatus.CLOSED:
                raise Conflict("the alert is closed already")
            await self._step(connection, found, event, actor, note)

    async def _step(
        self, connection: PoolConnectionProxy[Any], found: Found, event: AlertEvent, actor: str, note: str
    ) -> None:
        """Let those alerts take a step, the same one, that have not taken it yet."""
        rows = [row for row in found.values() if row["status"] in _BEFORE[event]]
        if not rows:
            return
        tenant_id, now_us = rows[0]["tenant_id"], time.time_ns() // 1000
        routes = [loaded_route(each) for each in await connection.fetch(TENANTS_ROUTES, tenant_id)]
        changes = [
            AlertChange(DeviceKey(tenant_id, row["device_id"]), event, open_alert(row), now_us, actor=actor, note=note)
            for row in rows
        ]
        decided = [(change, *self._routing(routes, change)) for change in changes]
        happened = await write_changes(connection, [(change, decisions) for change, decisions, _ in decided])
        await write_deliveries(connection, [each for _, _, deliveries in decided for each in deliveries], happened)
        for change, _, deliveries in decided:
            ids = msgspec.to_builtins([delivery.delivery_id for delivery in deliveries])
            resource = f"{tenant_id}/{change.alert.alert_id}"
            details = {"deliveries": ids, "note": note}
            await audit(connection, actor, _ACTIONS[event], tenant_id=tenant_id, resource=resource, details=details)
        if event is AlertEvent.CLOSED:
            await connection.execute(_HOLD, tenant_id, [row["alert_id"] for row in rows])


_BEFORE = {
    AlertEvent.ACKNOWLEDGED: (AlertStatus.OPEN,),
    AlertEvent.CLOSED: (AlertStatus.OPEN, AlertStatus.ACKNOWLEDGED),
}
"""In which status an alert can take the step."""
_ACTIONS = {AlertEvent.ACKNOWLEDGED: "alert.acknowledge", AlertEvent.CLOSED: "alert.close"}


async def _locked(connection: PoolConnectionProxy[Any], tenant_id: str, alert_ids: Sequence[uuid.UUID]) -> Found:
    """Those of the alerts that are there, as they are, until the transaction ends. Raises NotFound: none is."""
    found = {row["alert_id"]: row for row in await connection.fetch(_LOCK, tenant_id, list(alert_ids))}
    if not found:
        raise NotFound("there is no such alert")
    return found


def _outcome(found: Found, alert_id: uuid.UUID, event: AlertEvent) -> Outcome:
    """What became of an alert that was to take a step, by what it was before."""
    if alert_id not in found:
        return Outcome.NOT_FOUND
    if found[alert_id]["status"] == AlertStatus.CLOSED:
        return Outcome.CLOSED_ALREADY
    if found[alert_id]["status"] == AlertStatus.ACKNOWLEDGED and event is AlertEvent.ACKNOWLEDGED:
        return Outcome.ACKNOWLEDGED_ALREADY
    return Outcome.DONE
