"""How everything is doing, in numbers. What counts nothing is left out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pulse_server.inputs.fields import TenantId
from pulse_server.outputs.answers import Answer, PageOf, Time

Count = Annotated[int, Field(ge=0)]


class Dashboard(Answer):
    """A tenant in numbers."""

    devices: dict[str, Count]
    """By status."""
    alerts: dict[str, Count]
    """Those that are not closed, by the name of their severity."""
    deliveries: dict[str, Count]
    """By status; those that are finished if they were made in the last 24 hours."""
    rejected: dict[str, Count]
    """Refused messages by reason, of the last ``rejected_over_min`` minutes."""
    rejected_over_min: int


class TenantHealth(Answer):
    """How a tenant is doing. Here zeros stand, too."""

    tenant_id: TenantId
    name: str
    status: Literal["ACTIVE", "SUSPENDED"]
    devices: dict[str, Count]
    """By status."""
    alerts: dict[str, Count]
    """Those that are not closed, by the name of their severity."""
    waiting: Count
    """Deliveries that are not finished."""
    retrying: Count
    """Those of them that failed at least once."""
    dead: Count
    """Deliveries of the last 24 hours that were given up."""
    rejected_per_min: float
    """Refused messages, over the last five minutes."""


class Intake(Answer):
    """What came in lately, of all tenants."""

    accepted_per_min: float
    rejected_per_min: float
    slowest_ms: float | None
    """So long the slowest message took from its arrival until it was stored; null: none came within five minutes."""
    last_at: Time | None
    """The last minute in which something came; null: none within two days."""


class IntakeQuarter(Answer):
    """What came in a quarter of an hour."""

    at: Time
    """When it began."""
    accepted: Count
    rejected: Count
    slowest_ms: float | None


class Database(Answer):
    """The database."""

    size_bytes: Count
    connections: Count
    """Of everybody."""
    max_connections: Count


class Platform(Answer):
    """What the database knows of the processes that work with it. Whether one is ready it says itself: /readyz."""

    database: Database
    roles: dict[str, Count]
    """How many connections the processes of each role have."""
    partitions: Count
    """Into so many parts the devices are divided."""
    served: Count
    """So many of them a pipeline is at work on."""
    overdue_s: float
    """For so long the delivery that is due first has been so; 0: none is due."""


class OperatorDashboard(Dashboard):
    """Everything in numbers."""

    tenants: dict[str, Count]
    """By status."""
    intake: Intake
    history: list[IntakeQuarter]
    """The last 24 hours, the oldest first."""
    platform: Platform
    health: PageOf[TenantHealth]
    """Tenants, the worst first."""
