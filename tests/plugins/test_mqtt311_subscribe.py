"""Conformance with MQTT 3.1.1, chapters 3.8 to 3.11 and 4.7: what is granted, refused, replaced and given up."""

from __future__ import annotations

import pytest

from pulse_core.api import LONGEST_FILTER, MOST_SUBSCRIPTIONS
from pulse_mqtt.wire import MOST_FILTERS
from support import mqtt311 as mqtt
from support.mqtt_device import Device, alive, published, thrown_out
from support.mqtt_door import BODY
from support.statements import statement311
from support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

REFUSED = 0x80


async def codes(client: mqtt.Client, packet_id: int, *filters: tuple[str, int]) -> list[int]:
    """Subscribe, and see what is granted."""
    client.write(mqtt.subscribe(packet_id, *filters))
    answer = await client.read()
    head = b"\x90" + mqtt.length(2 + len(filters)) + packet_id.to_bytes(2, "big")
    assert answer.startswith(head)
    return list(answer[len(head) :])


async def give_up(client: mqtt.Client, packet_id: int, *filters: str) -> None:
    client.write(mqtt.unsubscribe(packet_id, *filters))
    assert await client.read() == b"\xb0\2" + packet_id.to_bytes(2, "big")


@statement311("MQTT-3.8.4-1", "MQTT-3.8.4-2", "MQTT-3.8.4-5", "MQTT-3.9.3-2", "MQTT-3.8.3-2")
@pytest.mark.parametrize(
    "rest", ["#", "+", "+/+", "cmd/#", "cmd/+", "cmd/reboot", "cmd/+/#", "a", "", "/", "a//b", "$x"]
)
async def test_a_filter_below_its_own_topics_is_granted(device: Device, rest: str) -> None:
    async with device.online() as client:
        granted = [await codes(client, 10 + qos, (device.prefix + rest, qos)) for qos in (0, 1, 2)]
        assert granted == [[0], [1], [1]]


@statement311("MQTT-3.8.4-5", "MQTT-3.9.3-2", "MQTT-4.7.2-1", "MQTT-4.7.3-4")
async def test_a_filter_that_reaches_further_is_refused(device: Device) -> None:
    other = Device(device.here)
    foreign = (
        *("#", "+", "+/#", "/#", "$SYS/#", "$share/group/" + device.prefix + "#", "tenant/#", "x"),
        *(other.prefix + "#", device.prefix[:-1], device.prefix[:-1] + "x/#", device.prefix.upper() + "#"),
        *(
            "tenant/tenant-a/device/+/#",
            "tenant/+/device/fresh-1/#",
            "/" + device.prefix + "#",
            device.prefix[1:] + "#",
        ),
        *(device.prefix.replace("tenant-a", "tenant-b") + "#", device.prefix.replace("/", "//") + "#"),
    )
    async with device.online() as client:
        for qos in (0, 1, 2):
            assert await codes(client, 9, *((each, qos) for each in foreign)) == [REFUSED] * len(foreign)
        assert await alive(client)


@statement311("MQTT-3.9.3-1", "MQTT-3.8.4-4", "MQTT-3.8.4-5")
async def test_each_filter_has_its_code_in_order(device: Device) -> None:
    asked = [(device.prefix + "a", 0), ("#", 1), (device.prefix + "b", 2), ("x", 0), (device.prefix + "#", 1)]
    async with device.online() as client:
        assert await codes(client, 7, *asked) == [0, REFUSED, 1, REFUSED, 1]
        assert await codes(client, 8, *reversed(asked)) == [1, REFUSED, 1, REFUSED, 0]


async def test_more_filters_than_a_session_holds(device: Device) -> None:
    """Each has a code, and those that are too many are refused; the packet counts as one message."""
    asked = [(f"{device.prefix}{number}", 1) for number in range(MOST_FILTERS)]
    async with device.online() as client:
        assert await codes(client, 7, *asked) == [1] * MOST_SUBSCRIPTIONS + [REFUSED] * (
            MOST_FILTERS - MOST_SUBSCRIPTIONS
        )
        await give_up(client, 8, *(one for one, _ in asked))
        assert await codes(client, 9, asked[-1]) == [1]
        assert await alive(client)
    assert device.here.intake.charged[-3:] == [(device.key, 1)] * 3


