"""MQTT 5: sessions, their expiry, and who takes them over (3.1.2.4, 3.1.2.11.2, 3.1.4, 4.1)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import pytest

from pulse_core.api import DeviceKey, Ending
from support import mqtt5_packets as say
from support import mqtt311
from support.mqtt5_device import CONNACK, DISCONNECT, PUBACK, device5, last_words_of, stranger
from support.mqtt5_door import COMMANDS, KEY, OWN, at
from support.mqtt5_packets import Prop
from support.mqtt_door import ALIAS, BODY, TOKEN, TOPIC, door
from support.statements import statement5
from support.waiting import until

if TYPE_CHECKING:
    from support.mqtt5_device import Device5
    from support.mqtt_door import Door

HOUR = (Prop.SESSION_EXPIRY, 3600)
SUBSCRIBED = {COMMANDS: 1}


def present(device: Device5) -> bool:
    """What CONNACK says of the session."""
    assert device.connack is not None
    return device.connack.session_present


async def left(here: Door, count: int = 1) -> None:
    """Wait until this many connections have ended."""
    await until(lambda: sum(bool(endings) for *_, endings in here.intake.connections) >= count)


async def gone(here: Door) -> None:
    """Wait until no session is kept."""
    await until(lambda: (KEY, "c") not in here.intake.sessions)


@statement5("MQTT-3.1.2-4", "MQTT-3.1.2-5", "MQTT-3.1.2-6", "MQTT-3.1.2-23", "MQTT-3.1.4-4", "MQTT-3.2.2-2")
@statement5("MQTT-3.2.2-3", "MQTT-3.1.3-2")
async def test_clean_start_and_its_opposite() -> None:
    async with door() as here:
        async with at(here, "c", HOUR, clean=False) as device:
            assert not present(device), "there was none"
            await device.subscribed(COMMANDS)
        async with at(here, "c", HOUR, clean=False) as device:
            assert present(device)
            here.intake.command_store.queue(KEY)
            assert (await device.answer()).topic == OWN + "cmd/reboot"
        async with at(here, "another", HOUR, clean=False) as device:
            assert not present(device)
        async with device5(here.address, "tenant-b/device-1", "another", "c", HOUR, clean=False) as device:
            assert not present(device)
        async with at(here, "c", HOUR, clean=True) as device:
            assert not present(device)
            here.intake.command_store.queue(KEY)
            assert await device.at_peace(), "it has subscribed to nothing"
        async with at(here, "c", HOUR, clean=False) as device:
            assert present(device), "a new one, without subscriptions"
            assert await device.at_peace()
            assert here.intake.sessions[KEY, "c"].subscriptions == {}


@statement5("MQTT-4.1.0-2", "MQTT-3.1.2-6")
@pytest.mark.parametrize("pairs", [[], [(Prop.SESSION_EXPIRY, 0)]])
async def test_a_session_that_ends_with_its_connection(pairs: list[tuple[int, int]]) -> None:
    async with door() as here:
        async with at(here, "c", *pairs) as device:
            await device.subscribed(COMMANDS)
        await left(here)
        async with at(here, "c", HOUR, clean=False) as device:
            assert not present(device)
            here.intake.command_store.queue(KEY)
            assert await device.at_peace()


@statement5("MQTT-4.1.0-2", "MQTT-3.1.2-23")
async def test_a_session_that_expires() -> None:
    async with door() as here:
        async with at(here, "c", HOUR) as device:
            await device.subscribed(COMMANDS)
        held = await until(lambda: here.intake.sessions[KEY, "c"])
        await until(lambda: held.expires_us)
        assert 3590 < held.expires_us / 1e6 - time.time() < 3601
        held.expires_us -= 3_500_000_000
        async with at(here, "c", HOUR, clean=False) as device:
            assert present(device)
        held = here.intake.sessions[KEY, "c"]
        await until(lambda: held.expires_us)
        held.expires_us = 1
        async with at(here, "c", HOUR, clean=False) as device:
            assert not present(device)
            here.intake.command_store.queue(KEY)
            assert await device.at_peace()


@statement5("MQTT-4.1.0-1")
async def test_a_session_lasts_as_long_as_its_connection() -> None:
    async with door() as here, at(here, "c", (Prop.SESSION_EXPIRY, 1)) as device:
        await device.subscribed(COMMANDS)
        assert here.intake.sessions[KEY, "c"].expires_us is None
        assert {*here.intake.sessions[KEY, "c"].subscriptions} == {COMMANDS}


@pytest.mark.parametrize(("wanted", "told"), [(10, None), (100, None), (101, 100), (0xFFFFFFFF, 100)])
async def test_the_longest_expiry_is_told(wanted: int, told: int | None) -> None:
    async with door(longest_session_s=100) as here:
        async with at(here, "c", (Prop.SESSION_EXPIRY, wanted)) as device:
            assert device.connack is not None
            assert device.connack.get(Prop.SESSION_EXPIRY) == told
        await left(here)
        assert here.intake.sessions[KEY, "c"].expiry_s == (told or wanted)


@pytest.mark.parametrize(("wanted", "told"), [(0, 50), (10, None), (50, None), (51, 50), (65_535, 50)])
@statement5("MQTT-3.2.2-22")
async def test_the_longest_keep_alive_is_told(wanted: int, told: int | None) -> None:
    async with door(longest_keepalive_s=50) as here, at(here, keepalive_s=wanted) as device:
        assert device.connack is not None
        assert device.connack.get(Prop.SERVER_KEEP_ALIVE) == told


@pytest.mark.parametrize(("code", "expiry_s"), [(0, 5), (4, 50), (0x80, 3600)])
async def test_a_goodbye_may_change_the_expiry(code: int, expiry_s: int) -> None:
    async with door() as here:
        async with at(here, "c", HOUR) as device:
            assert await device.last_words(say.disconnect(code, (Prop.SESSION_EXPIRY, expiry_s))) == []
        held = here.intake.sessions[KEY, "c"]
        await until(lambda: held.expires_us)
        assert held.expiry_s == expiry_s


@statement5("MQTT-4.1.0-2")
async def test_a_goodbye_may_end_the_session() -> None:
    async with door() as here:
        async with at(here, "c", HOUR) as device:
            assert await device.last_words(say.disconnect(0, (Prop.SESSION_EXPIRY, 0))) == []
        await gone(here)


@pytest.mark.parametrize("pairs", [[], [(Prop.SESSION_EXPIRY, 0)]])
@statement5("MQTT-4.13.1-1")
async def test_a_goodbye_cannot_begin_to_keep_a_session(pairs: list[tuple[int, int]]) -> None:
    """3.14.2.2.2."""
    async with door() as here, at(here, "c", *pairs) as device:
        (told,) = await device.last_words(say.disconnect(0, (Prop.SESSION_EXPIRY, 10)))
        assert (told.kind, told.code) == (DISCONNECT, 0x82)
        assert here.intake.sessions == {}
        await until(lambda: here.intake.connections[0][2] == [Ending.PROTOCOL_ERROR])


@statement5("MQTT-3.1.4-3", "MQTT-3.14.4-2")
@pytest.mark.parametrize("clean", [True, False])
async def test_a_client_that_connects_again_takes_over(clean: bool) -> None:
    async with (
        door() as here,
        at(here, "c", HOUR) as before,
        at(here, "another") as beside,
        device5(here.address, "tenant-b/device-1", "another", "c") as elsewhere,
    ):
        await before.subscribed(COMMANDS)
        async with at(here, "c", HOUR, clean=clean) as after:
            assert present(after) is not clean
            (told,) = await before.last_words()
            assert (told.kind, told.code) == (DISCONNECT, 0x8E)
            await until(lambda: here.intake.connections[0][2] == [Ending.TAKEN_OVER])
            assert await beside.at_peace()
            assert await elsewhere.at_peace()
            here.intake.command_store.queue(KEY)
            if not clean:
                assert (await after.answer()).topic == OWN + "cmd/reboot"
            assert await after.at_peace()
            assert here.intake.sessions[KEY, "c"].expires_us is None


@statement5("MQTT-3.1.4-3")
async def test_a_failed_login_takes_nothing_over() -> None:
    async with door() as here, at(here, "c", HOUR) as device:
        await device.subscribed(COMMANDS)
        await last_words_of(here.address, say.connect(ALIAS, "wrong", "c"))
        await last_words_of(here.address, say.connect(ALIAS, TOKEN, "c", (Prop.AUTH_METHOD, "m")))
        assert await device.at_peace()
        assert {*here.intake.sessions[KEY, "c"].subscriptions} == {COMMANDS}


async def test_nothing_is_acknowledged_to_whom_was_taken_over() -> None:
    async with door() as here, at(here, "c", HOUR) as before:
        here.intake.hold()
        before.write(say.publish(TOPIC, BODY, 1, 5))
        await until(lambda: here.intake.pending)
        async with at(here, "c", HOUR, clean=False) as after:
            here.intake.release()
            assert [one.kind for one in await before.last_words()] == [DISCONNECT]
            assert (await after.ask(say.publish(TOPIC, BODY, 1, 5, dup=True))).summary == (PUBACK, 5, 0)


async def test_a_session_goes_on_after_a_restart() -> None:
    async with door() as here:
        async with at(here, "c", HOUR) as device:
            await device.subscribed(COMMANDS, qos=0, props=say.properties((Prop.SUBSCRIPTION_ID, 77)))
        await left(here)
        async with door() as again:
            again.intake.sessions.update(here.intake.sessions)
            async with at(again, "c", HOUR, clean=False) as device:
                assert present(device)
                again.intake.command_store.queue(KEY)
                told = await device.answer()
                assert (told.topic, told.flags, told.all(Prop.SUBSCRIPTION_ID)) == (OWN + "cmd/reboot", 0, [77])


async def test_a_session_that_cannot_be_stored() -> None:
    async with door() as here, at(here, "c", HOUR) as device:
        here.intake.store_down = True
        told = await device.ask(say.subscribe(5, (COMMANDS, 1)))
        assert all(code >= 0x80 for code in told.codes)
        here.intake.command_store.queue(KEY)
        assert await device.at_peace(), "a subscription that failed brings nothing"
        here.intake.store_down = False
        await device.subscribed(COMMANDS)
        assert (await device.answer()).topic == OWN + "cmd/reboot"


async def test_who_cannot_take_over_leaves_the_session_to_expire() -> None:
    async with door() as here, at(here, "c", HOUR) as before:
        await before.subscribed(COMMANDS)
        held = here.intake.sessions[KEY, "c"]
        async with stranger(here.address) as device:
            here.intake.delay_s = 0.05
            device.write(say.connect(ALIAS, TOKEN, "c", HOUR, clean=False))
            await until(lambda: len(here.intake.logins) == 2)
            await until(lambda: here.intake.connections[0][2])
            here.intake.store_down = True
            (told,) = await device.last_words()
            assert (told.kind, told.code) == (CONNACK, 0x88)
        await until(lambda: held.expires_us is not None)
        here.intake.store_down = False
        async with at(here, "c", HOUR, clean=False) as device:
            assert present(device)


async def test_a_hundred_clients_of_a_device_at_once() -> None:
    async with door() as here, asyncio.timeout(30):
        names = [f"c{count}" for count in range(100)]

        async def come_and_go(name: str) -> None:
            async with at(here, name) as device:
                assert (await device.ask(say.publish(TOPIC, BODY, 1, 5))).code == 0

        await asyncio.gather(*map(come_and_go, names))
        assert len(here.intake.committed) == 100
        assert {key for key, *_ in here.intake.connections} == {DeviceKey("tenant-a", "device-1")}


async def test_a_session_may_change_its_version() -> None:
    """What a device of MQTT 3.1.1 cannot read is not said to it."""
    async with door() as here:
        async with at(here, "c", HOUR) as device:
            await device.subscribed(COMMANDS, props=say.properties((Prop.SUBSCRIPTION_ID, 300)))
            assert (await device.ask(say.publish(TOPIC, BODY, 2, 5))).code == 0
        async with mqtt311.connected(here.address) as old:
            old.write(mqtt311.connect(ALIAS, TOKEN, "c", clean=False))
            assert await old.read() == b"\x20\x02\x01\x00"
            here.intake.command_store.queue(KEY)
            packet_id = 1
            command = mqtt311.publish(OWN + "cmd/reboot", b"{}", 1, packet_id)
            assert await old.read() == command
            old.write(mqtt311.pubrel(5))
            assert await old.read() == mqtt311.pubcomp(5)
        async with at(here, "c", HOUR, clean=False) as device:
            assert present(device)
            told = await device.answer()
            assert (told.flags, told.packet_id, told.all(Prop.SUBSCRIPTION_ID)) == (0b1010, packet_id, [300])
