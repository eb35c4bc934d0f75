"""How everything is doing, in numbers. What counts nothing is left out."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pulse_server.outputs.answers import Answer

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


class OperatorDashboard(Dashboard):
    """Everything in numbers."""

    tenants: dict[str, Count]
    """By status."""
