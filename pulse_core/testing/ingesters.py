"""What every ingester owes, as tests that a plugin's own tests inherit.

::

    class TestMyIngester(IngesterContract):
        def make(self) -> Ingester: ...
        def device(self, served: Served, token: str) -> AbstractAsyncContextManager[Sender]: ...

The tests are coroutines: run them with pytest-asyncio in its ``auto`` mode.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from pulse_core.api import AsgiApp, DeviceKey, Ingester, Reason
from pulse_core.testing.intake import FakeIntake, LogOnly, Pending, known_device

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

__all__ = [
    "DEVICE",
    "TOKEN",
    "FakeIntake",
    "IngesterContract",
    "LogOnly",
    "Pending",
    "Sender",
    "Served",
    "known_device",
]

DEVICE = DeviceKey("tenant-a", "device-1")
"""The device of the contract tests, at ``site-1``."""
TOKEN = "the-token-of-device-1"  # noqa: S105 - of a device that exists in tests only
_PATIENCE_S = 15.0
_STOP_S = 10.0
_MANY = 40


class Sender(Protocol):
    """A device's end of an ingester."""

    def send(self, payload: bytes) -> Awaitable[bool]:
        """Send one telemetry message at once, asking for an acknowledgement.

        The answer, later: True when the device may forget the message (acknowledged, or refused for good), False
        when it was told to come again later. ConnectionError when it was not let in.
        """


class Served(Struct):
    """An ingester at work."""

    ingester: Ingester
    intake: FakeIntake
    asgi: tuple[str, AsgiApp] | None
    task: asyncio.Task[None]


