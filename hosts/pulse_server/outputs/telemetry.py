"""Readings of several devices, and those that are taken away as a file, as they are shown."""

from __future__ import annotations

import uuid
from typing import ClassVar, Literal

from pydantic import Field, RootModel

from pulse_server.outputs.answers import Answer, PageOf, Time
from pulse_server.outputs.devices import Reading
from pulse_server.outputs.series import SeriesItem


class DeviceReading(Reading):
    """One message, and whose it is."""

    device_id: str


class GroupSeries(Answer):
    """The numbers of a device, of a site, or of the devices with the same value of a label."""

    group: str
    """The device's id, the site's, or the label's value."""
    series: list[SeriesItem]


class GroupedSeries(Answer):
    """Metrics in buckets, by group; groups and metrics without a number are left out."""

    start: Time
    end: Time
    by: str
    groups: list[GroupSeries]


class TelemetryAcross(RootModel[PageOf[DeviceReading] | GroupedSeries]):
    """Readings of several devices, by device and time; with ``bucket``, numbers in buckets by group."""

    also_as: ClassVar[tuple[str, ...]] = ("text/csv",)


class Export(Answer):
    """A file of readings: what was asked for, and how far it is."""

    export_id: uuid.UUID
    format: Literal["csv", "jsonl"]
    devices: list[str] | None
    """None: of all."""
    sites: list[str] | None
    metrics: list[str] | None
    starts_at: Time | None
    """None: from the first reading."""
    ends_at: Time
    status: Literal["PENDING", "RUNNING", "DONE", "FAILED", "CANCELLED", "EXPIRED"]
    readings: int = Field(ge=0)
    """So many are written."""
    bytes: int = Field(ge=0)
    """So long is the file, as far as it is written."""
    share: float = Field(ge=0, le=1)
    """About how much of it is done: by the device that it is at."""
    error: str
    """Why it FAILED."""
    created_at: Time
    created_by: str
    started_at: Time | None
    finished_at: Time | None
    expires_at: Time | None
    """When its file goes."""


ExportList = PageOf[Export]


class ExportFile(RootModel[str]):
    """The file."""

    media_type: ClassVar[str] = "text/csv"
    also_as: ClassVar[tuple[str, ...]] = ("application/jsonl",)
