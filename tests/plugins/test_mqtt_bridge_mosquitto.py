"""The bridge against a real broker: what is not committed stays there, whoever stops or dies."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiomqtt
import pytest

from pulse_core.api import Reason
from pulse_core.testing.ingesters import body
from pulse_mqtt_bridge.wire import LARGEST_PACKET
from support.bridging import TOPIC, Bridge, bridging
from support.durable_mosquitto import DurableMosquitto
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANY = 60


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[DurableMosquitto]:
    running = DurableMosquitto(tmp_path)
    running.start()
    yield running
    running.stop()


async def publish(port: int, numbers: range, qos: int) -> None:
    async with aiomqtt.Client("127.0.0.1", port) as device:
        device.pending_calls_threshold = 1000
        await asyncio.gather(*(device.publish(TOPIC, body(number), qos=qos) for number in numbers))


def handed_over(bridge: Bridge) -> list[bytes]:
    return [message.payload for one in bridge.intake.pending for message in one.messages]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("qos", [1, 2])
async def test_what_is_undecided_comes_again_and_what_is_committed_does_not(
    broker: DurableMosquitto, protocol: str, qos: int
) -> None:
    """So it is after kill -9, too: the broker knows of our end only that nothing was acknowledged."""
    every = [body(number) for number in range(MANY)]
    config: dict[str, Any] = {"protocol": protocol, "qos": qos, "drain_timeout_s": 0.1}
    async with bridging(broker.port, **config) as bridge:
        bridge.intake.hold()
        await publish(broker.port, range(MANY), qos)
        await until(lambda: len(handed_over(bridge)) == MANY)
        bridge.intake.decide(bridge.intake.pending[0])
        first = len(bridge.intake.committed)
    async with bridging(broker.port, **config) as bridge:
        await until(lambda: len(bridge.intake.committed) == MANY - first)
        assert [message.payload for message in bridge.intake.committed] == every[first:]
    async with bridging(broker.port, **config) as bridge:
        await publish(broker.port, range(MANY, MANY + 1), qos)
        await until(lambda: bridge.intake.committed)
        assert [message.payload for message in bridge.intake.committed] == [body(MANY)]


async def test_what_is_published_while_we_are_away_comes_when_we_are_back(broker: DurableMosquitto) -> None:
    async with bridging(broker.port):
        pass
    await publish(broker.port, range(MANY), 1)
    broker.stop()
    broker.start()
    async with bridging(broker.port) as bridge:
        await until(lambda: len(bridge.intake.committed) == MANY)


@pytest.mark.parametrize("qos", [1, 2])
async def test_a_broker_that_is_killed_and_comes_back_is_found_again(broker: DurableMosquitto, qos: int) -> None:
    async with bridging(broker.port, qos=qos) as bridge:
        for turn in range(3):
            await publish(broker.port, range(turn * MANY, (turn + 1) * MANY), qos)
            await until(lambda turn=turn: len(bridge.intake.committed) >= (turn + 1) * MANY)  # type: ignore[misc]
            broker.kill()
            await until(lambda: not bridge.is_up)
            broker.start()
            await bridge.up()
        assert {message.payload for message in bridge.intake.committed} == {body(number) for number in range(3 * MANY)}


async def test_two_that_share_the_work(broker: DurableMosquitto) -> None:
    async with (
        bridging(broker.port, client_id="one") as one,
        bridging(broker.port, client_id="another") as another,
    ):
        await publish(broker.port, range(MANY), 1)
        await until(lambda: len(one.intake.committed) + len(another.intake.committed) == MANY)
        assert one.intake.committed
        assert another.intake.committed


async def test_no_room_for_longer_than_a_moment(broker: DurableMosquitto) -> None:
    async with bridging(broker.port, max_undecided=50) as bridge:
        bridge.intake.fill(room_for=5)
        await publish(broker.port, range(500), 1)
        await until(lambda: bridge.intake.turned_away)
        await asyncio.sleep(0.2)
        assert max(len(batch) for batch in bridge.intake.submissions) <= 50
        bridge.intake.make_room()
        await until(lambda: len(bridge.intake.committed) == 500)
        assert [message.payload for message in bridge.intake.committed] == [body(number) for number in range(500)]


async def test_what_is_too_large_for_us_stops_nothing(broker: DurableMosquitto) -> None:
    async with bridging(broker.port) as bridge, aiomqtt.Client("127.0.0.1", broker.port) as device:
        await device.publish(TOPIC, b"x" * 2 * LARGEST_PACKET, qos=1)
        await device.publish(TOPIC, b"x" * (LARGEST_PACKET // 2), qos=1)
        await device.publish(TOPIC, body(1), qos=1)
        await until(lambda: bridge.intake.committed)
        assert [outcome.reason for _, outcome in bridge.intake.refused] == [Reason.PAYLOAD_TOO_LARGE]


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize("share", ["", "pulse"])
async def test_of_retained_messages_only_the_new_ones_count(
    broker: DurableMosquitto, protocol: str, share: str
) -> None:
    async with aiomqtt.Client("127.0.0.1", broker.port) as device:
        await device.publish(TOPIC, body(1), qos=1, retain=True)
        async with bridging(broker.port, protocol=protocol, share=share) as bridge:
            await device.publish(TOPIC, body(2), qos=1, retain=True)
            await device.publish(TOPIC, body(3), qos=1)
            await until(lambda: len(bridge.intake.committed) >= 2)
            assert [message.payload for message in bridge.intake.committed] == [body(2), body(3)]
