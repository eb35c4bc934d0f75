"""What operators watch: the plugins and the books."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Literal

from pydantic import Field

from pulse_server.outputs.answers import Answer, Time


class PluginFailure(Answer):
    """A delivery that a plugin's channel could not make, at one attempt."""

    channel: str
    at: Time
    outcome: Literal["TEMPORARY", "PERMANENT"]
    detail: str
    tenant_id: str
    integration_id: uuid.UUID
    integration_name: str
    delivery_id: uuid.UUID


class Plugin(Answer):
    """An installed plugin."""

    name: str
    version: str
    distribution: str
    summary: str
    contributes: list[str]
    """What it brought, as ``channel slack``."""
    status: Literal["enabled", "disabled", "load error", "config error", "failed self-check"]
    error: str
    """What is wrong, and what to do."""
    enabled: bool
    config: dict[str, dict[str, Any]]
    """The configuration of what it brought, by name; a secret that is set reads ``********``."""
    failures: list[PluginFailure]
    """What its channels failed at last, the newest first: at most 5 of each, among the 500 newest failures of all."""


class PluginList(Answer):
    """Every installed plugin, the enabled ones first."""

    items: list[Plugin]


class BookLine(Answer):
    """One thing that must hold: the same things, counted in two ways."""

    name: str
    claim: str
    left: dict[str, int]
    right: dict[str, int]
    difference: int = Field(ge=0)
    """How many there are too few or too many."""
    examples: list[dict[str, Any]]
    note: str
    """Why nothing was compared."""


class BookDay(Answer):
    """A day of readings."""

    day: dt.date
    accepted: int
    stored: int
    expired: int


class Books(Answer):
    """The books at one moment."""

    at: Time
    balanced: bool
    lines: list[BookLine]
    days: list[BookDay]
