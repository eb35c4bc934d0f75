"""Telemetry stores in InfluxDB: at the stand-in, and at a real server where the environment names one.

``PULSE_TEST_INFLUXDB_URL`` and ``PULSE_TEST_INFLUXDB_TOKEN`` name a server of tests alone: databases are dropped there.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from pulse_influxdb.config import InfluxConfig
from pulse_influxdb.store import InfluxTelemetryStore
from support.influx_server import InfluxServer, influx_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

REAL_URL = os.environ.get("PULSE_TEST_INFLUXDB_URL", "")
PLACES = ("stand-in", "real server") if REAL_URL else ("stand-in",)
"""Where the contract is tested: no test is skipped where there is no server, there is none."""
TENANCIES = ("database", "shared")


def config_for(server: InfluxServer | None, **changes: Any) -> InfluxConfig:
    """A configuration; without a stand-in, of the real server."""
    given = {"url": REAL_URL, "token": os.environ.get("PULSE_TEST_INFLUXDB_TOKEN", "")}
    if server is not None:
        given = {"url": server.url, "token": server.token}
    own = {"database_prefix": "pulsetest_", "shared_database": "pulsetest"}
    return InfluxConfig.model_validate({**given, **own, **changes})


@contextlib.asynccontextmanager
async def influx_store(server: InfluxServer | None, **changes: Any) -> AsyncIterator[InfluxTelemetryStore]:
    """An open and empty store."""
    store = InfluxTelemetryStore(config_for(server, **changes))
    await store.open(None)
    try:
        await _empty(store)
        yield store
        if server is None:
            await _empty(store)
    finally:
        await store.close()


@contextlib.asynccontextmanager
async def influx_at(place: str, **changes: Any) -> AsyncIterator[InfluxTelemetryStore]:
    """An open and empty store at one of the places."""
    if place == "stand-in":
        async with influx_server() as server, influx_store(server, **changes) as store:
            server.query_file_limit = 432
            yield store
    else:
        async with influx_store(None, **changes) as store:
            yield store


async def _empty(store: InfluxTelemetryStore) -> None:
    for name in await store.all_databases():
        await store.server.drop_database(name)
