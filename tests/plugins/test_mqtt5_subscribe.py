"""MQTT 5: SUBSCRIBE and UNSUBSCRIBE (3.8 to 3.11, 4.7, 4.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import mqtt5_packets as say
from support.mqtt5_device import DISCONNECT, PINGRESP, PUBLISH, SUBACK, UNSUBACK
from support.mqtt5_door import COMMANDS, FOREIGN, KEY, OWN, at
from support.mqtt5_packets import Prop
from support.mqtt_door import door
from support.statements import statement5

if TYPE_CHECKING:
    from collections.abc import Callable

FORBIDDEN, SHARED = 0x87, 0x9E


@statement5("MQTT-3.8.4-1", "MQTT-3.8.4-2", "MQTT-2.2.1-6", "MQTT-3.8.4-5", "MQTT-3.8.4-6", "MQTT-3.8.4-7")
@statement5("MQTT-3.9.3-1", "MQTT-3.9.3-2", "MQTT-3.9.2-2")
async def test_each_filter_has_its_answer() -> None:
    async with door() as here, at(here) as device:
        told = await device.ask(
            say.subscribe(
                0xABCD,
                (COMMANDS, 0),
                (FOREIGN, 1),
                (OWN + "cmd/+", 1),
                ("$share/group/" + COMMANDS, 1),
                (OWN + "cmd/reboot", 2),
                ("#", 1),
            )
        )
        assert (told.kind, told.packet_id) == (SUBACK, 0xABCD)
        assert told.codes == (0, FORBIDDEN, 1, SHARED, 1, FORBIDDEN)
        assert told.get(Prop.USER) is None


@statement5("MQTT-4.7.2-1", "MQTT-4.7.3-4")
@pytest.mark.parametrize(
    "name",
    [
        *("#", "+/#", "+", "$SYS/#", "tenant/#", "tenant/+/device/device-1/#", "tenant/tenant-a/device/+/cmd/#"),
        *("/" + COMMANDS, "\ufeff" + COMMANDS, COMMANDS.replace("tenant-a", "TENANT-A"), OWN[:-1]),
        "tenant/tenant-a/device/device-12/#",
    ],
)
async def test_filters_beyond_its_own_topics(name: str) -> None:
    async with door() as here, at(here) as device:
        told = await device.ask(say.subscribe(5, (name, 1)))
        assert told.codes == (FORBIDDEN,)
        here.intake.command_store.queue(KEY)
        assert await device.at_peace()


@statement5("MQTT-4.7.1-1", "MQTT-4.7.1-2")
@pytest.mark.parametrize("name", ["#", "cmd/#", "cmd/+", "+/+", "+/reboot", "+/#", "cmd/reboot", "cmd/reboot/#"])
async def test_filters_that_match_a_command(name: str) -> None:
    async with door() as here, at(here) as device:
        await device.subscribed(OWN + name)
        here.intake.command_store.queue(KEY, "reboot")
        told = await device.answer()
        assert (told.kind, told.topic) == (PUBLISH, OWN + "cmd/reboot")


@statement5("MQTT-4.7.1-2", "MQTT-3.3.2-3", "MQTT-4.7.3-4")
@pytest.mark.parametrize(
    "name",
    ["cmd", "cmd/", "+", "cmd/Reboot", "cmd/reboot/", "cmd/reboot/+", "CMD/#", "cmd//#", "telemetry", "cmd/re/#"],
)
async def test_filters_that_do_not_match_it(name: str) -> None:
    async with door() as here, at(here) as device:
        await device.subscribed(OWN + name, OWN + "cmd/halt")
        here.intake.command_store.queue(KEY, "reboot")
        here.intake.command_store.queue(KEY, "halt")
        assert (await device.answer()).topic == OWN + "cmd/halt"
        assert await device.at_peace()


@statement5("MQTT-3.8.3-1", "MQTT-3.8.3-2", "MQTT-3.8.3-5", "MQTT-3.8.3-4", "MQTT-4.7.1-1", "MQTT-4.7.1-2")
@statement5("MQTT-4.7.3-1", "MQTT-4.7.3-2", "MQTT-2.2.1-3", "MQTT-4.13.1-1", "MQTT-3.8.1-1")
@pytest.mark.parametrize(
    ("packet", "codes"),
    [
        pytest.param(say.subscribe(5), {0x82}, id="no filter"),
        pytest.param(say.subscribe(0, (COMMANDS, 1)), {0x81, 0x82}, id="packet id 0"),
        pytest.param(say.subscribe(5, (COMMANDS, 3)), {0x81, 0x82}, id="QoS 3"),
        pytest.param(say.subscribe(5, (COMMANDS, 0x31)), {0x81, 0x82}, id="retain handling 3"),
        pytest.param(say.subscribe(5, (COMMANDS, 0x41)), {0x81}, id="reserved bit 6"),
        pytest.param(say.subscribe(5, (COMMANDS, 0x81)), {0x81}, id="reserved bit 7"),
        pytest.param(say.subscribe(5, ("$share/g/t", 0x05)), {0x82}, id="no local on a shared subscription"),
        pytest.param(say.subscribe(5, (b"\xff", 1)), {0x81}, id="a filter that is no text"),
        pytest.param(say.subscribe(5, (OWN + "\0", 1)), {0x81}, id="NUL in a filter"),
        pytest.param(say.subscribe(5, ("", 1)), {0x81, 0x82, 0x8F}, id="empty filter"),
        pytest.param(say.subscribe(5, (COMMANDS, 1), (OWN + "#/a", 1)), {0x81, 0x8F}, id="# before the end"),
        pytest.param(say.subscribe(5, (OWN + "a#", 1)), {0x81, 0x8F}, id="# within a level"),
        pytest.param(say.subscribe(5, (OWN + "a+/b", 1)), {0x81, 0x8F}, id="+ within a level"),
        pytest.param(
            say.subscribe(5, (COMMANDS, 1), props=say.properties((Prop.SUBSCRIPTION_ID, 0))), {0x82}, id="identifier 0"
        ),
        pytest.param(
            say.subscribe(5, (COMMANDS, 1), props=say.properties(*[(Prop.SUBSCRIPTION_ID, 1)] * 2)),
            {0x82},
            id="two identifiers",
        ),
        pytest.param(b"\x80" + say.subscribe(5, (COMMANDS, 1))[1:], {0x81}, id="flags 0000"),
        pytest.param(b"\x83" + say.subscribe(5, (COMMANDS, 1))[1:], {0x81}, id="flags 0011"),
    ],
)
async def test_a_subscribe_that_is_none(packet: bytes, codes: set[int]) -> None:
    async with door() as here, at(here, "c", (Prop.SESSION_EXPIRY, 100)) as device:
        (told,) = await device.last_words(packet + say.PINGREQ)
        assert told.kind == DISCONNECT
        assert told.code in codes
        assert here.intake.sessions[KEY, "c"].subscriptions == {}


@statement5("MQTT-4.8.2-1", "MQTT-4.8.2-2")
@pytest.mark.parametrize("name", ["$share/g/" + COMMANDS, "$share", "$share/", "$share/g", "$share//t", "$share/g/"])
async def test_shared_subscriptions_are_refused(name: str) -> None:
    """What is none is refused likewise, or ends the connection."""
    async with door() as here, at(here) as device:
        told = await device.ask(say.subscribe(5, (name, 1)))
        if told.kind == DISCONNECT:
            assert told.code in (0x81, 0x82, 0x8F)
        else:
            assert told.codes == (SHARED,) or (told.codes[0] in (FORBIDDEN, 0x8F) and name.count("/") < 2)


async def test_a_session_has_so_many_subscriptions_and_no_more() -> None:
    async with door() as here, at(here) as device:
        names = [(f"{OWN}cmd/{number}", 1) for number in range(40)]
        codes = (await device.ask(say.subscribe(5, *names))).codes
        assert codes == (1,) * 32 + (0x97,) * 8
        assert (await device.ask(say.subscribe(6, names[0], (OWN + "x" * 500, 1)))).codes == (1, 0x97), "one is held"
        assert (await device.ask(say.unsubscribe(7, names[1][0]))).codes == (0,)
        assert (await device.ask(say.subscribe(8, names[39], names[38]))).codes == (1, 0x97)


@statement5("MQTT-3.8.4-3", "MQTT-3.8.4-4")
async def test_the_same_filter_again_replaces_it() -> None:
    async with door() as here, at(here) as device:
        await device.subscribed(COMMANDS, props=say.properties((Prop.SUBSCRIPTION_ID, 5)))
        here.intake.command_store.queue(KEY, "one")
        told = await device.answer()
        assert (told.flags >> 1 & 3, told.get(Prop.SUBSCRIPTION_ID)) == (1, 5)
        device.write(say.puback(told.packet_id))
        device.write(say.subscribe(6, (COMMANDS, 0), props=say.properties((Prop.SUBSCRIPTION_ID, 6))))
        here.intake.command_store.queue(KEY, "two")
        said = sorted(await device.answers(2), key=lambda one: one.kind)
        assert [one.kind for one in said] == [PUBLISH, SUBACK]
        assert await device.at_peace(), "one subscription, one copy"
        here.intake.command_store.queue(KEY, "three")
        told = await device.answer()
        assert (told.topic, told.flags, told.get(Prop.SUBSCRIPTION_ID)) == (OWN + "cmd/three", 0, 6)


@statement5("MQTT-3.3.1-9", "MQTT-3.3.1-10", "MQTT-3.3.1-11", "MQTT-3.3.1-12", "MQTT-3.3.1-13")
@pytest.mark.parametrize(
    "options", [handling << 4 | published << 3 | 1 for handling in range(3) for published in (0, 1)]
)
async def test_retain_handling_where_nothing_is_retained(options: int) -> None:
    async with door() as here, at(here) as device:
        for _ in range(2):
            assert (await device.ask(say.subscribe(5, (COMMANDS, options)))).codes == (1,)
            assert await device.at_peace()
        here.intake.command_store.queue(KEY)
        told = await device.answer()
        assert (told.kind, told.flags & 1) == (PUBLISH, 0)


@statement5("MQTT-3.10.4-1", "MQTT-3.10.4-4", "MQTT-3.10.4-5", "MQTT-3.10.4-6", "MQTT-3.11.3-1", "MQTT-3.11.3-2")
@statement5("MQTT-2.2.1-6", "MQTT-3.11.2-2")
async def test_unsubscribing() -> None:
    async with door() as here, at(here, "c", (Prop.SESSION_EXPIRY, 100)) as device:
        await device.subscribed(COMMANDS, OWN + "cmd/+", OWN + "cmd/a")
        told = await device.ask(
            say.unsubscribe(0xABCD, OWN + "cmd/+", OWN + "cmd/", FOREIGN, COMMANDS.upper(), COMMANDS, OWN + "cmd/+")
        )
        assert (told.kind, told.packet_id) == (UNSUBACK, 0xABCD)
        assert told.codes == (0, 0x11, 0x11, 0x11, 0, 0x11)
        assert told.get(Prop.USER) is None
        assert set(here.intake.sessions[KEY, "c"].subscriptions) == {OWN + "cmd/a"}


@statement5("MQTT-3.10.4-2")
async def test_nothing_new_comes_after_unsubscribing() -> None:
    async with door() as here, at(here) as device:
        await device.subscribed(COMMANDS)
        assert (await device.ask(say.unsubscribe(5, COMMANDS))).codes == (0,)
        here.intake.command_store.queue(KEY)
        assert await device.at_peace()
        assert {one.status for one in here.intake.command_store.queued.values()} == {"QUEUED"}


@statement5("MQTT-3.10.4-3")
async def test_what_was_sent_before_unsubscribing_is_finished() -> None:
    async with door() as here, at(here) as device:
        await device.subscribed(COMMANDS)
        command = here.intake.command_store.queue(KEY)
        sent = await device.answer()
        assert (await device.ask(say.unsubscribe(5, COMMANDS))).codes == (0,)
        device.write(say.puback(sent.packet_id))
        assert await device.at_peace()
        assert here.intake.command_store.status(command) == "ACKNOWLEDGED"


@statement5("MQTT-3.10.1-1", "MQTT-3.10.3-1", "MQTT-3.10.3-2", "MQTT-4.13.1-1", "MQTT-2.2.1-3")
@pytest.mark.parametrize(
    ("packet", "codes"),
    [
        pytest.param(say.unsubscribe(5), {0x82}, id="no filter"),
        pytest.param(say.unsubscribe(0, COMMANDS), {0x81, 0x82}, id="packet id 0"),
        pytest.param(say.unsubscribe(5, b"\xff"), {0x81}, id="a filter that is no text"),
        pytest.param(say.unsubscribe(5, COMMANDS, ""), {0x81, 0x82, 0x8F}, id="empty filter"),
        pytest.param(say.unsubscribe(5, "a#"), {0x81, 0x8F}, id="# within a level"),
        pytest.param(b"\xa0" + say.unsubscribe(5, COMMANDS)[1:], {0x81}, id="flags 0000"),
        pytest.param(b"\xa6" + say.unsubscribe(5, COMMANDS)[1:], {0x81}, id="flags 0110"),
    ],
)
async def test_an_unsubscribe_that_is_none(packet: bytes, codes: set[int]) -> None:
    async with door() as here, at(here, "c", (Prop.SESSION_EXPIRY, 100)) as device:
        await device.subscribed(COMMANDS)
        (told,) = await device.last_words(packet + say.PINGREQ)
        assert told.kind == DISCONNECT
        assert told.code in codes
        assert set(here.intake.sessions[KEY, "c"].subscriptions) == {COMMANDS}


@statement5("MQTT-3.1.2-24")
@pytest.mark.parametrize(
    "write", [lambda names: say.subscribe(5, *((one, 1) for one in names)), lambda names: say.unsubscribe(5, *names)]
)
async def test_more_filters_than_an_answer_has_room_for(write: Callable[[list[str]], bytes]) -> None:
    async with door() as here:
        for count in (70, 73, 74, 75, 76, 100, 150):
            async with at(here, "c", (Prop.PACKET_MAX, 80)) as device:
                told = await device.ask(write([f"{OWN}{number}" for number in range(count)]))
                assert len(told.raw) <= 80
                assert told.codes == (0x97,) if told.kind == DISCONNECT else len(told.codes) == count
                assert count < 76 or told.kind == DISCONNECT
                assert count > 70 or told.kind != DISCONNECT


@statement5("MQTT-3.12.4-1")
async def test_pings() -> None:
    async with door() as here, at(here) as device:
        device.write(say.PINGREQ * 50)
        assert {one.kind for one in await device.answers(50)} == {PINGRESP}
