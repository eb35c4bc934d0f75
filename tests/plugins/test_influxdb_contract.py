"""The store in InfluxDB keeps the contract, with a database a tenant and with one for all."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, ClassVar

import pytest

from pulse_core.testing.telemetry_stores import (
    ForgettingContract,
    NumbersContract,
    SelectingContract,
    TelemetryStoreContract,
    WritingContract,
)
from pulse_core.testing.telemetry_stores.opening import OpenedStore
from support.influx_stores import PLACES, influx_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_influxdb.store import InfluxTelemetryStore


class InInflux(OpenedStore):
    """At the stand-in, and at a real server where the environment names one."""

    tenancy: ClassVar[str]

    @pytest.fixture(autouse=True, params=PLACES)
    def _given(self, request: pytest.FixtureRequest) -> None:
        self.place: str = request.param

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[InfluxTelemetryStore]:
        async with influx_at(self.place, tenancy=self.tenancy) as store:
            yield store


class TestOneDatabaseForAll(InInflux, TelemetryStoreContract):
    tenancy = "shared"


class TestDatabaseForEach(InInflux, WritingContract, SelectingContract, NumbersContract, ForgettingContract):
    """Without the many questions: what answers them is the same."""

    tenancy = "database"
