"""What people say of metrics, and which of them a list shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, StringConstraints, model_validator

from pulse_server.inputs.fields import Body, OneOf, Page, Text

if TYPE_CHECKING:
    from typing import Self

METRIC_ORDERS: Final = ("name", "-name", "unit", "-unit", "devices", "-devices", "updated_at", "-updated_at")
_UNIT: Final = 32
_DESCRIPTION: Final = 500
_LINE = r"^[^\x00-\x1f\x7f]*$"

Bound = Annotated[float, Field(allow_inf_nan=False, ge=-1e300, le=1e300)]


class MetricBody(Body):
    """What is said of a metric, in place of what was said before."""

    unit: Annotated[str, StringConstraints(max_length=_UNIT, pattern=_LINE, strip_whitespace=True)] = ""
    """As it is to stand beside a value, such as ``°C``."""
    description: Annotated[str, StringConstraints(max_length=_DESCRIPTION, pattern=_LINE, strip_whitespace=True)] = ""
    """What it measures, and where."""
    low: Bound | None = None
    """A value below this is out of range; null: none is too low."""
    high: Bound | None = None
    """A value above this is out of range; null: none is too high."""

    @model_validator(mode="after")
    def _is_range(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("the range ends before it begins: low is more than high")
        return self


class MetricPage(Page):
    """Which metrics, in which order."""

    search: Text | None = Field(None, min_length=1)
    """What stands in the name, the unit or the description, in any case."""
    described: Literal["yes", "no"] | None = None
    """Those of which something is said, or the others."""
    sort: Annotated[str, OneOf(METRIC_ORDERS)] = "name"
