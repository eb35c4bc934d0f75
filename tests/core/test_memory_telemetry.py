"""The telemetry store by which all others are judged keeps the contract itself."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from pulse_core.api import Aggregate, LatestValue, PluginConfig, Series
from pulse_core.testing.telemetry_stores import MemoryStore, TelemetryStoreContract
from pulse_core.testing.telemetry_stores.answers import alike

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class TestMemoryStore(TelemetryStoreContract):
    @asynccontextmanager
    async def opened(self) -> AsyncIterator[MemoryStore]:
        yield MemoryStore(PluginConfig())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ([1.0, 2], [1.0 + 1e-12, 2.0], True),
        ([1.0], [1.001], False),
        ([1.0], [1.0, 1.0], False),
        (1, True, False),
        (1.0, True, False),
        ("1", 1.0, False),
        ({"a": 1}, {"a": 1, "b": 1}, False),
        (LatestValue(1, value=True), LatestValue(1, 1), False),
        (Series("a", [1], {Aggregate.SUM: [0.1 + 0.2]}), Series("a", [1], {"sum": [0.3]}), True),
        (Series("a", [1], {}), Series("a", [2], {}), False),
    ],
)
def test_what_says_the_same_is_alike(one: object, other: object, same: bool) -> None:
    assert alike(one, other) is same
    assert alike(other, one) is same
