"""The filters of mail templates, none of which can make much of little."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import wraps
from typing import Any

from jinja2 import filters

LONGEST_RESULT = 256_000
"""Characters, of a filter and of a whole template."""


class TemplateProblemError(ValueError):
    """The template is not valid, or did not work out with the values at hand. The text is for the customer."""


def shown(value: Any) -> Any:
    """Show what is not text as JSON, as in the other channels' payloads."""
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, indent=2, default=str)
    if value is None:
        return ""
    return json.dumps(value) if isinstance(value, bool) else value


def bounded(work: Callable[..., Any]) -> Callable[..., Any]:
    """Limit what a filter returns, so that a chain of filters cannot grow step by step."""

    @wraps(work)  # jinja's marks for what to pass in are attributes
    def limited(*args: Any, **kwargs: Any) -> Any:
        result = work(*args, **kwargs)
        if isinstance(result, str) and len(result) > LONGEST_RESULT:
            raise TemplateProblemError("the result of a filter is too long")
        return result

    return limited


def _join(value: Any, separator: str = "") -> str:
    items = [str(shown(item)) for item in value] if isinstance(value, Iterable) and not isinstance(value, str) else []
    separator = str(separator)
    if sum(map(len, items)) + len(items) * len(separator) > LONGEST_RESULT:
        raise TemplateProblemError("the result of join is too long")
    return separator.join(items)


def _replace(value: Any, old: str, new: str) -> str:
    text, old, new = str(value), str(old), str(new)
    if len(text) + text.count(old) * len(new) > LONGEST_RESULT:
        raise TemplateProblemError("the result of replace is too long")
    return text.replace(old, new)


def _round(value: Any, precision: int = 0) -> float:
    return round(float(value), max(0, min(int(precision), 10)))


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    return iter(value.items()) if isinstance(value, Mapping) else iter(())


FILTERS: dict[str, Callable[..., Any]] = {
    "capitalize": filters.do_capitalize,
    "default": filters.do_default,
    "escape": filters.FILTERS["escape"],
    "first": filters.do_first,
    "float": filters.do_float,
    "int": filters.do_int,
    "items": _items,
    "join": _join,
    "last": filters.do_last,
    "length": len,
    "lower": filters.do_lower,
    "replace": _replace,
    "round": _round,
    "title": filters.do_title,
    "tojson": filters.do_tojson,
    "trim": filters.do_trim,
    "truncate": filters.do_truncate,
    "upper": filters.do_upper,
}
