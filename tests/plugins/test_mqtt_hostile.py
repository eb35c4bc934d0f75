"""MQTT: peers that mean harm, or have gone mad, cost only themselves. A good device beside them is answered in time."""

from __future__ import annotations

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import DeviceKey, Ending
from pulse_core.commands import CommandStatus
from pulse_core.testing.intake import known_device
from pulse_mqtt.connection import LONGEST_CONNECT
from pulse_mqtt.conversation import LONGEST_PACKET
from pulse_mqtt.courier import MOST_IN_FLIGHT
from support.certificates import Authority
from support.mqtt311 import PINGREQ
from support.mqtt_door import ALIAS, BODY, TOKEN, TOPIC, Door, door
from support.mqtt_frames import MQTT5, MQTT311, Frames
from support.mqtt_good import Good, Talk, good_device, talking
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

GOOD = ("tenant-a", "good")
GOOD_TOPIC = "tenant/tenant-a/device/good/telemetry"
COMMANDS = "tenant/tenant-a/device/device-1/cmd/#"
DEVICE = DeviceKey("tenant-a", "device-1")
BOTH = pytest.mark.parametrize("version", [MQTT311, MQTT5])


def port_of(here: Door, scheme: str = "mqtt") -> int:
    return int(here.ingester.addresses()[scheme].rpartition(":")[2])


@asynccontextmanager
async def beside_a_good_device(**config: Any) -> AsyncIterator[tuple[Door, Good]]:
    async with door(**config) as here:
        known = known_device(*GOOD, "token")
        here.intake.devices[known.key] = known
        async with good_device(port_of(here), "tenant-a/good", "token", GOOD_TOPIC, BODY) as good:
            yield here, good
            answered = good.answers
            await until(lambda: good.beyond(answered + 3), what="answers to the good device")


async def log_in(talk: Talk, version: int, **fields: Any) -> Frames:
    frames = Frames(version)
    talk.say(frames.connect(ALIAS, TOKEN, fields.pop("client_id", "bad"), **fields))
    answer = await talk.hear()
    assert (answer.kind, answer.body[1]) == ("CONNACK", 0)
    return frames


async def crowd(stack: AsyncExitStack, here: Door, count: int) -> list[Talk]:
    return [await stack.enter_async_context(talking(port_of(here))) for _ in range(count)]


def endings(here: Door, client_id: str = "bad") -> list[Ending]:
    return [one for _, facts, ended in here.intake.connections if facts["client_id"] == client_id for one in ended]


async def dribble(talk: Talk, data: bytes, every_s: float = 0.05) -> None:
    with suppress(ConnectionError):
        for number in range(len(data)):
            talk.say(data[number : number + 1])
            await talk.writer.drain()
            await asyncio.sleep(every_s)


async def say_for_ever(talk: Talk, chunk: bytes) -> None:
    async with asyncio.timeout(60):
        while True:
            talk.say(chunk)
            await talk.writer.drain()


async def test_strangers_that_say_a_byte_now_and_then_are_sent_away() -> None:
    async with beside_a_good_device(connect_timeout_s=0.6) as (here, _), AsyncExitStack() as stack:
        slow = await crowd(stack, here, 30)
        login = Frames(MQTT5).connect(ALIAS, TOKEN, "x" * 200)
        async with asyncio.TaskGroup() as group:
            for talk in slow:
                group.create_task(dribble(talk, login))
            for talk in slow:
                assert await talk.closed() == []
        assert len(here.intake.logins) == 1, "the good one's"


@BOTH
async def test_a_packet_that_comes_byte_by_byte_costs_its_sender(version: int) -> None:
    async with beside_a_good_device() as (here, good), talking(port_of(here)) as talk:
        frames = await log_in(talk, version)
        before = good.answers
        await dribble(talk, frames.publish(TOPIC, BODY, 1, 7), 0.005)
        assert (await talk.hear()).packet_id == 7
        assert good.beyond(before + 2)


@BOTH
async def test_packets_that_never_end(version: int) -> None:
    """Devices may begin a packet as long as any may be; strangers may not, and a longer one ends the connection."""
    async with beside_a_good_device(connect_timeout_s=1.0) as (here, _), AsyncExitStack() as stack:
        *strangers, too_long, never = await crowd(stack, here, 12)
        for talk in strangers:
            talk.say(b"\x10\xff\xff\xff\x7f" + bytes(LONGEST_CONNECT * 2))
        for talk in strangers:
            await talk.closed()
        await log_in(too_long, version, client_id="long")
        too_long.say(b"\x32\xff\xff\xff\x7f" + bytes(1000))
        said = await too_long.closed()
        assert [(one.kind, one.body[0]) for one in said] == ([("DISCONNECT", 0x95)] if version == MQTT5 else [])

        await log_in(never, version, keepalive_s=1)
        never.say(b"\x32\x80\x80\x14" + bytes(LONGEST_PACKET - 70_000))
        assert [one.kind for one in await never.closed()] == ["DISCONNECT"] * (version == MQTT5)
        assert endings(here) == [Ending.KEEP_ALIVE]
        assert len(here.intake.refused) == 0


