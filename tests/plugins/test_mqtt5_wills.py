"""MQTT 5: last wills (3.1.2.5, 3.1.3.2, 3.14.4)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pulse_core.api import ConnectionEvent, Ending
from support import mqtt5_packets as say
from support.mqtt5_device import DISCONNECT, last_words_of
from support.mqtt5_door import FOREIGN, KEY, OWN, at
from support.mqtt5_packets import Prop, Will
from support.mqtt_door import ALIAS, BODY, TOKEN, TOPIC, door
from support.statements import statement5
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from support.mqtt_door import Door

WILL = Will(TOPIC, BODY, 1)
HOUR = (Prop.SESSION_EXPIRY, 3600)


def delayed(delay_s: int) -> Will:
    """A will that waits."""
    return Will(TOPIC, BODY, 1, props=say.properties((Prop.WILL_DELAY, delay_s), (Prop.USER, ("a", "b"))))


def events(here: Door) -> Sequence[tuple[ConnectionEvent, str]]:
    """What was noted besides connections: the event and the client id."""
    return [(event, about["client_id"]) for _, event, about in here.intake.connection_events]


async def published(here: Door, count: int = 1) -> None:
    """Wait until wills have come; no more than these."""
    await until(lambda: len(events(here)) >= count)
    assert events(here) == [(ConnectionEvent.WILL, "c")] * count
    assert [(one.msg_type, one.payload) for one in here.intake.committed] == [("telemetry", BODY)] * count


async def ended(here: Door, count: int = 1) -> None:
    """Wait until connections have ended; what follows from that has begun then."""
    await until(lambda: sum(bool(endings) for *_, endings in here.intake.connections) >= count)
    await asyncio.sleep(0)


async def none(here: Door) -> None:
    """No will came: one of a later connection would have come after it."""
    async with at(here, "later", will=Will(OWN + "event", BODY)) as device:
        device.cut()
    await until(lambda: (ConnectionEvent.WILL, "later") in events(here))
    assert events(here) == [(ConnectionEvent.WILL, "later")]
    assert [one.msg_type for one in here.intake.committed] == ["event"]


@statement5("MQTT-3.1.2-7", "MQTT-3.1.2-8", "MQTT-3.1.2-14", "MQTT-3.1.2-10", "MQTT-3.1.3-1")
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_device_that_is_lost(qos: int) -> None:
    async with door() as here:
        async with at(here, "c", will=Will(TOPIC, BODY, qos)) as device:
            device.cut()
        await published(here)
        async with at(here, "c") as device:
            device.cut()
        await ended(here, 2)
        await published(here)


@statement5("MQTT-3.14.4-3", "MQTT-3.1.2-10", "MQTT-3.1.2-8")
@pytest.mark.parametrize("packet", [say.disconnect(), say.disconnect(0), say.disconnect(0, (Prop.REASON, "bye"))])
async def test_a_goodbye_takes_the_will_back(packet: bytes) -> None:
    async with door() as here:
        for will in (WILL, delayed(1)):
            async with at(here, "c", HOUR, will=will) as device:
                assert await device.last_words(packet) == []
        await none(here)


@statement5("MQTT-3.1.2-8")
@pytest.mark.parametrize("code", [0x04, 0x80, 0x83, 0x97, 0x98])
async def test_a_goodbye_that_wants_the_will(code: int) -> None:
    async with door() as here:
        async with at(here, "c", will=WILL) as device:
            assert await device.last_words(say.disconnect(code)) == []
        await published(here)


@statement5("MQTT-3.1.2-8")
@pytest.mark.parametrize("packet", [b"\x00\x00", say.connect(ALIAS, TOKEN), say.publish("a/#", b""), say.auth()])
async def test_a_device_that_breaks_the_protocol(packet: bytes) -> None:
    async with door() as here:
        async with at(here, "c", will=WILL) as device:
            await device.last_words(packet)
        await published(here)


@statement5("MQTT-3.1.2-8", "MQTT-3.1.2-22", "MQTT-3.2.2-22", "MQTT-3.14.4-2")
async def test_a_device_that_falls_silent() -> None:
    """For one and a half times its keep-alive, which it was told no other one of."""
    async with door() as here, at(here, "c", will=WILL, keepalive_s=1) as device:
        start_s = asyncio.get_running_loop().time()
        (told,) = await device.last_words()
        assert (told.kind, told.code) == (DISCONNECT, 0x8D)
        assert asyncio.get_running_loop().time() - start_s > 1.4
        await published(here)
        assert here.intake.connections[0][2] == [Ending.KEEP_ALIVE]


async def test_a_device_that_is_revoked() -> None:
    async with door() as here, at(here, "c", will=WILL) as device:
        here.intake._revoked.put_nowait(KEY)
        await device.last_words()
        await until(lambda: events(here))


async def test_a_server_that_stops_publishes_nobodys_will() -> None:
    """It is no device's fault. Nor do wills come that wait."""
    async with door() as here, at(here, "c", will=WILL) as device:
        async with at(here, "waits", HOUR, will=delayed(1000)) as lost:
            lost.cut()
        await ended(here)
        here.intake.stopping.set()
        await device.last_words()
        await asyncio.wait_for(here.task, 15)
        assert events(here) == []
        assert here.intake.committed == []