async def test_a_filter_that_is_too_long(device: Device) -> None:
    longest = device.prefix + "x" * (LONGEST_FILTER - len(device.prefix))
    async with device.online() as client:
        assert await codes(client, 7, (longest + "x", 1), (longest, 1)) == [REFUSED, 1]
        assert await alive(client)


async def test_more_filters_than_anybody_needs_are_not_read(device: Device) -> None:
    """Tens of thousands of them would keep everybody waiting for a second."""
    for count in (MOST_FILTERS + 1, 60_000):
        assert await thrown_out(device, mqtt.packet(0x82, b"\0\1" + b"\0\1a\1" * count))
        assert await thrown_out(device, mqtt.packet(0xA2, b"\0\1" + b"\0\1a" * count))


@statement311("MQTT-3.8.3-3", "MQTT-3.10.3-2", "MQTT-4.8.0-1")
async def test_no_filter_is_a_violation(device: Device) -> None:
    assert await thrown_out(device, mqtt.packet(0x82, b"\0\1"))
    assert await thrown_out(device, mqtt.packet(0xA2, b"\0\1"))


@statement311("MQTT-3.8.3-4")
async def test_options_that_are_no_qos_are_a_violation(device: Device) -> None:
    good = mqtt.text(device.prefix + "a")
    for options in (3, 0x04, 0x05, 0x08, 0x10, 0x20, 0x40, 0x80, 0x81, 0xFF):
        assert await thrown_out(device, mqtt.packet(0x82, b"\0\1" + good + bytes([options]))), options
        assert await thrown_out(device, mqtt.packet(0x82, b"\0\1" + good + b"\1" + good + bytes([options]))), options


@statement311("MQTT-4.7.1-2", "MQTT-4.7.1-3", "MQTT-4.7.3-1", "MQTT-3.8.3-1", "MQTT-3.10.3-1")
@pytest.mark.parametrize("rest", ["a#", "#/a", "a/#/b", "##", "#+", "a+", "+a", "a/b+/c", "+#", "++", "a/+b/#", None])
async def test_a_filter_that_is_none(device: Device, rest: str | None) -> None:
    wrong = "" if rest is None else device.prefix + rest
    assert await thrown_out(device, mqtt.subscribe(1, (wrong, 1)))
    assert await thrown_out(device, mqtt.subscribe(1, (device.prefix + "a", 1), (wrong, 1)))
    assert await thrown_out(device, mqtt.unsubscribe(1, wrong))
    assert await thrown_out(device, mqtt.unsubscribe(1, device.prefix + "a", wrong))


@statement311("MQTT-3.10.4-4", "MQTT-3.10.4-5", "MQTT-3.10.4-6")
async def test_unsubscribe_is_answered_once_whatever_there_was(device: Device) -> None:
    async with device.online() as client:
        await give_up(client, 1, device.prefix + "#")
        assert await codes(client, 2, (device.prefix + "#", 1)) == [1]
        await give_up(client, 3, device.prefix + "#", device.prefix + "a", "x", "#", "$SYS/#")
        await give_up(client, 4, device.prefix + "#")
        assert await alive(client)


@statement311("MQTT-3.3.2-3", "MQTT-4.7.1-2", "MQTT-4.7.1-3")
@pytest.mark.parametrize("rest", ["#", "cmd/#", "cmd/+", "+/+", "+/reboot", "cmd/reboot", "cmd/reboot/#"])
async def test_a_command_reaches_a_filter_that_matches(device: Device, rest: str) -> None:
    async with device.online() as client:
        assert await codes(client, 1, (device.prefix + rest, 1)) == [1]
        device.queue("reboot", '{"in_s":5}')
        got = published(await client.read())
        assert (got.topic, got.payload) == (device.prefix + "cmd/reboot", b'{"in_s":5}')
        client.write(mqtt.puback(got.packet_id))
        assert await alive(client)


@statement311("MQTT-3.3.2-3", "MQTT-4.7.3-4", "MQTT-4.7.1-3")
@pytest.mark.parametrize(
    "rest", ["+", "cmd", "cmd/", "cmd/Reboot", "cmd/reboot/+", "cmd//reboot", "Cmd/#", "a/#", "+/+/+"]
)
async def test_a_command_does_not_reach_another_filter(device: Device, rest: str) -> None:
    async with device.online() as client:
        assert await codes(client, 1, (device.prefix + rest, 1)) == [1]
        command = device.queue("reboot")
        assert await codes(client, 2, (device.prefix + "cmd/other", 1)) == [1]
        other = device.queue("other")
        got = published(await client.read())
        assert got.name == "other"
        client.write(mqtt.puback(got.packet_id))
        await until(lambda: device.status(other) == "ACKNOWLEDGED")
        assert device.status(command) == "QUEUED"
        assert await alive(client)