async def test_a_flood_of_connections() -> None:
    async with beside_a_good_device(max_connections=40) as (here, good), AsyncExitStack() as stack:
        before = good.answers
        for _ in range(4):
            flood = await crowd(stack, here, 60)
            await asyncio.gather(*(talk.closed() for talk in flood[-20:]))
        assert good.beyond(before)
        await stack.aclose()
        async with asyncio.timeout(15):
            while True:
                try:
                    async with talking(port_of(here)) as talk:
                        await log_in(talk, MQTT5)
                        break
                except ConnectionError:
                    await asyncio.sleep(0.05)


@BOTH
async def test_a_subscriber_that_never_answers(version: int) -> None:
    """It is sent a handful of commands; the rest waits, and all of them come again when it has come to its senses."""
    async with beside_a_good_device() as (here, _), talking(port_of(here)) as talk:
        commands = here.intake.command_store
        frames = await log_in(talk, version)
        talk.say(frames.subscribe(1, (COMMANDS, 1)))
        assert (await talk.hear()).kind == "SUBACK"
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        queued = [commands.queue(DEVICE, payload='"%s"' % ("x" * 8000)) for _ in range(90)]
        await until(lambda: commands.status(queued[-1]) is CommandStatus.SENT)
        assert endings(here) == []
        talk.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert [(await talk.hear()).kind for _ in range(MOST_IN_FLIGHT)] == ["PUBLISH"] * MOST_IN_FLIGHT
        with pytest.raises(TimeoutError):
            await talk.hear(0.3)
        assert not any(commands.status(one) is CommandStatus.ACKNOWLEDGED for one in queued)
        talk.abort()

        async with talking(port_of(here)) as again:
            await log_in(again, version)
            again.say(frames.subscribe(1, (COMMANDS, 1)))
            heard = 0
            while heard < len(queued):
                packet = await again.hear()
                if packet.kind == "PUBLISH":
                    topic_end = 2 + int.from_bytes(packet.body[:2], "big")
                    again.say(b"\x40\x02" + packet.body[topic_end : topic_end + 2])
                    heard += 1
            await until(lambda: all(commands.status(one) is CommandStatus.ACKNOWLEDGED for one in queued))


async def test_a_publisher_that_never_reads_its_acknowledgements() -> None:
    """It is not read any more while its answers pile up, and then it is sent away."""
    async with beside_a_good_device(write_timeout_s=0.5) as (here, _), talking(port_of(here)) as talk:
        sock = talk.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        frames = await log_in(talk, MQTT5)
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        chunk = frames.publish(TOPIC, BODY, 1, 7) + PINGREQ * 20_000
        with pytest.raises(ConnectionError):
            await say_for_ever(talk, chunk)
        await until(lambda: endings(here) == [Ending.NOT_READING])


async def test_devices_that_vanish_without_a_word() -> None:
    async with beside_a_good_device() as (here, _), AsyncExitStack() as stack:
        gone = await crowd(stack, here, 20)
        for number, talk in enumerate(gone):
            await log_in(talk, MQTT311 + number % 2, client_id=f"gone-{number}", keepalive_s=1)
        await until(lambda: all(endings(here, f"gone-{n}") == [Ending.KEEP_ALIVE] for n in range(len(gone))))


async def test_handshakes_that_never_end(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.server("localhost")
    tls = {"tls_cert": tmp_path / "localhost.pem", "tls_port": 0}
    async with beside_a_good_device(connect_timeout_s=1.0, **tls) as (here, _), AsyncExitStack() as stack:
        port = port_of(here, "mqtts")
        slow = [await stack.enter_async_context(talking(port)) for _ in range(20)]
        for number, talk in enumerate(slow):
            talk.say((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"", b"\x10\x0c\x00\x04MQTT")[number % 3])
        async with good_device(port, ALIAS, TOKEN, TOPIC, BODY, tls=authority.client()) as good:
            for talk in slow:
                with suppress(ValueError):  # an alert of TLS is no packet
                    await talk.closed()
            await until(lambda: good.beyond(3))