@statement5("MQTT-3.1.2-8")
@pytest.mark.parametrize("clean", [True, False])
async def test_a_device_that_takes_over_from_itself(clean: bool) -> None:
    """Its delay is 0: the connection has ended (3.1.4)."""
    async with door() as here, at(here, "c", HOUR, will=WILL), at(here, "c", HOUR, clean=clean):
        await published(here)


@statement5("MQTT-3.1.3-9")
async def test_a_device_that_takes_over_within_the_delay() -> None:
    async with door() as here:
        async with at(here, "c", HOUR, will=delayed(1000)), at(here, "c", HOUR, clean=False):
            await ended(here)
        await none(here)


@statement5("MQTT-3.1.2-8", "MQTT-3.1.3-9")
async def test_delays() -> None:
    """A will comes when its delay is over, or the session, and not when its device is back before."""
    async with door() as here:
        async with at(here, "back", HOUR, will=delayed(1)) as device:
            device.cut()
        await ended(here)
        async with at(here, "back", HOUR, clean=False):
            start_s = asyncio.get_running_loop().time()
            for name, expiry_s, delay_s in (("delay", 3600, 1), ("session", 1, 1000)):
                async with at(here, name, (Prop.SESSION_EXPIRY, expiry_s), will=delayed(delay_s)) as device:
                    device.cut()
            await until(lambda: len(events(here)) >= 2)
            assert asyncio.get_running_loop().time() - start_s > 0.99
            assert {name for _, name in events(here)} == {"delay", "session"}


@statement5("MQTT-3.1.2-8")
@pytest.mark.parametrize("expiry", [[], [(Prop.SESSION_EXPIRY, 0)]])
async def test_a_will_does_not_wait_where_there_is_no_session(expiry: list[tuple[int, int]]) -> None:
    async with door() as here:
        async with at(here, "c", *expiry, will=delayed(1000)) as device:
            device.cut()
        await published(here)


@statement5("MQTT-3.1.2-8")
async def test_a_goodbye_that_ends_the_session_and_wants_the_will() -> None:
    async with door() as here:
        async with at(here, "c", HOUR, will=delayed(1000)) as device:
            assert await device.last_words(say.disconnect(4, (Prop.SESSION_EXPIRY, 0))) == []
        await published(here)


@statement5("MQTT-3.1.2-8")
async def test_a_new_session_ends_the_one_whose_will_waits() -> None:
    async with door() as here:
        async with at(here, "c", HOUR, will=delayed(1000)) as device:
            device.cut()
        await ended(here)
        async with at(here, "c", HOUR, clean=True):
            await published(here)


@statement5("MQTT-3.1.2-8")
async def test_a_new_session_ends_the_one_it_takes_over_from() -> None:
    async with door() as here, at(here, "c", HOUR, will=delayed(1000)), at(here, "c", HOUR, clean=True):
        await published(here)


async def test_a_will_that_is_no_message() -> None:
    """An event all the same."""
    async with door() as here:
        for topic, payload in ((TOPIC, b"gone"), (OWN + "status", b"gone"), (OWN + "a/b", BODY)):
            async with at(here, "c", will=Will(topic, payload)) as device:
                device.cut()
        await until(lambda: len(events(here)) == 3)
        assert here.intake.committed == []


async def test_a_will_for_somebody_else() -> None:
    async with door() as here:
        (told,) = await last_words_of(here.address, say.connect(ALIAS, TOKEN, will=Will(FOREIGN, BODY)))
        assert told.code in (0x87, 0x90)
        assert here.intake.connections == []


async def test_a_refused_login_has_no_will() -> None:
    async with door() as here:
        await last_words_of(here.address, say.connect(ALIAS, "wrong", will=WILL))
        await until(lambda: here.intake.connection_events)
        assert {event for event, _ in events(here)} == {ConnectionEvent.REFUSED}
        assert here.intake.committed == []


async def test_properties_of_wills_are_taken_and_ignored() -> None:
    props = say.properties(
        (Prop.PAYLOAD_FORMAT, 1),
        (Prop.MESSAGE_EXPIRY, 0),
        (Prop.CONTENT_TYPE, "application/json"),
        (Prop.RESPONSE_TOPIC, "a"),
        (Prop.CORRELATION_DATA, b"x"),
        (Prop.USER, ("a", "b")),
    )
    async with door() as here:
        async with at(here, "c", will=Will(TOPIC, BODY, 2, props=props)) as device:
            device.cut()
        await published(here)
