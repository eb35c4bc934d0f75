"""Readings of several devices: which, in which groups; and those that are taken away as a file."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, model_validator

from pulse_postgres.device_groups import DEVICES_AT_MOST, LABEL
from pulse_postgres.exports import EXPORT_ORDERS, Wanted
from pulse_server.inputs.fields import LONG_ID, SMALL_ID, Body, DeviceId, Moment, OneOf, Page, SiteId, TenantId, Text
from pulse_server.inputs.readings import MetricName
from pulse_server.inputs.series import ROWS_AT_ONCE, InBuckets, MetricNames

if TYPE_CHECKING:
    from typing import Self

_NAMED_AT_MOST = 1000
_LONG, _SMALL = re.compile(LONG_ID), re.compile(SMALL_ID)
_OF_BUCKETS = ("by", "agg")
_OF_LISTS = ("limit", "cursor")


def _ids(pattern: re.Pattern[str]) -> AfterValidator:
    def check(text: str) -> str:
        ids = text.split(",")
        if len(ids) > _NAMED_AT_MOST or not all(pattern.fullmatch(each) for each in ids):
            raise ValueError(f"ids with commas between them, at most {_NAMED_AT_MOST}")
        return text

    return AfterValidator(check)


class AcrossQuery(InBuckets):
    """Readings of several devices in [from, to), by device and time; or their numbers in buckets, by group."""

    metric: MetricNames | None = None
    """Which metric, or which, with commas between them; at most 20. With ``bucket`` it must be named."""
    since: Moment | None = Field(None, alias="from")
    to: Moment | None = None
    device: Annotated[str, StringConstraints(min_length=1, max_length=4000), _ids(_LONG)] | None = None
    """Of these devices alone: ids with commas between them."""
    site: Annotated[str, StringConstraints(min_length=1, max_length=4000), _ids(_SMALL)] | None = None
    """At these sites alone: ids with commas between them."""
    label: Text | None = Field(None, min_length=1)
    """Of devices with this label alone: ``name:value``, or ``name`` for any value."""
    by: Annotated[str, StringConstraints(pattern=r"^(device|site|label:[^\x00-\x1f\x7f:]{1,200})$")] = "device"
    """With ``bucket``: a series for each ``device``, each ``site``, or each value of a label, ``label:name``."""
    limit: int = Field(1000, ge=1, le=ROWS_AT_ONCE)
    """Without ``bucket``: readings at once."""
    cursor: Annotated[str, StringConstraints(max_length=600)] | None = None
    """Without ``bucket``: ``next`` of the page before."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        odd = _OF_BUCKETS if self.bucket is None else _OF_LISTS
        if wrong := [name for name in odd if getattr(self, name) != type(self).model_fields[name].default]:
            raise ValueError(f"{', '.join(wrong)}: {'only' if self.bucket is None else 'not'} with bucket")
        if self.bucket is not None and self.metric is None:
            raise ValueError("name a metric, or several")
        return self

    @property
    def metrics(self) -> tuple[str, ...] | None:
        """Which; None: all."""
        return _listed(self.metric)

    @property
    def devices(self) -> tuple[str, ...] | None:
        """Which; None: all."""
        return _listed(self.device)

    @property
    def sites(self) -> tuple[str, ...] | None:
        """Which; None: all."""
        return _listed(self.site)

    @property
    def grouped_by(self) -> str:
        """What a column of groups is called."""
        return "label" if self.by.startswith(LABEL) else f"{self.by}_id"


class OperatorAcrossQuery(AcrossQuery):
    """As for customers, of one tenant."""

    tenant_id: TenantId


def _listed(text: str | None) -> tuple[str, ...] | None:
    return tuple(dict.fromkeys(text.split(","))) if text else None


class ExportBody(Body):
    """Readings to take away as a file: those for which all that is said here holds."""

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True)

    devices: list[DeviceId] | None = Field(None, max_length=DEVICES_AT_MOST)
    """Of these devices alone; none: of all."""
    sites: list[SiteId] | None = Field(None, max_length=_NAMED_AT_MOST)
    """At these sites alone; none: at all."""
    metrics: list[MetricName] | None = Field(None, max_length=200)
    """These alone, and only readings that have any of them; in CSV, each is a column. None: all."""
    since: Moment | None = Field(None, alias="from", title="From")
    """The first moment (UTC); none: as long as there are readings."""
    to: Moment | None = None
    """The moment before which it ends (UTC); none: now."""
    format: Literal["csv", "jsonl"] = "csv"
    """``csv`` for spreadsheets, with an apostrophe before texts that look like formulas; ``jsonl``: one JSON object a
    line."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.since is not None and self.since >= self.ends_at:
            raise ValueError("it ends before it begins")
        return self

    @property
    def ends_at(self) -> dt.datetime:
        """When it ends."""
        return self.to or dt.datetime.now(dt.UTC)

    @property
    def wanted(self) -> Wanted:
        """As it is kept."""
        return Wanted(
            format=self.format,
            devices=self.devices or None,
            sites=self.sites or None,
            metrics=list(dict.fromkeys(self.metrics)) if self.metrics else None,
            starts_at=self.since,
            ends_at=self.ends_at,
        )


class ExportPage(Page):
    """Which exports."""

    sort: Annotated[str, OneOf(EXPORT_ORDERS.names)] = EXPORT_ORDERS.default
