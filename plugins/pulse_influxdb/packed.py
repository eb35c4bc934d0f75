"""All metrics of a reading as one text, from which SQL can take each again: ``;count=7;ok=true;temp=21.5;text=~Hi;``.

Texts begin with ``~``. A second text, the shape, says which metrics there are, and of what kind: ``;count=n;text=s;``.
Devices of one make say the same shape for ever, so there are few.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from pulse_core.api import PermanentFailure
from pulse_influxdb.names import kept_word, text_of, word

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    MetricValue = float | int | bool | str

NUMBER = "n"
_KINDS: dict[type, str] = {int: NUMBER, float: NUMBER, bool: "b", str: "s"}
_TRUTHS = {"true": True, "false": False}


class NotStorableError(PermanentFailure):
    """A reading holds what InfluxDB cannot keep."""


def packed(metrics: Mapping[str, MetricValue]) -> str:
    """The metrics as a text. Raises NotStorableError for a number that is none."""
    return ";" + "".join([f"{kept_word(name)}={_value(value)};" for name, value in metrics.items()])


def unpacked(text: str) -> dict[str, MetricValue]:
    """What :func:`packed` was given: every value of the kind that it was."""
    return {text_of(name): _read(value) for name, value in _pairs(text)}


def shape(metrics: Mapping[str, MetricValue]) -> str:
    """Names and kinds, in order of the names."""
    return _shape(*[(name, _KINDS[type(value)]) for name, value in metrics.items()])


def names_in(shape: str, kind: str | None = None) -> list[str]:
    """The names in a shape, of one kind or of all."""
    return [text_of(name) for name, told in _pairs(shape) if kind in {None, told}]


def mark(name: str) -> str:
    """What stands before a metric's value in the text, and before its kind in the shape: nowhere else in them.

    As :func:`word` says, it holds no quote: it may stand in an SQL literal.
    """
    return f";{word(name)}="


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for each in text[1:-1].split(";") if len(text) > 1 else ():
        name, _, value = each.partition("=")
        yield name, value


def _value(value: MetricValue) -> str:
    if isinstance(value, str):
        return "~" + word(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if not math.isfinite(value):
        raise NotStorableError(f"{value} is no number that can be stored")
    return repr(value)


def _read(said: str) -> MetricValue:
    if said.startswith("~"):
        return text_of(said[1:])
    if said in _TRUTHS:
        return _TRUTHS[said]
    return float(said) if any(sign in said for sign in ".e") else int(said)


@lru_cache(maxsize=10_000)
def _shape(*kinds: tuple[str, str]) -> str:
    return ";" + "".join([f"{name}={kind};" for name, kind in sorted((word(name), kind) for name, kind in kinds)])
