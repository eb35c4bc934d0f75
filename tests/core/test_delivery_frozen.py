"""A database that hangs and comes back: the engine does not go on hanging by itself."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from pulse_core.clock import SystemClock
from pulse_core.errors import StoreUnavailable
from support.channels_of_tests import RecordingChannel
from support.delivering import an_engine, running
from support.outbox import MemoryOutbox, promise
from support.waiting import until

HUNG_S = 4.0


async def test_after_a_claim_that_hung_the_next_one_is_made_soon() -> None:
    RecordingChannel.reset()
    outbox = MemoryOutbox()
    claim, hung = outbox.store.claim, asyncio.Event()

    async def frozen(*args: Any, **kwargs: Any) -> Any:
        if not hung.is_set():
            await asyncio.sleep(HUNG_S)
            hung.set()
            raise StoreUnavailable("the database does not answer: TimeoutError")
        return await claim(*args, **kwargs)

    outbox.store.claim = frozen  # type: ignore[method-assign]
    async with running(an_engine(outbox, SystemClock())):
        await promise(outbox, await outbox.integrate())
        await hung.wait()
        back_s = time.monotonic()
        await until(lambda: RecordingChannel.sent, what="the delivery")
        assert time.monotonic() - back_s < HUNG_S / 2
