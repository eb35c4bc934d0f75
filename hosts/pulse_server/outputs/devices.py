"""Devices, what they said, and their tokens."""

from __future__ import annotations

import uuid
from typing import Literal

from pydantic import Field

from pulse_core.device_connections import ConnectionEvent, Ending
from pulse_core.records import DeviceStatus
from pulse_server.inputs.fields import DeviceId, SiteId, TenantId
from pulse_server.outputs.alerts import Alert
from pulse_server.outputs.answers import Answer, PageOf, Time, Versioned

MetricValue = float | bool | str


class Device(Versioned):
    """A device and how it is doing."""

    tenant_id: TenantId
    device_id: DeviceId
    site_id: SiteId
    name: str
    labels: dict[str, str]
    status: DeviceStatus
    status_since: Time | None
    last_seen_at: Time | None
    """When we last received a message."""
    last_ts: Time | None
    """The newest time that the device gave."""
    source: str
    """The way in by which it came last."""
    activated: bool
    """It has a token."""
    revoked_at: Time | None
    stale_after_s: float | None
    """Its own; null: its tenant's."""
    created_at: Time
    updated_at: Time


DeviceList = PageOf[Device]


class LatestValue(Answer):
    """The newest value of a metric."""

    value: MetricValue
    ts: Time
    unit: str
    """What people said of the metric; empty: nothing."""
    low: float | None
    high: float | None
    """Its range, both ends included; null: none is set."""
    out_of_range: bool


class Reading(Answer):
    """One message of a device."""

    ts: Time
    received_at: Time
    msg_type: Literal["heartbeat", "telemetry", "event"]
    site_id: SiteId
    seq: int | None
    metrics: dict[str, MetricValue]


ReadingList = PageOf[Reading]


class DeviceConnection(Answer):
    """A connection that a device had, or has; or what happened at a way in besides, which begins and ends at once."""

    tenant_id: TenantId
    connection_id: uuid.UUID
    device_id: DeviceId
    source: str
    """The way in, as ``mqtt``."""
    protocol: str
    """As ``mqtts/5``."""
    address: str
    """The peer's."""
    client_id: str
    """What the device's client calls itself."""
    connected_at: Time
    disconnected_at: Time | None
    """Null: it lasts."""
    reason: Ending | None
    """How a connection ended."""
    event: ConnectionEvent | None
    """Null: a connection. REFUSED: a login in the device's name was refused. WILL: its last will was published."""
    detail: str
    """Of an event: the reason's name, or the will's topic and what became of it."""
    times: int
    """How many events like this one are meant, from when it began on."""


DeviceConnectionList = PageOf[DeviceConnection]


class DeviceDetail(Device):
    """A device with its latest values and its alerts that are not closed."""

    latest: dict[str, LatestValue]
    """By metric."""
    open_alerts: list[Alert]


class DeviceDetailForOperators(DeviceDetail):
    """A device with its newest readings as well."""

    telemetry: list[Reading]


class ActivationCode(Answer):
    """A one-time code, shown this once."""

    tenant_id: TenantId
    device_id: DeviceId
    code: str
    expires_at: Time


class DeviceToken(Answer):
    """A device's token, shown this once."""

    tenant_id: TenantId
    device_id: DeviceId
    token: str = Field(min_length=1)
