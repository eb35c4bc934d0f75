"""A delivery engine over the in-memory outbox, and waiting for what it does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pulse_core.config import DeliveryConfig
from pulse_core.delivery import DeliveryEngine
from support.channels_of_tests import channels
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_core.records import Delivery
    from support.memory import ManualClock
    from support.outbox import MemoryOutbox

NOON = 0.5
"""A random number that means no jitter."""


def config(**changes: Any) -> DeliveryConfig:
    """A configuration whose breakers stay out of the way unless told otherwise."""
    return DeliveryConfig(**({"attempt_timeout_s": 5, "lease_s": 30, "breaker_failures": 1000} | changes))


def an_engine(outbox: MemoryOutbox, clock: Any, lines: Any = None, **changes: Any) -> DeliveryEngine:
    """Build an engine over the in-memory outbox, without jitter."""
    leave = {"leave_within_s": changes.pop("leave_within_s")} if "leave_within_s" in changes else {}
    return DeliveryEngine(
        outbox.store, lines or channels(), config(**changes), clock=clock, random=lambda: NOON, **leave
    )


@asynccontextmanager
async def running(engine: DeliveryEngine) -> AsyncIterator[asyncio.Task[None]]:
    stopping = asyncio.Event()
    task = asyncio.create_task(engine.run(stopping))
    try:
        yield task
    finally:
        stopping.set()
        await task


async def status(outbox: MemoryOutbox, delivery: Delivery) -> str:
    return (await outbox.state(delivery)).status


async def became(outbox: MemoryOutbox, delivery: Delivery, *wanted: str, every_s: float = 0.02) -> None:
    """Wait until a delivery has one of the statuses ``wanted``."""
    row = outbox.store.rows[delivery.delivery_id]
    await until(lambda: row.status in wanted, every_s=every_s, what=f"{' or '.join(wanted)}")


async def concluded(outbox: MemoryOutbox, delivery: Delivery, attempts: int) -> None:
    """Wait until so many attempts are recorded."""
    noted = outbox.store.attempts[delivery.delivery_id]
    await until(lambda: len(noted) >= attempts, what=f"attempt {attempts}")


def later(outbox: MemoryOutbox, clock: ManualClock, seconds: float) -> None:
    """Let time pass; somebody wakes the engine, for it sleeps by the real clock."""
    clock.advance(seconds)
    outbox.store._notify()
