"""The store of the tests that shares no transaction keeps the contract of telemetry stores."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from pulse_core.testing.telemetry_stores import TelemetryStoreContract
from support.beside_store import BesideConfig, BesideStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class TestBesideStoreContract(TelemetryStoreContract):
    @pytest.fixture(autouse=True)
    def _given(self, tmp_path: Path) -> None:
        self.path = tmp_path / "readings.sqlite"

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[BesideStore]:
        store = BesideStore(BesideConfig(path=self.path))
        await store.open(None)
        yield store
        await store.close()
