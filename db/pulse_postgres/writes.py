"""The SQL of one batch. Every statement may run twice with the same outcome, so an unknown COMMIT is simply retried."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.records import AlertEvent, AlertStatus
from pulse_postgres.sqltime import at

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Sequence

    from asyncpg import Connection
    from asyncpg.pool import PoolConnectionProxy

    from pulse_core.records import AlertChange, Decision, Delivery, DeviceState, WriteSet

    Session = Connection | PoolConnectionProxy[Any]
    """A connection in a transaction."""
    Step = tuple[str, uuid.UUID, AlertEvent]
    """One step of an alert: tenant, alert, what happened."""

_STATES = f"""
    INSERT INTO device_state (tenant_id, device_id, status, status_since, status_until, last_seen_at, last_ts, last_seq,
                              source, memory, wake)
    SELECT t, d, st, {at("si")}, {at("un")}, {at("se")}, {at("ts")}, q, so, m::jsonb, w::jsonb
    FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                $8::bigint[], $9::text[], $10::text[], $11::text[]) AS x (t, d, st, si, un, se, ts, q, so, m, w)
    ON CONFLICT (tenant_id, device_id) DO UPDATE SET
        status = excluded.status, status_since = excluded.status_since, status_until = excluded.status_until,
        last_seen_at = excluded.last_seen_at, last_ts = excluded.last_ts, last_seq = excluded.last_seq,
        source = excluded.source, memory = excluded.memory, wake = excluded.wake
"""

_CLOSE_ALERTS = f"""
    UPDATE alerts SET status = 'CLOSED', closed_at = {at("x.at")}
    FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS x (t, id, at)
    WHERE tenant_id = x.t AND alert_id = x.id AND status <> 'CLOSED'
    RETURNING tenant_id, alert_id
"""

_ACKNOWLEDGE_ALERTS = f"""
    UPDATE alerts SET status = 'ACKNOWLEDGED', acknowledged_at = {at("x.at")}
    FROM unnest($1::text[], $2::uuid[], $3::bigint[]) AS x (t, id, at)
    WHERE tenant_id = x.t AND alert_id = x.id AND status = 'OPEN'
    RETURNING tenant_id, alert_id
"""

# What somebody closed by hand has ended: the next time it may open an alert again.
_RELEASE_ALERTS = """
    UPDATE alerts SET held = false FROM unnest($1::text[], $2::uuid[]) AS x (t, id)
    WHERE tenant_id = x.t AND alert_id = x.id AND held
"""

_OPEN_ALERTS = f"""
    INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity, confidence,
                        summary, details, opened_at, closed_at)
    SELECT t, id, d, s, ty, f, st, sev, c, su, de::jsonb, {at("op")}, {at("cl")}
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::smallint[],
                $9::real[], $10::text[], $11::text[], $12::bigint[], $13::bigint[])
        AS x (t, id, d, s, ty, f, st, sev, c, su, de, op, cl)
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, alert_id
"""

_STEPS = f"""
    INSERT INTO alert_changes (tenant_id, alert_id, event, changed_at, decisions, actor, note)
    SELECT t, id, e, {at("ts")}, j::jsonb, a, n
    FROM unnest($1::text[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[])
        AS x (t, id, e, ts, j, a, n)
    ON CONFLICT DO NOTHING
"""

_DELIVERIES = f"""
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause, notification,
                            due_at, caused_by)
    SELECT t, id, i, a, r, e, c, n::jsonb, {at("due")}, b
    FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[],
                $9::bigint[], $10::uuid[]) AS x (t, id, i, a, r, e, c, n, due, b)
    ON CONFLICT DO NOTHING
"""

_DEVICES_LEFT = """
    SELECT tenant_id, device_id FROM devices
    JOIN unnest($1::text[], $2::text[]) AS x (t, d) ON tenant_id = x.t AND device_id = x.d
"""

_INTEGRATIONS_LEFT = """
    SELECT tenant_id, integration_id FROM integrations
    JOIN unnest($1::text[], $2::uuid[]) AS x (t, i) ON tenant_id = x.t AND integration_id = x.i
