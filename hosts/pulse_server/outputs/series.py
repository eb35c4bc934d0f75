"""Numbers over time, as charts draw them."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, RootModel

from pulse_server.outputs.answers import Answer, Time
from pulse_server.outputs.devices import ReadingList


class SeriesItem(Answer):
    """What belongs into one chart: one or more lines over the same times."""

    name: str
    """The metric, or what is counted."""
    bucket_s: int = Field(ge=1)
    at: list[Time]
    """When each bucket begins, in order."""
    values: dict[str, list[float]]
    """By line (an aggregate, or what was counted): a number for each bucket."""


class SeriesAnswer(Answer):
    """Numbers in buckets, in [start, end)."""

    start: Time
    end: Time
    series: list[SeriesItem]


class DeviceSeries(SeriesAnswer):
    """A device's metrics in buckets; those without a number are left out."""

    one_in: int = Field(ge=1)
    """Of so many readings one was looked at: with more than 1, ``count`` and ``sum`` are estimates."""
    more_metrics: bool
    """It has more metrics than these; name others to see them."""


class Telemetry(RootModel[ReadingList | DeviceSeries]):
    """Readings; with ``bucket``, numbers in buckets."""

    also_as: ClassVar[tuple[str, ...]] = ("text/csv",)
