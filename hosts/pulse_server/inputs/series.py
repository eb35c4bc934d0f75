"""Which readings of a device, one by one or in buckets."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from pulse_core.api import Aggregate
from pulse_server.inputs.fields import Moment, Page, Query

if TYPE_CHECKING:
    from typing import Self

BUCKETS_AT_MOST = 2000
BUCKETS_BY_ITSELF = 300
"""So many are answered when it is not said from when on."""
METRICS_AT_MOST = 20
ROWS_AT_ONCE = 10_000
"""Readings in one answer, at most."""
_UNITS_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_BUCKET = re.compile(r"(\d+)([smhd]?)")
_OF_BUCKETS = ("metric", "agg", "sample")
_OF_LISTS = ("limit", "cursor", "msg_type")


def _aggregates(text: str) -> str:
    for each in text.split(","):
        if each not in list(Aggregate):
            raise ValueError(f"some of {', '.join(Aggregate)}, with commas between them")
    return text


def _metrics(text: str) -> str:
    if len(text.split(",")) > METRICS_AT_MOST:
        raise ValueError(f"more than {METRICS_AT_MOST} metrics")
    return text


Format = Literal["json", "csv"]
MetricNames = Annotated[str, StringConstraints(min_length=1, max_length=2000), AfterValidator(_metrics)]


class InBuckets(Query):
    """How numbers over time are told."""

    bucket: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{0,6}[smhd]?$")] | None = None
    """Answer with numbers in buckets of this length (``60``, ``60s``, ``1m``, ``1h``, ``1d``) instead of readings.

    At most 2,000 of them; without ``from``, the last 300; without ``to``, until now.
    """
    agg: Annotated[str, StringConstraints(max_length=60), AfterValidator(_aggregates)] = "avg"
    """With ``bucket``: some of avg, min, max, sum, count, first, last, with commas between them."""
    format: Format | None = None
    """As ``json`` or as ``csv``; none: as ``Accept`` says, which may be ``text/csv``."""

    @property
    def bucket_s(self) -> int:
        """How long a bucket is."""
        match = _BUCKET.fullmatch(self.bucket or "1")
        return int(match[1]) * _UNITS_S[match[2]] if match else 1

    @property
    def aggregates(self) -> list[Aggregate]:
        """Each once."""
        return [Aggregate(each) for each in dict.fromkeys(self.agg.split(","))]


class TelemetryQuery(InBuckets, Page):
    """Which readings of a device, in [start, end): newest first, or in buckets."""

    limit: int = Field(50, ge=1, le=ROWS_AT_ONCE)
    """Readings at once."""
    start: Moment | None = None
    end: Moment | None = None
    since: Moment | None = Field(None, alias="from")
    """The same as ``start``."""
    to: Moment | None = None
    """The same as ``end``."""
    msg_type: Literal["heartbeat", "telemetry", "event"] | None = None
    """Without ``bucket``: these messages alone."""
    metric: MetricNames | None = None
    """With ``bucket``: which metric, or which, with commas between them; at most 20. None: every one with numbers."""
    sample: bool = False
    """With ``bucket``: where there are very many readings, look at some of them only (``one_in`` says how many)."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        given = {"since": "from"}
        for one, other in (("start", "since"), ("end", "to")):
            if {one, other} <= self.model_fields_set:
                raise ValueError(f"give {one} or {given.get(other, other)}, not both")
        odd = _OF_BUCKETS if self.bucket is None else _OF_LISTS
        # What is as if it were not given does no harm: clients that are made from a document send every default.
        given_odd = {name for name in odd if getattr(self, name) != type(self).model_fields[name].default}
        if wrong := sorted(given_odd):
            raise ValueError(f"{', '.join(wrong)}: {'only' if self.bucket is None else 'not'} with bucket")
        return self

    @property
    def begins(self) -> Moment | None:
        """From when on, whatever it was called."""
        return self.start or self.since

    @property
    def ends(self) -> Moment | None:
        """Until when."""
        return self.end or self.to

    @property
    def metrics(self) -> list[str]:
        """Which; empty: all."""
        return list(dict.fromkeys(self.metric.split(","))) if self.metric else []
