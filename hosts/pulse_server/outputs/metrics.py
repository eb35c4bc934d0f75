"""A tenant's metrics."""

from __future__ import annotations

from pulse_server.inputs.fields import TenantId
from pulse_server.outputs.answers import PageOf, Time, Versioned


class Metric(Versioned):
    """A metric: what is said of it, and how many devices send it. While nothing is said its ``revision`` is 0."""

    tenant_id: TenantId
    name: str
    unit: str
    """Empty: nobody said."""
    description: str
    low: float | None
    """Values below are out of range; null: none is too low."""
    high: float | None
    """Values above are out of range; null: none is too high."""
    devices: int | None
    """So many sent it in the last 7 days, as of a minute ago; null: that is not known now."""
    updated_at: Time | None
    """When this was said."""
    updated_by: str | None


MetricList = PageOf[Metric]