"""


async def write_states(connection: Session, states: Sequence[DeviceState]) -> None:
    """Replace the row of each device. At most one state a device."""
    if not states:
        return
    await connection.execute(
        _STATES,
        [state.key.tenant_id for state in states],
        [state.key.device_id for state in states],
        [state.status for state in states],
        [state.status_since_us for state in states],
        [state.status_until_us for state in states],
        [state.last_seen_us or None for state in states],
        [state.last_ts_us or None for state in states],
        [state.last_seq for state in states],
        [state.source for state in states],
        [_json(state.memory) for state in states],
        [_json(state.wake_us) for state in states],
    )


async def write_changes(connection: Session, changes: Sequence[tuple[AlertChange, tuple[Decision, ...]]]) -> set[Step]:
    """Open, acknowledge and close alerts; return the steps that really happened.

    An alert does not open when another one with its fingerprint is not closed, is not acknowledged unless it is open,
    and does not close when it is closed already (somebody was faster, or this batch was committed before).
    """
    if not changes:
        return set()
    opened = [change for change, _ in changes if change.event is AlertEvent.OPEN]
    closed = {
        (change.device.tenant_id, change.alert.alert_id): change
        for change, _ in changes
        if change.event is AlertEvent.CLOSED
    }
    acknowledged = [change for change, _ in changes if change.event is AlertEvent.ACKNOWLEDGED]
    happened = await _move(connection, _ACKNOWLEDGE_ALERTS, acknowledged)
    happened |= await _move(connection, _CLOSE_ALERTS, list(closed.values()))
    happened |= await _open(connection, opened, closed)
    if over := [name for name in closed if (*name, AlertEvent.CLOSED) not in happened]:
        await connection.execute(_RELEASE_ALERTS, *map(list, zip(*over, strict=True)))
    steps = [
        (change, decisions)
        for change, decisions in changes
        if (change.device.tenant_id, change.alert.alert_id, change.event) in happened
    ]
    await _write_steps(connection, steps)
    return happened


async def _move(connection: Session, statement: str, changes: Sequence[AlertChange]) -> set[Step]:
    """Let alerts that exist take a step, all the same one."""
    if not changes:
        return set()
    rows = await connection.fetch(
        statement,
        [change.device.tenant_id for change in changes],
        [change.alert.alert_id for change in changes],
        [change.at_us for change in changes],
    )
    return {(row[0], row[1], changes[0].event) for row in rows}


async def _open(
    connection: Session,
    changes: Sequence[AlertChange],
    closed: dict[tuple[str, uuid.UUID], AlertChange],
) -> set[Step]:
    """Insert alerts; one that this same batch closes is inserted closed, so it cannot be in its successor's way."""
    if not changes:
        return set()
    ends = [closed.get((change.device.tenant_id, change.alert.alert_id)) for change in changes]
    rows = await connection.fetch(
        _OPEN_ALERTS,
        [change.device.tenant_id for change in changes],
        [change.alert.alert_id for change in changes],
        [change.device.device_id for change in changes],
        [change.alert.site_id for change in changes],
        [change.alert.alert_type for change in changes],
        [change.alert.fingerprint for change in changes],
        [AlertStatus.CLOSED if end else AlertStatus.OPEN for end in ends],
        [int(change.alert.severity) for change in changes],
        [change.alert.confidence for change in changes],
        [change.alert.summary for change in changes],
        [_json(change.alert.details) for change in changes],
        [change.alert.opened_us for change in changes],
        [end.at_us if end else None for end in ends],
    )
    happened: set[Step] = {(row[0], row[1], AlertEvent.OPEN) for row in rows}
    happened.update((row[0], row[1], AlertEvent.CLOSED) for row in rows if (row[0], row[1]) in closed)
    return happened


async def _write_steps(connection: Session, steps: Sequence[tuple[AlertChange, tuple[Decision, ...]]]) -> None:
    if not steps:
        return
    await connection.execute(
        _STEPS,
        [change.device.tenant_id for change, _ in steps],
        [change.alert.alert_id for change, _ in steps],
        [change.event for change, _ in steps],
        [change.at_us for change, _ in steps],
        [_json(decisions) for _, decisions in steps],
        [change.actor for change, _ in steps],
        [change.note for change, _ in steps],
    )


async def write_deliveries(connection: Session, deliveries: Sequence[Delivery], happened: Collection[Step]) -> None:
    """Insert deliveries; those caused by an alert change only if it happened."""
    wanted = [
        delivery
        for delivery in deliveries
        if delivery.cause != "alert" or (delivery.tenant_id, delivery.alert_id, delivery.event) in happened
    ]
    if not wanted:
        return
    await connection.execute(
        _DELIVERIES,
        [delivery.tenant_id for delivery in wanted],
        [delivery.delivery_id for delivery in wanted],
        [delivery.integration_id for delivery in wanted],
        [delivery.alert_id for delivery in wanted],
        [delivery.route_id for delivery in wanted],
        [delivery.event for delivery in wanted],
        [delivery.cause for delivery in wanted],
        [_json(delivery.notification) for delivery in wanted],
        [delivery.due_us for delivery in wanted],
        [delivery.caused_by for delivery in wanted],
    )


async def without_the_vanished(connection: Session, writes: WriteSet) -> WriteSet:
    """Leave out what hangs on devices and integrations that were deleted meanwhile. Readings hang on nothing.

    A decision whose delivery is left out did not match after all: its integration was gone when it was made.
    """
    keys = {state.key for state in writes.states} | {change.device for change, _ in writes.changes}
    targets = {(delivery.tenant_id, delivery.integration_id) for delivery in writes.deliveries}
    devices = await _left(connection, _DEVICES_LEFT, {(key.tenant_id, key.device_id) for key in keys})
    integrations = await _left(connection, _INTEGRATIONS_LEFT, targets)
    lost = [each for each in writes.deliveries if (each.tenant_id, each.integration_id) not in integrations]
    unmatched = {(each.tenant_id, each.alert_id, each.event, each.route_id) for each in lost if each.cause == "alert"}
    return msgspec.structs.replace(
        writes,
        states=[each for each in writes.states if (each.key.tenant_id, each.key.device_id) in devices],
        changes=[
            (change, tuple(_after_all(change, decision, unmatched) for decision in decisions))
            for change, decisions in writes.changes
            if (change.device.tenant_id, change.device.device_id) in devices
        ],
        deliveries=[each for each in writes.deliveries if (each.tenant_id, each.integration_id) in integrations],
    )


def _after_all(change: AlertChange, decision: Decision, unmatched: Collection[tuple[Any, ...]]) -> Decision:
    if (change.device.tenant_id, change.alert.alert_id, change.event, decision.route_id) not in unmatched:
        return decision
    return msgspec.structs.replace(decision, matched=False, failed="integration_deleted")


async def _left(connection: Session, sql: str, names: set[tuple[str, Any]]) -> set[tuple[str, Any]]:
    if not names:
        return set()
    columns = [list(column) for column in zip(*names, strict=True)]
    return {(row[0], row[1]) for row in await connection.fetch(sql, *columns)}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
