"""The store in InfluxDB keeps the contract, with a database a tenant and with one for all."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from pulse_core.testing.telemetry_stores import TelemetryStoreContract
from support.influx_stores import PLACES, TENANCIES, influx_at

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_influxdb.store import InfluxTelemetryStore


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("tenancy", TENANCIES)
class TestInfluxTelemetryContract(TelemetryStoreContract):
    @pytest.fixture(autouse=True)
    def _given(self, place: str, tenancy: str) -> None:
        self.place, self.tenancy = place, tenancy

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[InfluxTelemetryStore]:
        async with influx_at(self.place, tenancy=self.tenancy) as store:
            yield store
