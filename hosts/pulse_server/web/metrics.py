"""A tenant's metrics: what people said of them and how many devices send them, in one list; and what that means for a
device's values.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any

from pulse_core.errors import NotFound, PermanentFailure
from pulse_core.series import is_number
from pulse_postgres.paging import read_cursor, write_cursor
from pulse_server.inputs.fields import SMALL_ID

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pulse_core.records import MetricValue
    from pulse_postgres.metric_catalogue import MetricCatalogue
    from pulse_server.inputs.metrics import MetricPage

_NAME = re.compile(SMALL_ID)
_OF_TEXTS, _OF_NUMBERS = tuple[str, str | None, str], tuple[str, float | None, str]
"""What a cursor holds: the order, and of the last one what it was sorted by, and its name."""
_TEXTS = frozenset({"name", "unit"})
"""What is text to sort by; all else is numbers."""
_UNSAID: Mapping[str, Any] = {
    "unit": "", "description": "", "low": None, "high": None, "revision": 0, "updated_at": None, "updated_by": None,
}  # fmt: skip


def is_metric(name: str) -> bool:
    """Whether it can be a metric's name, and stand in an address: a browser takes dots for steps."""
    return _NAME.fullmatch(name) is not None and name not in {".", ".."}


def demand_metric(name: str) -> None:
    """What cannot be a metric's name names nothing. Raises NotFound."""
    if not is_metric(name):
        raise NotFound("there is no such metric")


def metrics_of(
    tenant_id: str, said: Iterable[Mapping[str, Any]], seen: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    """Every metric that was seen, or of which something is said; ``seen``: None where that is not known."""
    known = [{**each, "devices": None if seen is None else seen.get(each["name"], 0)} for each in said]
    names = {each["name"] for each in known}
    more = [
        {"tenant_id": tenant_id, "name": name, **_UNSAID, "devices": devices}
        for name, devices in (seen or {}).items()
        if name not in names
    ]
    return known + more


def page_of(metrics: Iterable[dict[str, Any]], asked: MetricPage) -> dict[str, Any]:
    """The part of them that was asked for; those without a value to sort by come last, and names decide between equals.

    :raises PermanentFailure: the cursor is none, or of another order.
    """
    by, down = asked.sort.removeprefix("-"), asked.sort.startswith("-")
    found = [(_place(each, by), each) for each in metrics if _wanted(each, asked)]
    valued = sorted((each for each in found if each[0][0] is not None), key=lambda each: each[0], reverse=down)
    bare = sorted((each for each in found if each[0][0] is None), key=lambda each: each[0][1], reverse=down)
    after = read_cursor(asked.cursor, _OF_TEXTS if by in _TEXTS else _OF_NUMBERS)
    if after is not None and after[0] != asked.sort:
        raise PermanentFailure("this cursor belongs to a list in another order")
    rest = [each for each in valued + bare if after is None or _is_behind(each[0], after[1:], down=down)]
    part = rest[: asked.limit]
    cursor = write_cursor(asked.sort, *part[-1][0]) if len(rest) > len(part) else None
    return {"items": [metric for _, metric in part], "next": cursor}


def one_of(
    tenant_id: str, said: Iterable[Mapping[str, Any]], seen: Mapping[str, int] | None, name: str
) -> dict[str, Any]:
    """One of them, as :func:`metrics_of` has it. While nobody knows what was seen, it may be any.

    :raises NotFound: no device sent it lately, and nothing is said of it.
    """
    known = metrics_of(tenant_id, said, seen)
    if seen is None:
        known.append({"tenant_id": tenant_id, "name": name, **_UNSAID, "devices": None})
    found = next((each for each in known if each["name"] == name), None)
    if found is None:
        raise NotFound("there is no such metric")
    return found


async def said_of(catalogue: MetricCatalogue, tenant_id: str, names: Collection[str]) -> dict[str, dict[str, Any]]:
    """What is said of some metrics, by name: one look-up."""
    return {each["name"]: each for each in await catalogue.entries(tenant_id, names)}


def explained(
    latest: Mapping[str, Mapping[str, Any]], said: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Latest values with their units, and whether they are out of range."""
    return {name: {**each, **_meaning(each["value"], said.get(name, _UNSAID))} for name, each in latest.items()}


def _meaning(value: MetricValue, said: Mapping[str, Any]) -> dict[str, Any]:
    low, high = said["low"], said["high"]
    outside = is_number(value) and ((low is not None and value < low) or (high is not None and value > high))
    return {"unit": said["unit"], "low": low, "high": high, "out_of_range": outside}


def _wanted(metric: Mapping[str, Any], asked: MetricPage) -> bool:
    if asked.described is not None and (asked.described == "yes") != (metric["revision"] > 0):
        return False
    texts = (metric["name"], metric["unit"], metric["description"])
    return asked.search is None or any(asked.search.lower() in text.lower() for text in texts)


def _place(metric: Mapping[str, Any], by: str) -> tuple[Any, str]:
    """By what it is sorted, None where it has nothing of the kind; and its name."""
    value = metric[by]
    if isinstance(value, dt.datetime):
        value = value.timestamp()
    return (None if value == "" else value), metric["name"]


def _is_behind(place: tuple[Any, str], last: tuple[Any, str], *, down: bool) -> bool:
    if (place[0] is None) != (last[0] is None):
        return place[0] is None
    one, other = (place[1:], last[1:]) if place[0] is None else (place, last)
    return one < other if down else one > other