@statement311("MQTT-3.8.4-3", "MQTT-3.8.4-6", "MQTT-4.3.1-1", "MQTT-3.3.1-2", "MQTT-2.3.1-5")
async def test_the_same_filter_again_replaces_its_subscription(device: Device) -> None:
    async with device.online() as client:
        for packet_id, qos in ((1, 1), (2, 0), (3, 2)):
            assert await codes(client, packet_id, (device.prefix + "cmd/#", qos)) == [min(qos, 1)]
            device.queue("reboot")
            got = published(await client.read())
            assert (got.qos, got.dup, got.retain) == (min(qos, 1), False, False)
            if got.qos:
                client.write(mqtt.puback(got.packet_id))
            assert await alive(client)


@statement311("MQTT-3.3.5-1")
@pytest.mark.parametrize("order", [1, -1])
async def test_where_filters_overlap_the_highest_qos_counts(device: Device, order: int) -> None:
    overlapping = [(device.prefix + "#", 0), (device.prefix + "cmd/reboot", 1), (device.prefix + "cmd/+", 0)]
    async with device.online() as client:
        await codes(client, 1, *overlapping[::order])
        device.queue("reboot")
        got = published(await client.read())
        assert got.qos == 1
        client.write(mqtt.puback(got.packet_id))
        assert await alive(client)


@statement311("MQTT-3.10.4-1", "MQTT-4.7.3-4")
async def test_only_the_very_same_filter_is_given_up(device: Device) -> None:
    async with device.online() as client:
        assert await codes(client, 1, (device.prefix + "cmd/+", 1)) == [1]
        near = ("cmd/#", "#", "+/+", "cmd/reboot", "cmd/+/", "CMD/+", "cmd", "+")
        await give_up(client, 2, *(device.prefix + each for each in near))
        device.queue("reboot")
        assert published(await client.read()).name == "reboot"


@statement311("MQTT-3.10.4-2")
@pytest.mark.parametrize("together", [True, False])
async def test_nothing_comes_to_a_filter_that_is_given_up(device: Device, together: bool) -> None:
    first, second = device.prefix + "cmd/first", device.prefix + "cmd/second"
    async with device.online() as client:
        await codes(client, 1, (first, 1), (second, 1), (device.prefix + "cmd/last", 1))
        if together:
            await give_up(client, 2, first, second)
        else:
            await give_up(client, 2, first)
            await give_up(client, 3, second)
        commands = [device.queue("first"), device.queue("second")]
        last = device.queue("last")
        got = published(await client.read())
        assert got.name == "last"
        client.write(mqtt.puback(got.packet_id))
        await until(lambda: device.status(last) == "ACKNOWLEDGED")
        assert await alive(client)
        assert [device.status(each) for each in commands] == ["QUEUED"] * 2


@statement311("MQTT-3.10.4-3")
async def test_a_command_on_its_way_is_brought_to_its_end(device: Device) -> None:
    async with device.online() as client:
        await codes(client, 1, (device.prefix + "cmd/#", 1))
        command = device.queue("reboot")
        got = published(await client.read())
        await give_up(client, 2, device.prefix + "cmd/#")
        client.write(mqtt.puback(got.packet_id))
        await until(lambda: device.status(command) == "ACKNOWLEDGED")
        assert await alive(client)


@statement311("MQTT-4.5.0-1", "MQTT-3.3.1-12")
async def test_what_a_device_publishes_comes_back_to_nobody(device: Device) -> None:
    async with device.online("one") as one, device.online("two") as two:
        for client in (one, two):
            await codes(client, 1, (device.prefix + "#", 1))
        one.write(
            mqtt.publish(device.topic, BODY, 1, 5)
            + mqtt.publish(device.prefix + "cmd/reboot", BODY, 1, 6)
            + mqtt.publish(device.topic, BODY, 0)
        )
        assert [await one.read(), await one.read()] == [mqtt.puback(5), mqtt.puback(6)]
        await until(lambda: len(device.committed) == 2)
        assert await two.silent()
        assert await alive(one)
        assert await alive(two)
