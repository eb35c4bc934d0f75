"""Whatever a channel does costs its own deliveries alone, and no secret reaches what is kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from prometheus_client import REGISTRY

from pulse_core.errors import OutboundRefused, PermanentFailure, TemporaryFailure
from pulse_core.secrets import SecretBox
from support.channels_of_tests import BOX, RecordingChannel, channels
from support.delivering import an_engine, became, later, running, status
from support.outbox import T0_US, MemoryOutbox, make, promise
from support.waiting import until

if TYPE_CHECKING:
    from pulse_core.api import Channel, Notification
    from support.memory import ManualClock

NOON = 0.5


class StubbornError(Exception):
    def __str__(self) -> str:
        raise SystemExit("not even this")


async def raise_(error: BaseException) -> None:
    raise error


async def ignore_cancellation(*_: object) -> None:
    end = asyncio.get_running_loop().time() + 3
    while asyncio.get_running_loop().time() < end:
        try:
            await asyncio.sleep(0.2)
        except asyncio.CancelledError:
            continue


async def cancel_itself(*_: object) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(5)


async def leak(_channel: object, _notification: object) -> str:
    async def forgotten() -> None:
        raise ValueError("nobody awaits me")

    task = asyncio.ensure_future(forgotten())
    task.add_done_callback(lambda done: done.exception())
    return "ok"


CONTAINED: dict[str, tuple[Any, str, str]] = {
    "ValueError": (lambda *_: raise_(ValueError("a bug")), "RETRYING", "ValueError: a bug"),
    "KeyboardInterrupt": (lambda *_: raise_(KeyboardInterrupt()), "RETRYING", "KeyboardInterrupt"),
    "SystemExit": (lambda *_: raise_(SystemExit(3)), "RETRYING", "SystemExit: 3"),
    "CancelledError": (lambda *_: raise_(asyncio.CancelledError()), "RETRYING", "CancelledError"),
    "cancels itself": (cancel_itself, "RETRYING", "CancelledError"),
    "GeneratorExit": (lambda *_: raise_(GeneratorExit()), "RETRYING", "GeneratorExit"),
    "StopIteration": (lambda *_: raise_(StopIteration()), "RETRYING", "RuntimeError: coroutine raised StopIteration"),
    "BaseExceptionGroup": (
        lambda *_: raise_(BaseExceptionGroup("many", [SystemExit(1)])),
        "RETRYING",
        "BaseExceptionGroup: many (1 sub-exception)",
    ),
    "a text that explodes": (lambda *_: raise_(StubbornError()), "RETRYING", "StubbornError"),
    "NUL and surrogates": (lambda *_: raise_(PermanentFailure("a\0b\ud800c")), "DEAD", "a\ufffdb?c"),
    "a long text": (lambda *_: raise_(PermanentFailure("ä" * 5000)), "DEAD", "ä" * 512),
    "returns False": (lambda *_: asyncio.sleep(0, False), "RETRYING", "send() must return a text or None, not bool"),
    "returns bytes": (lambda *_: asyncio.sleep(0, b"x"), "RETRYING", "send() must return a text or None, not bytes"),
    "is not async": (lambda *_: 7, "RETRYING", "TypeError: object int can't be used in 'await' expression"),
    "hangs": (lambda *_: asyncio.Event().wait(), "RETRYING", "no answer within 0.3 s"),
    "ignores its cancellation": (ignore_cancellation, "RETRYING", "no answer within 0.3 s"),
    "refused by the guard": (lambda *_: raise_(OutboundRefused("not public")), "DEAD", "not public"),
    "nonsense to wait": (
        lambda *_: raise_(TemporaryFailure("later", retry_after_s=float("nan"))),
        "RETRYING",
        "later",
    ),
    "no number to wait": (
        lambda *_: raise_(TemporaryFailure("later", retry_after_s="soon")),  # type: ignore[arg-type]
        "RETRYING",
        "later",
    ),
    "leaks": (leak, "DELIVERED", ""),
}


@pytest.mark.parametrize("name", CONTAINED)
async def test_whatever_a_channel_does_costs_its_own_delivery_alone(
    name: str, outbox: MemoryOutbox, clock: ManualClock
) -> None:
    behaviour, wanted, detail = CONTAINED[name]
    RecordingChannel.behaviours["bad"] = behaviour
    bad = await outbox.integrate(config={"behaviour": "bad"})
    good = await outbox.integrate("tenant-b")
    async with running(an_engine(outbox, clock, attempt_timeout_s=0.3)) as task:
        troubled = await promise(outbox, bad)
        neighbour = await promise(outbox, good)
        await became(outbox, troubled, "RETRYING", "DEAD", "DELIVERED")
        await became(outbox, neighbour, "DELIVERED")
        afterwards = await promise(outbox, good)
        await became(outbox, afterwards, "DELIVERED")
        assert not task.done()
    (noted,) = await outbox.noted(troubled)
    assert (await status(outbox, troubled), noted.detail[: len(detail) or None]) == (wanted, detail)
    assert len(noted.detail.encode()) <= 1024
    await until(lambda: not any(RecordingChannel.running.values()))


async def test_constructors_and_endpoints_are_contained_too(outbox: MemoryOutbox, clock: ManualClock) -> None:
    class Broken(RecordingChannel):
        name = "broken"

        def __init__(self, *_: Any) -> None:
            raise SystemExit("no")

    class Lost(RecordingChannel):
        name = "lost"

        @classmethod
        def endpoint(cls, integration: Any) -> str:
            raise KeyboardInterrupt("s3cret-token")

    types: dict[str, type[Channel[Any]]] = {"recording": RecordingChannel, "broken": Broken, "lost": Lost}
    async with running(an_engine(outbox, clock, channels(types))):
        secrets = BOX.seal({"/token": "s3cret-token"})
        broken = await promise(outbox, await outbox.integrate(type="broken"))
        lost = await promise(outbox, await outbox.integrate(type="lost", secrets=secrets, config={"token": "*"}))
        good = await promise(outbox, await outbox.integrate())
        for each in (broken, lost):
            await became(outbox, each, "RETRYING")
        await became(outbox, good, "DELIVERED")
    assert (await outbox.state(broken)).last_error == "the channel cannot be built: SystemExit: no"
    assert (await outbox.state(lost)).last_error == "the channel cannot be built: KeyboardInterrupt: ********"


async def test_what_a_plugin_breaks_is_counted_by_its_name(outbox: MemoryOutbox, clock: ManualClock) -> None:
    def counted(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    before = counted("pulse_delivery_contained_total", plugin="recording")
    attempts = counted("pulse_delivery_attempts_total", plugin="recording", outcome="TEMPORARY")
    RecordingChannel.behaviours["bad"] = lambda *_: raise_(SystemExit(1))
    async with running(an_engine(outbox, clock)):
        delivery = await promise(outbox, await outbox.integrate(config={"behaviour": "bad"}))
        await became(outbox, delivery, "RETRYING")
    assert counted("pulse_delivery_contained_total", plugin="recording") == before + 1
    assert counted("pulse_delivery_attempts_total", plugin="recording", outcome="TEMPORARY") == attempts + 1
    assert counted("pulse_deliveries_in_flight") == 0


async def test_a_plugin_that_hangs_for_ever_holds_a_bounded_number_of_tasks(
    outbox: MemoryOutbox, clock: ManualClock
) -> None:
    release = asyncio.Event()

    async def for_ever(*_: object) -> None:
        while not release.is_set():
            try:
                await release.wait()
            except asyncio.CancelledError:
                continue

    RecordingChannel.behaviours["for ever"] = for_ever
    integration = await outbox.integrate(config={"behaviour": "for ever", "endpoint": "bad"})
    deliveries = [make(integration) for _ in range(6)]
    try:
        async with running(an_engine(outbox, clock, attempt_timeout_s=0.1, per_endpoint=2)):
            await outbox.insert(deliveries)
            for delivery in deliveries:
                await became(outbox, delivery, "RETRYING")
            assert RecordingChannel.most["bad"] == 2
            errors = [(await outbox.state(delivery)).last_error or "" for delivery in deliveries]
            assert sum("earlier attempts still hang" in error for error in errors) == 4
            release.set()
            await until(lambda: RecordingChannel.running["bad"] == 0)
            RecordingChannel.behaviours["for ever"] = RecordingChannel.behaviours["deliver"]
            later(outbox, clock, 10)
            for delivery in deliveries:
                await became(outbox, delivery, "DELIVERED")
    finally:
        release.set()


async def test_secrets_never_reach_what_is_recorded(outbox: MemoryOutbox, clock: ManualClock) -> None:
    token = "tok-4711-very-secret"

    async def echo(channel: RecordingChannel, notification: Notification) -> str:
        assert channel.integration.token is not None
        said = channel.integration.token.get_secret_value()
        if len(RecordingChannel.sent) == 1:
            raise TemporaryFailure("x" * 1010 + said)
        return f"you said {said}"

    RecordingChannel.behaviours["echo"] = echo
    integration = await outbox.integrate(
        config={"behaviour": "echo", "token": "********"}, secrets=BOX.seal({"/token": token})
    )
    async with running(an_engine(outbox, clock)):
        delivery = await promise(outbox, integration)
        await became(outbox, delivery, "RETRYING")
        later(outbox, clock, 10)
        await became(outbox, delivery, "DELIVERED")
    first, second = await outbox.noted(delivery)
    assert second.receipt == "you said ********"
    assert "tok-" not in first.detail


OUR_FAULT: dict[str, tuple[dict[str, Any], str]] = {
    "no such plugin": ({"type": "carrier pigeon"}, "no enabled plugin brings the channel 'carrier pigeon'"),
    "another key": (
        {"secrets": SecretBox("another key, just as long as the first").seal({"/token": "x"})},
        "its secrets cannot be read",
    ),
    "secrets missing": ({"config": {"token": "********"}}, "its secrets cannot be read"),
    "an old configuration": ({"config": {"beehive": "x"}}, "the stored configuration is not valid: beehive"),
}


@pytest.mark.parametrize("name", OUR_FAULT)
async def test_what_our_own_people_can_put_right_is_tried_again(
    name: str, outbox: MemoryOutbox, clock: ManualClock
) -> None:
    fields, detail = OUR_FAULT[name]
    integration = await outbox.integrate(**fields)
    async with running(an_engine(outbox, clock)):
        delivery = await promise(outbox, integration)
        await became(outbox, delivery, "RETRYING")
        assert detail in ((await outbox.state(delivery)).last_error or "")
        repaired = msgspec.structs.replace(integration, type="recording", config={}, secrets=None, updated_us=T0_US + 1)
        outbox.store.integrations[integration.integration_id] = repaired
        later(outbox, clock, 10)
        await became(outbox, delivery, "DELIVERED")


async def test_a_notification_that_cannot_be_read_is_dead(outbox: MemoryOutbox, clock: ManualClock) -> None:
    integration = await outbox.integrate()
    delivery = make(integration)
    async with running(an_engine(outbox, clock)):
        outbox.store.add(delivery, notification_json='{"alert_id": 7}')
        await became(outbox, delivery, "DEAD")
    assert "cannot be read" in ((await outbox.state(delivery)).last_error or "")
