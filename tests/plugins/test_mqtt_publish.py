"""MQTT: what becomes of published messages, their order, and what happens when they come too fast."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pulse_core.api import DeviceKey, Outcome, Reason, Verdict
from pulse_mqtt.conversation import MOST_CONTROLS, WINDOW_MESSAGES
from support import mqtt311 as mqtt
from support.bad_input import BODIES, GOOD
from support.mqtt_door import ACCEPTED, ALIAS, BODY, TOKEN, TOPIC, Door, door
from support.waiting import until


async def test_quality_of_service_0_1_and_2() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        device.write(mqtt.publish(TOPIC, BODY, 0) + mqtt.publish(TOPIC, BODY, 1, 5) + mqtt.publish(TOPIC, BODY, 2, 6))
        assert await device.read() == mqtt.puback(5)
        assert await device.read() == mqtt.pubrec(6)
        device.write(mqtt.pubrel(6) + mqtt.pubrel(99))
        assert await device.read() == mqtt.pubcomp(6)
        assert await device.read() == mqtt.pubcomp(99)
        assert [message.may_wait for message in here.intake.committed] == [False, True, True]
        assert all(message.authenticated for message in here.intake.committed)
        assert here.intake.charged == [(DeviceKey("tenant-a", "device-1"), 2)]


async def test_a_chunk_is_one_submit_and_one_answer() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        device.write(b"".join(mqtt.publish(TOPIC, BODY, 1, ident) for ident in range(1, 21)))
        assert [await device.read() for _ in range(20)] == [mqtt.puback(ident) for ident in range(1, 21)]
        assert [len(batch) for batch in here.intake.submissions] == [20]


@pytest.mark.parametrize("flag", ["dup", "retain"])
async def test_dup_and_retain_change_nothing(flag: str) -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        device.write(mqtt.publish(TOPIC, BODY, 1, 5, dup=flag == "dup", retain=flag == "retain"))
        assert await device.read() == mqtt.puback(5)


@pytest.mark.parametrize("name", [*BODIES, *GOOD])
async def test_every_body_is_acknowledged_and_costs_no_neighbour(name: str) -> None:
    body = BODIES[name][0] if name in BODIES else GOOD[name]
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        device.write(b"".join(mqtt.publish(TOPIC, one, 1, at) for at, one in enumerate((BODY, body, BODY), 1)))
        assert [await device.read() for _ in range(3)] == [mqtt.puback(ident) for ident in (1, 2, 3)]
        expected = [BODIES[name][1]] if name in BODIES else []
        assert [outcome.reason for _, outcome in here.intake.refused] == expected


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("selfie", Reason.UNKNOWN_MESSAGE_TYPE),
        ("Telemetry", Reason.UNKNOWN_MESSAGE_TYPE),
        ("", Reason.BAD_TOPIC_FORMAT),
        ("telemetry/", Reason.BAD_TOPIC_FORMAT),
        ("a/b/c", Reason.BAD_TOPIC_FORMAT),
        ("x" * 60_000, Reason.UNKNOWN_MESSAGE_TYPE),
    ],
)
async def test_a_wrong_topic_of_its_own_is_acknowledged_and_counted(rest: str, reason: Reason) -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        topic = "tenant/tenant-a/device/device-1/" + rest
        device.write(mqtt.publish(topic, BODY, 1, 5) + mqtt.publish(TOPIC, BODY, 1, 6))
        assert [await device.read(), await device.read()] == [mqtt.puback(5), mqtt.puback(6)]
        [(message, outcome)] = here.intake.refused
        assert outcome.reason is reason
        assert len(message.msg_type) <= 256


@pytest.mark.parametrize(
    "topic",
    [
        "tenant/tenant-a/device/device-2/telemetry",
        "tenant/tenant-b/device/device-1/telemetry",
        "tenant/tenant-a/device/device-11/telemetry",
        "tenant/tenant-a/device/device-1",
        "/tenant/tenant-a/device/device-1/telemetry",
        "tenant/tenant-a/device/../device-1/telemetry",
        "$SYS/broker",
        "x",
    ],
)
@pytest.mark.parametrize("qos", [0, 1])
async def test_publishing_elsewhere_is_counted_and_ends_the_connection(topic: str, qos: int) -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        theirs = b'{"site_id":"site-1","provision_token":"another"}'
        device.write(mqtt.publish(TOPIC, BODY, 1, 5) + mqtt.publish(topic, theirs, qos, 6))
        device.write(mqtt.publish(TOPIC, BODY, 1, 7))
        said = await device.closed()
        assert said == mqtt.puback(5) + (mqtt.puback(6) if qos else b"")
        [(message, outcome)] = here.intake.refused
        assert (message.tenant_id, message.device_id, message.msg_type) == ("tenant-a", "device-1", topic)
        assert outcome.reason is Reason.BAD_TOPIC_FORMAT
        assert len(here.intake.committed) == 1


async def test_a_large_message_is_refused_and_a_huge_one_ends_the_connection() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        device.write(mqtt.publish(TOPIC, b"x" * 262_144, 1, 5) + mqtt.publish(TOPIC, BODY, 1, 6))
        assert [await device.read(), await device.read()] == [mqtt.puback(5), mqtt.puback(6)]
        [(_, outcome)] = here.intake.refused
        assert outcome.reason is Reason.PAYLOAD_TOO_LARGE
        device.write(mqtt.packet(0x32, b"")[:1] + mqtt.length(400_000) + b"x" * 1000)
        assert await device.closed() == b""


async def test_at_most_a_window_is_undecided() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        here.intake.hold()
        count = 3 * WINDOW_MESSAGES
        device.write(b"".join(mqtt.publish(TOPIC, BODY, 1, ident) for ident in range(1, count + 1)))
        await until(lambda: undecided(here) == WINDOW_MESSAGES)
        assert await device.silent()
        assert undecided(here) == WINDOW_MESSAGES
        here.intake.release()
        assert [await device.read() for _ in range(count)] == [mqtt.puback(ident) for ident in range(1, count + 1)]


async def test_at_most_a_megabyte_is_undecided() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        here.intake.hold()
        big = b"x" * 200_000
        for ident in range(1, 31):
            device.write(mqtt.publish(TOPIC, big, 1, ident))
        await until(lambda: undecided(here) >= 5)
        assert await device.silent()
        assert undecided(here) <= 7
        here.intake.release()
        assert [await device.read() for _ in range(30)] == [mqtt.puback(ident) for ident in range(1, 31)]


def undecided(here: Door) -> int:
    return sum(len(pending.messages) for pending in here.intake.pending)


@pytest.mark.parametrize("room_for", [0, 1, 3])
async def test_no_room(room_for: int) -> None:
    """Whatever found no room is handed over again, in order, and acknowledged once, in order."""
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        here.intake.fill(room_for)
        bodies = [b'{"site_id":"site-1","seq":%d}' % ident for ident in range(1, 401)]
        device.write(b"".join(mqtt.publish(TOPIC, body, 1, ident) for ident, body in enumerate(bodies, 1)))
        await until(lambda: here.intake.turned_away)
        assert await device.silent()
        assert len(here.intake.committed) <= room_for
        here.intake.make_room()
        assert [await device.read() for _ in bodies] == [mqtt.puback(ident) for ident in range(1, 401)]
        assert [message.payload for message in here.intake.committed] == bodies


async def test_a_hopeful_intake_is_not_asked_without_end() -> None:
    """Room is announced, but never there: the connection asks again at ever longer intervals."""
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        later = Outcome(Verdict.RETRY_LATER)
        here.intake.script.extend([later] * 100_000)
        device.write(mqtt.publish(TOPIC, BODY, 1, 5))
        await until(lambda: here.intake.turned_away > 3)
        assert await device.silent(0.5)
        assert here.intake.turned_away < 20
        here.intake.script.clear()
        assert await device.read() == mqtt.puback(5)


async def test_over_the_rate_limit_a_connection_is_read_more_slowly() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        here.intake.pace_s = lambda _key, count: count * 0.01
        count = 120
        started_s = asyncio.get_running_loop().time()
        device.write(b"".join(mqtt.publish(TOPIC, BODY, 1, ident) for ident in range(1, count + 1)))
        assert [await device.read() for _ in range(count)] == [mqtt.puback(ident) for ident in range(1, count + 1)]
        assert asyncio.get_running_loop().time() - started_s > 0.2
        assert sum(charged for _, charged in here.intake.charged) == count
        assert not here.intake.refused


async def test_an_intake_that_fails_acknowledges_nothing() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        here.intake.hold()
        device.write(mqtt.publish(TOPIC, BODY, 1, 5))
        await until(lambda: here.intake.pending)
        here.intake.pending.pop().future.set_exception(RuntimeError("a fault of ours"))
        assert await device.closed() == b""


async def test_what_is_not_read_yet_stays_with_its_sender() -> None:
    """A window at a time is read, and no more is taken from the socket for it: it would pile up in our memory."""
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        here.intake.delay_s = 0.002
        device.write(mqtt.publish(TOPIC, BODY, 1, 7) * 100_000)
        reading = asyncio.create_task(device.closed(120))
        connection: Any = here.ingester._door.roster.everyone()[0]  # type: ignore[union-attr]
        kept = []
        while len(here.intake.committed) < 100 * WINDOW_MESSAGES:
            kept.append(len(connection._rest))
            await asyncio.sleep(0.01)
        assert max(kept) <= 2 * 256 * 1024
        device.writer.transport.abort()
        await reading


@pytest.mark.parametrize("packet", [mqtt.PINGREQ, mqtt.pubrel(7), mqtt.puback(7), mqtt.pubrec(7)])
async def test_a_flood_of_small_packets_takes_turns(packet: bytes) -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        connection: Any = here.ingester._door.roster.everyone()[0]  # type: ignore[union-attr]
        connection.data_received(packet * 10_000)
        assert len(connection._rest) == len(packet) * (10_000 - MOST_CONTROLS)
        device.write(mqtt.publish(TOPIC, BODY, 1, 9))
        while (answer := await device.read()) != mqtt.puback(9):
            assert answer in (mqtt.PINGRESP, mqtt.pubcomp(7))
        assert not connection._rest


async def test_a_peer_that_never_reads_is_closed() -> None:
    async with door(write_timeout_s=0.5) as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        device.writer.transport.pause_reading()  # type: ignore[attr-defined]
        with pytest.raises(ConnectionError):
            await ping_for_ever(device)


async def ping_for_ever(device: mqtt.Client) -> None:
    async with asyncio.timeout(60):
        while True:
            device.write(mqtt.PINGREQ * 20_000)
            await device.writer.drain()


async def test_a_device_that_is_not_read_is_not_thought_silent() -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        device.write(mqtt.connect(ALIAS, TOKEN, keepalive_s=1))
        assert await device.read() == ACCEPTED
        here.intake.fill()
        device.write(mqtt.publish(TOPIC, BODY, 1, 5))
        assert await device.silent(2.5)
        here.intake.make_room()
        assert await device.read() == mqtt.puback(5)


async def test_keep_alive() -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        device.write(mqtt.connect(ALIAS, TOKEN, keepalive_s=1))
        assert await device.read() == ACCEPTED
        started_s = asyncio.get_running_loop().time()
        assert await device.closed() == b""
        assert 1.4 < asyncio.get_running_loop().time() - started_s < 10
