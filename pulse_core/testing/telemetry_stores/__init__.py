"""The contract of a telemetry store. Inherit it, say how to open the store, and run pytest::

    class TestInfluxContract(TelemetryStoreContract):
        @asynccontextmanager
        async def opened(self):
            store = InfluxStore(InfluxConfig(url=…))
            await store.open(None)
            yield store
            await store.close()

A store that shares the batch's PostgreSQL transaction overrides :meth:`TelemetryStoreContract.transaction` as well, and
one that forgets as another role, :meth:`TelemetryStoreContract.forgetting`. One that cannot do everything says so:
``forgets_devices = False``.

Besides what each method must do, every store answers the same questions about the same readings, and must answer as
:class:`MemoryStore` does, which is plain Python: so all stores answer alike.
"""

from __future__ import annotations

from pulse_core.testing.telemetry_stores.answers import AnswersContract
from pulse_core.testing.telemetry_stores.forgetting import ForgettingContract
from pulse_core.testing.telemetry_stores.memory import MemoryStore
from pulse_core.testing.telemetry_stores.numbers import NumbersContract
from pulse_core.testing.telemetry_stores.opening import OpenedStore
from pulse_core.testing.telemetry_stores.readings import DAY_US, DEVICE, a_reading
from pulse_core.testing.telemetry_stores.selecting import SelectingContract
from pulse_core.testing.telemetry_stores.writing import WritingContract

__all__ = [
    "DAY_US",
    "DEVICE",
    "AnswersContract",
    "ForgettingContract",
    "MemoryStore",
    "NumbersContract",
    "OpenedStore",
    "SelectingContract",
    "TelemetryStoreContract",
    "WritingContract",
    "a_reading",
]


class TelemetryStoreContract(WritingContract, SelectingContract, NumbersContract, ForgettingContract, AnswersContract):
    """What every telemetry store must do."""