class IngesterContract(ABC):
    """Inherit, fill in :meth:`make` and :meth:`device`."""

    ordered = True
    """Whether a device's answers come in the order of its messages (not so over HTTP, where each stands alone)."""

    @abstractmethod
    def make(self) -> Ingester:
        """Build the ingester, to listen on any free port."""

    @abstractmethod
    def device(self, served: Served, token: str) -> AbstractAsyncContextManager[Sender]:
        """Connect as :data:`DEVICE` with this token."""

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Served]:
        """Run the ingester; stop it as the platform does, and see it leave in time."""
        intake = FakeIntake([known_device(DEVICE.tenant_id, DEVICE.device_id, TOKEN)])
        ingester = self.make()
        asgi = ingester.asgi(intake)
        served = Served(ingester, intake, asgi, asyncio.create_task(ingester.run(intake)))
        try:
            await until(lambda: served.task.done() or True in intake.receiving_log)
            yield served
            intake.stopping.set()
            async with asyncio.timeout(_STOP_S):
                await served.task
        finally:
            served.task.cancel()
            with suppress(asyncio.CancelledError):
                await served.task

    async def test_says_whether_it_receives(self) -> None:
        """The staleness clocks of its devices hang on it."""
        async with self.serve() as served:
            assert served.intake.receiving_log == [True]
        assert served.intake.receiving_log[-1] is False

    async def test_has_a_name_and_a_summary(self) -> None:
        """The name is the source that readings carry."""
        ingester = self.make()
        assert ingester.name.isidentifier()
        assert ingester.summary

    async def test_hands_over_what_was_sent(self) -> None:
        """Nothing is added, lost or decoded on the way."""
        before_us = time.time_ns() // 1000
        async with self.serve() as served, self.device(served, TOKEN) as device:
            assert await answer(device.send(body(1)))
            [message] = served.intake.committed
            assert (message.tenant_id, message.device_id) == (DEVICE.tenant_id, DEVICE.device_id)
            assert (message.msg_type, message.payload) == ("telemetry", body(1))
            assert message.source == served.ingester.name
            assert before_us <= message.received_us <= time.time_ns() // 1000

    async def test_acknowledges_only_after_the_commit(self) -> None:
        """An acknowledgement means committed."""
        async with self.serve() as served, self.device(served, TOKEN) as device:
            served.intake.hold()
            sent = asyncio.ensure_future(device.send(body(1)))
            await until(lambda: served.intake.pending)
            await asyncio.wait((sent,), timeout=0.2)
            assert not sent.done(), "acknowledged before the commit"
            served.intake.release()
            assert await answer(sent)

    async def test_acknowledges_what_is_refused(self) -> None:
        """Or it would be sent again for ever. Its neighbours don't notice."""
        async with self.serve() as served, self.device(served, TOKEN) as device:
            assert await answer(device.send(b"not JSON"))
            assert await answer(device.send(body(2)))
            assert [outcome.reason for _, outcome in served.intake.refused] == [Reason.MALFORMED_JSON]
            assert [message.payload for message in served.intake.committed] == [body(2)]

    async def test_answers_and_hands_over_in_order(self) -> None:
        """One device's messages keep their order, and so do their answers."""
        if not self.ordered:
            return
        async with self.serve() as served, self.device(served, TOKEN) as device:
            served.intake.hold()
            first = asyncio.ensure_future(device.send(body(0)))
            await until(lambda: served.intake.pending)
            rest = [asyncio.ensure_future(device.send(body(index))) for index in range(1, _MANY)]
            await until(lambda: sum(len(one.messages) for one in served.intake.pending) == _MANY)
            for pending in served.intake.pending[:0:-1]:
                served.intake.decide(pending)
            await asyncio.wait(rest, timeout=0.2)
            assert not any(one.done() for one in rest), "acknowledged out of turn"
            served.intake.release()
            assert await answer(asyncio.gather(first, *rest)) == [True] * _MANY
            handed_over = [message.payload for batch in served.intake.submissions for message in batch]
            assert handed_over == [body(index) for index in range(_MANY)]

    async def test_never_acknowledges_what_there_is_no_room_for(self) -> None:
        """It is kept and handed over again, or the device is told to come back."""
        async with self.serve() as served, self.device(served, TOKEN) as device:
            served.intake.fill()
            sent = asyncio.ensure_future(device.send(body(1)))
            await until(lambda: served.intake.submissions)
            await asyncio.wait((sent,), timeout=0.2)
            assert not (sent.done() and sent.result()), "acknowledged although nothing was committed"
            served.intake.make_room()
            assert await answer(sent) or await answer(device.send(body(1)))
            assert {message.payload for message in served.intake.committed} == {body(1)}

    async def test_lets_no_stranger_in(self) -> None:
        """A wrong token commits nothing."""
        async with self.serve() as served:
            with suppress(ConnectionError):
                async with self.device(served, "a wrong token") as device:
                    await answer(device.send(body(1)))
            assert not served.intake.committed

    async def test_a_revoked_device_sends_no_more(self) -> None:
        """A revocation ends what the device has open."""
        async with self.serve() as served, self.device(served, TOKEN) as device:
            assert await answer(device.send(body(1)))
            served.intake.revoke(DEVICE)
            with suppress(ConnectionError):
                await answer(device.send(body(2)))
            assert [message.payload for message in served.intake.committed] == [body(1)]

    async def test_stops_only_after_answering(self) -> None:
        """Whoever was heard gets an answer."""
        async with self.serve() as served, self.device(served, TOKEN) as device:
            served.intake.hold()
            sent = asyncio.ensure_future(device.send(body(1)))
            await until(lambda: served.intake.pending)
            served.intake.stopping.set()
            await asyncio.wait((served.task,), timeout=0.2)
            assert not served.task.done(), "left with a message undecided"
            served.intake.release()
            assert await answer(sent)
            await asyncio.wait_for(served.task, _STOP_S)


def body(seq: int) -> bytes:
    """A message that the platform admits."""
    return b'{"site_id":"site-1","seq":%d,"metrics":{"temperature":21.5}}' % seq


async def until(condition: Callable[[], Any]) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(_PATIENCE_S):
        while not condition():
            await asyncio.sleep(0.005)


async def answer(sent: Awaitable[Any]) -> Any:
    """Wait for a device's answer."""
    return await asyncio.wait_for(sent, _PATIENCE_S)
