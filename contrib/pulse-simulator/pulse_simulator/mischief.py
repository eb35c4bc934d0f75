"""What a badly made device sends: one kind of wrong message after another."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import TYPE_CHECKING, Any

from pulse_simulator.sensor import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

OVERSIZE_BYTES = 20_000


def _cut_off(body: dict[str, Any]) -> bytes:
    return encode(body)[:-7]


def _elsewhere(body: dict[str, Any]) -> bytes:
    return encode({**body, "site_id": "somebody-elses-site"})


def _nowhere(body: dict[str, Any]) -> bytes:
    return encode({name: value for name, value in body.items() if name != "site_id"})


def _oversize(body: dict[str, Any]) -> bytes:
    return encode({**body, "metrics": {**body["metrics"], "firmware_log": "x" * OVERSIZE_BYTES}})


def _tomorrow(body: dict[str, Any]) -> bytes:
    ahead = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)
    return encode({**body, "ts": ahead.isoformat()})


def _nested(body: dict[str, Any]) -> bytes:
    return encode({**body, "metrics": {"temp_c": {"value": 21}}})


def _binary(_body: dict[str, Any]) -> bytes:
    return b"\x00\xff\xfe not JSON at all"


FAULTS: tuple[Callable[[dict[str, Any]], bytes], ...] = (
    _cut_off,
    _elsewhere,
    _nowhere,
    _oversize,
    _tomorrow,
    _nested,
    _binary,
)
"""Each turns a good body into a payload that must be refused."""


def faults() -> Iterator[Callable[[dict[str, Any]], bytes]]:
    """Every fault in turn, for ever."""
    return itertools.cycle(FAULTS)
