"""MQTT 5: commands, which are what this server publishes (3.3, 4.3.1, 4.3.2, 4.4, 4.6, 4.9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support import mqtt5_packets as say
from support.mqtt5_device import DISCONNECT, PUBACK, PUBLISH, PUBREC
from support.mqtt5_door import COMMANDS, KEY, OWN, at
from support.mqtt5_packets import Prop
from support.mqtt_door import BODY, TOPIC, door
from support.statements import statement5
from support.waiting import until

if TYPE_CHECKING:
    from support.mqtt5_device import Answer
    from support.mqtt_door import Door

HOUR = (Prop.SESSION_EXPIRY, 3600)


def numbered(here: Door, count: int) -> list[str]:
    """Queue commands; their topics in order."""
    for number in range(count):
        here.intake.command_store.queue(KEY, f"n{number}")
    return [f"{OWN}cmd/n{number}" for number in range(count)]


def statuses(here: Door) -> list[str]:
    """Of all commands, in order."""
    return [here.intake.command_store.status(one) for one in here.intake.command_store.queued]


def topics(said: list[Answer]) -> list[str]:
    """Of what was published."""
    return [one.topic for one in said]


@statement5("MQTT-4.3.2-1", "MQTT-4.3.2-2", "MQTT-2.2.1-4", "MQTT-3.3.2-3", "MQTT-3.3.1-12", "MQTT-3.8.4-8")
@statement5("MQTT-3.3.2-6")
async def test_a_command() -> None:
    async with door() as here, at(here) as device:
        await device.subscribed(COMMANDS)
        ident = here.intake.command_store.queue(KEY, "reboot", '{"in_s":5}', expires_in_s=100)
        told = await device.answer()
        assert (told.kind, told.topic, told.payload) == (PUBLISH, OWN + "cmd/reboot", b'{"in_s":5}')
        assert told.flags == 0b0010, "QoS 1, for the first time, not retained"
        assert told.packet_id
        assert told.get(Prop.PAYLOAD_FORMAT) == 1
        assert told.get(Prop.CONTENT_TYPE) == "application/json"
        assert 90 < int(str(told.get(Prop.MESSAGE_EXPIRY))) <= 100
        assert ("command_id", str(ident)) in told.all(Prop.USER)
        assert statuses(here) == ["SENT"]
        device.write(say.puback(told.packet_id))
        await until(lambda: statuses(here) == ["ACKNOWLEDGED"])


@statement5("MQTT-4.3.1-1", "MQTT-3.3.1-2", "MQTT-3.8.4-8")
async def test_a_command_of_qos_0() -> None:
    async with door() as here, at(here, "c", HOUR) as device:
        await device.subscribed(COMMANDS, qos=0)
        here.intake.command_store.queue(KEY)
        told = await device.answer()
        assert (told.flags, told.packet_id) == (0, 0)
        assert await device.at_peace()
        async with at(here, "c", HOUR, clean=False) as again:
            assert await again.at_peace(), "at most once"


@statement5("MQTT-2.2.1-4", "MQTT-4.3.2-1", "MQTT-4.6.0-5", "MQTT-4.6.0-6")
async def test_commands_come_in_order_each_with_a_packet_id_of_its_own() -> None:
    async with door() as here, at(here) as device:
        await device.subscribed(COMMANDS)
        expected = numbered(here, 15)
        said = await device.answers(15)
        assert topics(said) == expected
        assert len({one.packet_id for one in said}) == 15
        for one in reversed(said):
            device.write(say.puback(one.packet_id))
        await until(lambda: set(statuses(here)) == {"ACKNOWLEDGED"})
        more = numbered(here, 3)
        assert topics(await device.answers(3)) == more


@statement5("MQTT-4.3.2-3", "MQTT-4.4.0-1", "MQTT-3.3.1-1", "MQTT-3.3.1-3", "MQTT-4.6.0-5")
async def test_what_was_not_acknowledged_comes_again_on_the_next_connection() -> None:
    async with door() as here:
        async with at(here, "c", HOUR) as device:
            await device.subscribed(COMMANDS)
            numbered(here, 3)
            first = await device.answers(3)
            device.write(say.puback(first[1].packet_id))
            await until(lambda: "ACKNOWLEDGED" in statuses(here))
            assert await device.at_peace(), "nothing is sent again while the connection lasts"
            device.cut()
        here.intake.command_store.queue(KEY, "new")
        async with at(here, "c", HOUR, clean=False) as device:
            said = await device.answers(3)
            assert topics(said) == [first[0].topic, first[2].topic, OWN + "cmd/new"]
            assert [one.packet_id for one in said[:2]] == [first[0].packet_id, first[2].packet_id]
            assert [one.flags for one in said] == [0b1010, 0b1010, 0b0010]
            device.write(*(say.puback(one.packet_id) for one in said))
            await until(lambda: set(statuses(here)) == {"ACKNOWLEDGED"})
            assert await device.at_peace()


@statement5("MQTT-4.4.0-1", "MQTT-3.8.4-3")
async def test_nothing_is_sent_again_on_the_same_connection() -> None:
    """Not even when it subscribes once more."""
    async with door() as here, at(here) as device:
        await device.subscribed(COMMANDS)
        numbered(here, 3)
        first = await device.answers(3)
        await device.subscribed(COMMANDS, OWN + "#")
        assert await device.at_peace()
        device.write(say.puback(first[0].packet_id))
        await device.ask(say.unsubscribe(5, COMMANDS, OWN + "#"))
        await device.subscribed(COMMANDS)
        assert await device.at_peace()


@statement5("MQTT-3.3.1-3", "MQTT-4.3.2-2")
async def test_a_new_session_is_sent_everything_for_the_first_time() -> None:
    async with door() as here:
        async with at(here, "c", HOUR) as device:
            await device.subscribed(COMMANDS)
            numbered(here, 1)
            await device.answer()
        async with at(here, "c", HOUR, clean=True) as device:
            await device.subscribed(COMMANDS)
            assert (await device.answer()).flags == 0b0010


@statement5("MQTT-4.4.0-2")
@pytest.mark.parametrize("code", [0x80, 0x83, 0x87, 0x90, 0x97, 0x99])
async def test_what_the_device_refused_does_not_come_again(code: int) -> None:
    async with door() as here:
        async with at(here, "c", HOUR) as device:
            await device.subscribed(COMMANDS)
            here.intake.command_store.queue(KEY)
            device.write(say.puback((await device.answer()).packet_id, code))
            await until(lambda: statuses(here) == ["ACKNOWLEDGED"])
        async with at(here, "c", HOUR, clean=False) as device:
            here.intake.command_store.queue(KEY, "next")
            assert (await device.answer()).topic == OWN + "cmd/next"


@statement5("MQTT-4.3.2-3")
async def test_acknowledgements_of_what_was_not_sent_mean_nothing() -> None:
    async with door() as here, at(here) as device:
        await device.subscribed(COMMANDS)
        here.intake.command_store.queue(KEY)
        sent = await device.answer()
        device.write(say.puback(sent.packet_id + 1), say.pubrec(sent.packet_id + 2), say.pubcomp(sent.packet_id + 3))
        said = await device.until_pong()
        assert {one.kind for one in said} <= {DISCONNECT, 6}
        assert statuses(here) == ["SENT"]


@statement5("MQTT-3.3.4-9", "MQTT-4.9.0-1", "MQTT-4.9.0-2", "MQTT-4.9.0-3", "MQTT-3.3.4-10")
@pytest.mark.parametrize("most", [1, 3])
async def test_no_more_at_once_than_the_device_takes(most: int) -> None:
    async with door() as here, at(here, "c", (Prop.RECEIVE_MAX, most)) as device:
        await device.subscribed(COMMANDS)
        expected = numbered(here, 8)
        said: list[Answer] = await device.answers(most)
        while len(said) < 8:
            assert await device.at_peace()
            assert (await device.ask(say.publish(TOPIC, BODY, 1, 5))).kind == PUBACK
            assert (await device.ask(say.publish(TOPIC, BODY, 2, 6))).kind == PUBREC
            device.write(say.puback(said[len(said) - most].packet_id))
            said.append(await device.answer())
        assert topics(said) == expected


@statement5("MQTT-3.3.4-9", "MQTT-4.9.0-1")
async def test_the_next_connection_has_its_own_receive_maximum() -> None:
    async with door() as here:
        async with at(here, "c", HOUR) as device:
            await device.subscribed(COMMANDS)
            numbered(here, 5)
            await device.answers(5)
        async with at(here, "c", HOUR, (Prop.RECEIVE_MAX, 2), clean=False) as device:
            said = await device.answers(2)
            assert await device.at_peace()
            device.write(say.puback(said[0].packet_id, 0x80))
            assert (await device.answer()).topic == OWN + "cmd/n2"
            assert await device.at_peace()


@statement5("MQTT-3.1.2-24", "MQTT-3.1.2-25", "MQTT-3.3.4-9")
async def test_commands_that_are_too_large_for_the_device() -> None:
    async with door() as here:
        async with at(here) as device:
            await device.subscribed(COMMANDS)
            here.intake.command_store.queue(KEY, "fits", '"' + "x" * 50 + '"')
            fits = len((await device.answer()).raw)
        async with at(here, "c", (Prop.PACKET_MAX, fits), (Prop.RECEIVE_MAX, 1)) as device:
            await device.subscribed(COMMANDS, packet_id=9)
            told = await device.answer()
            assert (told.topic, len(told.raw)) == (OWN + "cmd/fits", fits)
            here.intake.command_store.queue(KEY, "large", '"' + "x" * 50 + '"')
            here.intake.command_store.queue(KEY, "last")
            device.write(say.puback(told.packet_id))
            assert (await device.answer()).topic == OWN + "cmd/last", "what was dropped takes no place"
            assert statuses(here)[1] == "SENT"


@statement5("MQTT-3.1.2-26", "MQTT-3.1.2-27", "MQTT-3.3.2-8", "MQTT-3.3.2-11")
@pytest.mark.parametrize("pairs", [[], [(Prop.ALIAS_MAX, 0)], [(Prop.ALIAS_MAX, 1)], [(Prop.ALIAS_MAX, 65_535)]])
async def test_commands_have_topics_not_aliases(pairs: list[tuple[int, int]]) -> None:
    async with door() as here, at(here, "c", *pairs) as device:
        await device.subscribed(COMMANDS)
        here.intake.command_store.queue(KEY)
        here.intake.command_store.queue(KEY)
        for told in await device.answers(2):
            assert (told.topic, told.get(Prop.ALIAS)) == (OWN + "cmd/reboot", None)


@statement5("MQTT-3.3.4-2", "MQTT-3.3.4-3", "MQTT-3.3.4-4", "MQTT-3.8.4-8")
async def test_subscriptions_that_overlap() -> None:
    async with door() as here, at(here) as device:
        for packet_id, (name, options, ident) in enumerate(
            [("#", 0, 7), ("cmd/+", 1, 268_435_455), ("+/reboot", 2, 0), ("cmd/halt", 1, 10), ("cmd/reboot", 0, 9)], 1
        ):
            props = say.properties((Prop.SUBSCRIPTION_ID, ident)) if ident else say.NONE
            await device.ask(say.subscribe(packet_id, (OWN + name, options), props=props))
        here.intake.command_store.queue(KEY, "reboot")
        told = await device.answer()
        assert told.flags == 0b0010
        assert sorted(map(int, map(str, told.all(Prop.SUBSCRIPTION_ID)))) == [7, 9, 268_435_455]
        assert await device.at_peace(), "one copy"


@statement5("MQTT-3.3.4-3")
async def test_subscription_identifiers_outlive_the_connection() -> None:
    async with door() as here:
        async with at(here, "c", HOUR) as device:
            await device.subscribed(COMMANDS, props=say.properties((Prop.SUBSCRIPTION_ID, 300)))
        async with at(here, "c", HOUR, clean=False) as device:
            here.intake.command_store.queue(KEY)
            assert (await device.answer()).all(Prop.SUBSCRIPTION_ID) == [300]


@statement5("MQTT-3.3.2-5")
async def test_what_has_expired_is_not_sent() -> None:
    async with door() as here:
        async with at(here, "c", HOUR, (Prop.RECEIVE_MAX, 1)) as device:
            await device.subscribed(COMMANDS)
            here.intake.command_store.queue(KEY, "first")
            sent = await device.answer()
            here.intake.command_store.queue(KEY, "brief", expires_in_s=0.1)
            here.intake.command_store.queue(KEY, "last")
            await until(lambda: statuses(here)[1] == "EXPIRED")
            device.write(say.puback(sent.packet_id))
            last = await device.answer()
            assert last.topic == OWN + "cmd/last"
            device.write(say.puback(last.packet_id))
            await until(lambda: statuses(here)[2] == "ACKNOWLEDGED")
        here.intake.command_store.queue(KEY, "brief", expires_in_s=0.0)
        async with at(here, "c", HOUR, clean=False) as device:
            assert await device.at_peace()


async def test_every_client_of_a_device_has_its_commands() -> None:
    async with door() as here, at(here, "a") as one, at(here, "b") as other:
        await one.subscribed(COMMANDS)
        await other.subscribed(OWN + "cmd/reboot")
        here.intake.command_store.queue(KEY, "halt")
        here.intake.command_store.queue(KEY, "reboot")
        assert topics(await one.answers(2)) == [OWN + "cmd/halt", OWN + "cmd/reboot"]
        assert topics([await other.answer()]) == [OWN + "cmd/reboot"]
        assert await other.at_peace()
