"""Kinds of values, and what every body and every query has in common."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
)
from pydantic_core import core_schema

from pulse_core.records import Severity

if TYPE_CHECKING:
    from collections.abc import Sequence

GivenT = TypeVar("GivenT")

SMALL_ID = r"^[A-Za-z0-9_.:-]{1,64}$"
LONG_ID = r"^[A-Za-z0-9_.:-]{1,128}$"
_DAY_S = 24 * 3600
_DATED = re.compile(r"\d{4}-\d\d-\d\d")
USERNAME = r"^[a-z0-9][a-z0-9._@+-]{0,63}$"
Username = Annotated[str, StringConstraints(pattern=USERNAME)]
TenantId = Annotated[str, StringConstraints(pattern=SMALL_ID)]
SiteId = Annotated[str, StringConstraints(pattern=SMALL_ID)]
DeviceId = Annotated[str, StringConstraints(pattern=LONG_ID)]
AlertType = Annotated[str, StringConstraints(pattern=SMALL_ID)]
Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", strip_whitespace=True)]
ChannelType = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
StaleAfter = Annotated[float, Field(ge=0.001, le=31 * 86400, allow_inf_nan=False)]


def severity_number(value: Any) -> Any:
    """Take a severity by name (any case) or by number."""
    if isinstance(value, str):
        if value.upper() not in Severity.__members__:
            raise ValueError(f"one of {', '.join(Severity.__members__)}, or 1 to 5")
        return int(Severity[value.upper()])
    return value


def _as_text(moment: Any) -> Any:
    """Numbers, and texts that look like one, are not taken for seconds since the epoch."""
    if not (isinstance(moment, str) and _DATED.match(moment)):
        raise ValueError("not in ISO 8601")
    return moment


def given(value: GivenT | None) -> GivenT:
    """For ``field_validator``: a field that may be left out, but not be null. Raises ValueError."""
    if value is None:
        raise ValueError("leave it out, or give a value")
    return value


def in_utc(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


SeverityName = Literal["INFO", "NOTICE", "WARNING", "MAJOR", "CRITICAL"]
Moment = Annotated[datetime, Field(strict=False), BeforeValidator(_as_text), AfterValidator(in_utc)]
_SeverityInput = SeverityName | Annotated[int, Field(ge=1, le=5)]
SeverityNumber = Annotated[
    int, BeforeValidator(severity_number, json_schema_input_type=_SeverityInput), Field(ge=1, le=5)
]


def _severity_text(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else severity_number(value)


QuerySeverity = Annotated[int, BeforeValidator(_severity_text), Field(ge=1, le=5)]
"""As SeverityNumber, but a number is text, too."""


class OneOf:
    """In ``Annotated[str, OneOf(names)]``: one of these texts, which the OpenAPI document lists."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = list(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        """See pydantic's "custom types"."""
        return core_schema.literal_schema(self._names)


class Body(BaseModel):
    """A JSON body: exactly these fields, of exactly these types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class Query(BaseModel):
    """Query parameters: these alone, read from text."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Page(Query):
    """Which part of a list."""

    limit: int = Field(50, ge=1, le=200)
    cursor: Annotated[str, StringConstraints(max_length=600)] | None = None
    """``next`` of the page before."""


class TenantPage(Page):
    """A list that can be narrowed to one tenant."""

    tenant_id: TenantId | None = None
