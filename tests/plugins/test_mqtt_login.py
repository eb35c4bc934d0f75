"""MQTT: who may log in, and what a device may say besides publishing."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from pulse_core.api import DeviceKey, Reason
from pulse_mqtt.conversation import WINDOW_MESSAGES
from support import mqtt5_packets as mqtt5
from support import mqtt311 as mqtt
from support.mqtt_door import ACCEPTED, ALIAS, BODY, TOKEN, TOPIC, door
from support.waiting import until


async def test_login() -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        device.write(mqtt.connect(ALIAS, TOKEN))
        assert await device.read() == ACCEPTED
        [shown] = here.intake.logins
        assert (shown.key, shown.token) == (DeviceKey("tenant-a", "device-1"), TOKEN)


@pytest.mark.parametrize(
    ("packet", "code"),
    [
        pytest.param(mqtt.connect(ALIAS, "wrong"), 5, id="wrong token"),
        pytest.param(mqtt.connect(ALIAS, b"\xff\xfe"), 5, id="token that is not UTF-8"),
        pytest.param(mqtt.connect(ALIAS, None), 5, id="no token"),
        pytest.param(mqtt.connect("tenant-a/unknown", TOKEN), 5, id="unknown device"),
        pytest.param(mqtt.connect("tenant-b/device-1", TOKEN), 5, id="another tenant's device"),
        pytest.param(mqtt.connect(None, None), 4, id="nobody"),
        pytest.param(mqtt.connect("device-1", TOKEN), 4, id="no tenant"),
        pytest.param(mqtt.connect("tenant-a/device-1/x", TOKEN), 4, id="too many parts"),
        pytest.param(mqtt.connect("tenant-a/device-1\n", TOKEN), 4, id="newline"),
        pytest.param(mqtt.connect("tenant-a/" + "d" * 129, TOKEN), 4, id="long id"),
        pytest.param(mqtt.connect("tenant-a/🙂", TOKEN), 4, id="emoji"),
        pytest.param(mqtt.connect(ALIAS, TOKEN, "", clean=False), 2, id="no client id, no clean session"),
        pytest.param(mqtt.connect(ALIAS, TOKEN, level=3, name=b"MQIsdp"), 1, id="3.1"),
        pytest.param(mqtt.connect(ALIAS, TOKEN, level=6), 1, id="6"),
        pytest.param(mqtt.connect(ALIAS, TOKEN, name=b"HTTP"), 1, id="another protocol"),
    ],
)
async def test_refused_login(packet: bytes, code: int) -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        device.write(packet + mqtt.publish(TOPIC, BODY))
        assert await device.closed() == bytes((0x20, 2, 0, code))
        assert not here.intake.committed
        assert len(here.intake.submissions) == (code == 5)


@pytest.mark.parametrize(
    ("username", "token", "reason"),
    [
        (ALIAS, "wrong", Reason.TOKEN_INVALID),
        (ALIAS, None, Reason.TOKEN_MISSING),
        ("tenant-a/unknown", TOKEN, Reason.UNREGISTERED_DEVICE),
    ],
)
async def test_a_refused_login_is_counted_for_what_it_is(username: str, token: str | None, reason: Reason) -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        device.write(mqtt.connect(username, token))
        assert await device.closed() == b"\x20\x02\x00\x05"
        await until(lambda: here.intake.refused)
        [(message, outcome)] = here.intake.refused
        assert (message.msg_type, outcome.reason) == ("connect", reason)


async def test_login_while_the_database_is_down() -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        here.intake.store_down = True
        device.write(mqtt.connect(ALIAS, TOKEN))
        assert await device.closed() == b"\x20\x02\x00\x03"


async def test_a_will_is_accepted_and_an_empty_client_id_with_a_clean_session() -> None:
    async with door() as here, mqtt.connected(here.address) as one, mqtt.connected(here.address) as two:
        for device in (one, two):
            device.write(mqtt.connect(ALIAS, TOKEN, "", will=(TOPIC, b"gone")))
            assert await device.read() == ACCEPTED
        for device in (one, two):
            device.write(mqtt.PINGREQ)
            assert await device.read() == mqtt.PINGRESP


async def test_who_does_not_log_in_is_sent_away() -> None:
    async with door(connect_timeout_s=0.2) as here:
        async with mqtt.connected(here.address) as silent, mqtt.connected(here.address) as slow:
            slow.write(mqtt.connect(ALIAS, TOKEN)[:-3])
            assert await silent.closed() == b""
            assert await slow.closed() == b""
        here.intake.delay_s = 30
        async with mqtt.connected(here.address) as unlucky:
            unlucky.write(mqtt.connect(ALIAS, TOKEN))
            assert await unlucky.closed() == b""


async def test_messages_may_follow_the_login_at_once() -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        device.write(mqtt.connect(ALIAS, TOKEN) + mqtt.publish(TOPIC, BODY, packet_id=7))
        assert await device.read() == ACCEPTED
        assert await device.read() == mqtt.puback(7)


async def test_a_login_may_come_byte_by_byte() -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        for byte in mqtt.connect(ALIAS, TOKEN) + mqtt.publish(TOPIC, BODY, packet_id=7):
            device.write(bytes([byte]))
            await device.writer.drain()
            await asyncio.sleep(0)
        assert await device.read() == ACCEPTED
        assert await device.read() == mqtt.puback(7)


async def test_too_many_connections() -> None:
    async with door(max_connections=1) as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        async with mqtt.connected(here.address) as another:
            assert await another.closed() == b""
        device.write(mqtt.PINGREQ)
        assert await device.read() == mqtt.PINGRESP


async def test_subscriptions_stay_within_the_device_s_own_topics() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        own = "tenant/tenant-a/device/device-1/"
        device.write(
            mqtt.subscribe(
                9,
                (own + "cmd/#", 1),
                (own + "#", 2),
                (own + "cmd/+", 0),
                ("#", 0),
                ("tenant/+/device/device-1/cmd", 1),
                ("tenant/tenant-b/device/device-1/#", 1),
                ("$SYS/#", 0),
            )
        )
        assert await device.read() == b"\x90\x09\x00\x09" + bytes((1, 1, 0, 0x80, 0x80, 0x80, 0x80))
        device.write(mqtt.unsubscribe(10, own + "cmd/#"))
        assert await device.read() == b"\xb0\x02\x00\x0a"


async def test_disconnect() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        device.write(mqtt.publish(TOPIC, BODY, 0) + mqtt.DISCONNECT + mqtt.publish(TOPIC, BODY, 0))
        assert await device.closed() == b""
        assert len(here.intake.committed) == 1


async def test_what_was_sent_before_hanging_up_is_still_taken() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        here.intake.fill()
        count = 2 * WINDOW_MESSAGES
        device.write(b"".join(mqtt.publish(TOPIC, BODY, 0) for _ in range(count)))
        device.writer.write_eof()
        await until(lambda: here.intake.turned_away)
        here.intake.make_room()
        assert await device.closed() == b""
        assert len(here.intake.committed) == count


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", id="HTTP"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", id="TLS"),
        pytest.param(mqtt.PINGREQ, id="ping before login"),
        pytest.param(mqtt.publish(TOPIC, BODY), id="publish before login"),
        pytest.param(b"\x10\xff\xff\xff\xff\x01", id="endless length"),
        pytest.param(b"\x10\xff\xff\xff\x7f", id="256 MB CONNECT"),
        pytest.param(b"\x10\x00", id="empty CONNECT"),
        pytest.param(b"\x00\x00", id="type 0"),
        pytest.param(b"\xff" * 1000, id="ones"),
        pytest.param(bytes(1000), id="zeros"),
    ],
)
async def test_garbage_before_login(garbage: bytes) -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        device.write(garbage)
        assert await device.closed() == b""
        assert not here.intake.logins


@pytest.mark.parametrize(
    "garbage",
    [
        pytest.param(mqtt.connect(ALIAS, TOKEN), id="second CONNECT"),
        pytest.param(mqtt.publish(TOPIC, BODY, 3, 1), id="QoS 3"),
        pytest.param(mqtt.publish(TOPIC, BODY, 1, 0), id="packet id 0"),
        pytest.param(mqtt.publish(TOPIC, BODY, 0, dup=True), id="DUP at QoS 0"),
        pytest.param(mqtt.publish("", BODY), id="empty topic"),
        pytest.param(mqtt.publish(TOPIC + "/#", BODY), id="wildcard"),
        pytest.param(mqtt.publish(TOPIC + "\0", BODY), id="NUL"),
        pytest.param(mqtt.publish(b"tenant/tenant-a/device/device-1/\xff", BODY), id="not UTF-8"),
        pytest.param(b"\x32\x00", id="empty PUBLISH"),
        pytest.param(b"\x32\x03\x00\x09x", id="topic beyond the packet"),
        pytest.param(b"\x60\x02\x00\x01", id="PUBREL with the wrong flags"),
        pytest.param(b"\x62\x02\x00\x00", id="PUBREL 0"),
        pytest.param(b"\x80\x06\x00\x01\x00\x01a\x00", id="SUBSCRIBE with the wrong flags"),
        pytest.param(b"\x82\x02\x00\x01", id="SUBSCRIBE to nothing"),
        pytest.param(b"\xc0\x01x", id="PINGREQ with a body"),
        pytest.param(b"\xe0\x01x", id="DISCONNECT with a body"),
        pytest.param(b"\x20\x02\x00\x00", id="CONNACK"),
        pytest.param(b"\x90\x03\x00\x01\x00", id="SUBACK"),
        pytest.param(b"\xd0\x00", id="PINGRESP"),
        pytest.param(b"\xf0\x00", id="type 15"),
    ],
)
async def test_garbage_after_login(garbage: bytes) -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        device.write(mqtt.publish(TOPIC, BODY, 0) + garbage + mqtt.publish(TOPIC, BODY, 0))
        assert await device.closed() == b""
        await until(lambda: len(here.intake.committed) == 1)


async def test_too_many_failed_logins_from_an_address_are_refused_unexamined() -> None:
    async with door(login_failures_burst=3, login_failures_per_s=0.001) as here:

        async def answer(packet: bytes) -> bytes:
            async with mqtt.connected(here.address) as device:
                device.write(packet)
                return await device.read()

        assert await answer(mqtt.connect(ALIAS, TOKEN)) == ACCEPTED
        for number in range(3):
            assert await answer(mqtt.connect(f"tenant-a/guess-{number}", TOKEN)) == b"\x20\x02\x00\x05"
        examined = len(here.intake.logins)
        assert await answer(mqtt.connect("tenant-b/device-1", "another")) == b"\x20\x02\x00\x03"
        refused = await answer(mqtt5.connect("tenant-b/device-1", "another"))
        assert (refused[0], refused[3]) == (0x20, 0x9F)
        assert len(here.intake.logins) == examined
        assert await answer(mqtt.connect(ALIAS, TOKEN)) == ACCEPTED


async def test_a_flood_of_strangers_costs_only_strangers() -> None:
    async with door(max_strangers=2) as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        door_at = here.address
        async with mqtt.connected(door_at) as oldest, mqtt.connected(door_at), mqtt.connected(door_at) as last:
            assert await oldest.closed() == b""
            last.write(mqtt.connect(ALIAS, TOKEN, "another"))
            assert await last.read() == ACCEPTED
        device.write(mqtt.PINGREQ)
        assert await device.read() == mqtt.PINGRESP


async def test_a_storm_of_logins_is_no_flood_of_strangers() -> None:
    """Or those who have waited the longest would be sent away by each who comes, and nobody ever be let in."""
    async with door(max_strangers=2) as here:
        here.intake.delay_s = 0.3
        async with AsyncExitStack() as stack:
            devices = [await stack.enter_async_context(mqtt.connected(here.address)) for _ in range(2)]
            for number in range(6):
                devices[-2].write(mqtt.connect(ALIAS, TOKEN, f"client-{number}"))
                devices.append(await stack.enter_async_context(mqtt.connected(here.address)))
            for device in devices[:6]:
                assert await device.read() == ACCEPTED


async def test_too_many_connections_from_one_address() -> None:
    async with door(max_connections_per_address=2) as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        async with mqtt.connected(here.address), mqtt.connected(here.address) as third:
            assert await third.closed() == b""
        device.write(mqtt.PINGREQ)
        assert await device.read() == mqtt.PINGRESP

        async with mqtt.connected(here.address) as another:
            another.write(mqtt.connect(ALIAS, TOKEN, "another"))
            assert await another.read() == ACCEPTED
