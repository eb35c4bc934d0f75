"""MQTT: sessions, revocation, ports, TLS, the end."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from pulse_core.api import DeviceKey, Ending, PermanentFailure
from pulse_core.testing.intake import LogOnly
from pulse_mqtt import MqttIngester
from pulse_mqtt.config import MqttConfig
from support import mqtt311 as mqtt
from support.certificates import Authority
from support.mqtt_door import ACCEPTED, ALIAS, BODY, TOKEN, TOPIC, door
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from support.mqtt_door import Door


async def test_the_same_client_again_takes_over() -> None:
    async with (
        door() as here,
        mqtt.logged_in(here.address, ALIAS, TOKEN, "one") as before,
        mqtt.logged_in(here.address, ALIAS, TOKEN, "two") as beside,
        mqtt.logged_in(here.address, "tenant-b/device-1", "another", "one") as stranger,
        mqtt.logged_in(here.address, ALIAS, TOKEN, "one") as after,
    ):
        assert await before.closed() == b""
        for device in (beside, stranger, after):
            device.write(mqtt.PINGREQ)
            assert await device.read() == mqtt.PINGRESP


async def test_a_failed_login_takes_nothing_over() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN, "one") as device:
        async with mqtt.connected(here.address) as thief:
            thief.write(mqtt.connect(ALIAS, "wrong", "one"))
            assert await thief.closed() == b"\x20\x02\x00\x05"
        device.write(mqtt.PINGREQ)
        assert await device.read() == mqtt.PINGRESP


async def test_revocation_ends_all_connections_of_the_device_and_no_other() -> None:
    async with (
        door() as here,
        mqtt.logged_in(here.address, "tenant-b/device-1", "another") as other,
        mqtt.logged_in(here.address, ALIAS, TOKEN, "1") as one,
        mqtt.logged_in(here.address, ALIAS, TOKEN, "2") as two,
    ):
        here.intake.revoke(DeviceKey("tenant-a", "device-1"))
        assert await one.closed(5) == b""
        assert await two.closed(5) == b""
        other.write(mqtt.PINGREQ)
        assert await other.read() == mqtt.PINGRESP


async def test_revocation_during_the_login() -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        here.intake.delay_s = 0.3
        device.write(mqtt.connect(ALIAS, TOKEN))
        await until(lambda: here.intake.logins)
        here.intake._revoked.put_nowait(DeviceKey("tenant-a", "device-1"))
        assert await device.closed() == b""


async def test_stopping_acknowledges_what_is_decided_and_forgets_what_waits() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        here.intake.hold()
        device.write(mqtt.publish(TOPIC, BODY, 1, 5))
        await until(lambda: here.intake.pending)
        here.intake.fill()
        device.write(mqtt.publish(TOPIC, BODY, 1, 6))
        await until(lambda: here.intake.turned_away)
        here.intake.stopping.set()
        await until(lambda: here.intake.receiving_log[-1] is False)
        assert not here.task.done()
        here.intake.release()
        assert await device.closed() == mqtt.puback(5)
        await asyncio.wait_for(here.task, 10)


async def test_stopping_does_not_wait_for_ever() -> None:
    async with door(drain_timeout_s=0.3) as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        here.intake.hold()
        device.write(mqtt.publish(TOPIC, BODY, 1, 5))
        await until(lambda: here.intake.pending)
        await here.stop()
        assert await device.closed() == b""


async def test_a_taken_port() -> None:
    async with door() as first:
        port = int(first.address.rpartition(":")[2])
        async with door(port=port, port_fallback=True) as second:
            assert second.address != first.address
            async with mqtt.logged_in(second.address, ALIAS, TOKEN):
                pass
        with pytest.raises(PermanentFailure, match=str(port)):
            await MqttIngester(MqttConfig(port=port), LogOnly()).run(first.intake)


async def test_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    authority.server("localhost")
    async with door(tls_cert=tmp_path / "localhost.pem", tls_port=0) as here:
        host, _, port = here.ingester.addresses()["mqtts"].removeprefix("mqtts://").rpartition(":")
        reader, writer = await asyncio.open_connection(
            host, int(port), ssl=authority.client(), server_hostname="localhost"
        )
        device = mqtt.Client(reader, writer)
        device.write(mqtt.connect(ALIAS, TOKEN) + mqtt.publish(TOPIC, BODY, 1, 5))
        assert [await device.read(), await device.read()] == [ACCEPTED, mqtt.puback(5)]
        device.write(mqtt.publish(TOPIC, BODY, 0))
        writer.close()
        await writer.wait_closed()
        await until(lambda: len(here.intake.committed) == 2)
        async with mqtt.logged_in(here.address, ALIAS, TOKEN):
            pass


async def test_a_certificate_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(PermanentFailure, match=r"missing\.pem"):
        await MqttIngester.check(MqttConfig(tls_cert=tmp_path / "missing.pem"))
    await MqttIngester.check(MqttConfig())


async def test_a_peer_that_says_all_at_once_and_stops_talking_is_heard_to_the_end() -> None:
    """Its end comes while it is not read, and may be noticed before what it said is."""
    async with door() as here, mqtt.connected(here.address) as device:
        device.write(mqtt.connect(ALIAS, TOKEN) + mqtt.publish(TOPIC, BODY, 1, 5))
        device.writer.write_eof()
        assert await device.closed() == ACCEPTED + mqtt.puback(5)
        assert len(here.intake.committed) == 1


async def test_a_peer_that_only_stopped_talking_gets_its_answers() -> None:
    async with door() as here, mqtt.logged_in(here.address, ALIAS, TOKEN) as device:
        here.intake.hold()
        device.write(mqtt.publish(TOPIC, BODY, 1, 5))
        device.writer.write_eof()
        await until(lambda: here.intake.pending)
        await asyncio.sleep(0.1)
        here.intake.release()
        assert await device.closed() == mqtt.puback(5)


async def hang_up(_: Door, device: mqtt.Client) -> None:
    device.writer.close()


async def say_goodbye(_: Door, device: mqtt.Client) -> None:
    device.write(mqtt.DISCONNECT)


async def come_again(here: Door, _: mqtt.Client) -> None:
    async with mqtt.logged_in(here.address, ALIAS, TOKEN):
        await until(lambda: here.intake.connections[0][2])


async def be_silent(_: Door, device: mqtt.Client) -> None:
    await device.closed()


async def be_revoked(here: Door, _: mqtt.Client) -> None:
    here.intake.revoke(DeviceKey("tenant-a", "device-1"))


async def talk_nonsense(_: Door, device: mqtt.Client) -> None:
    device.write(b"\xff\x00")


async def speak_for_another(_: Door, device: mqtt.Client) -> None:
    device.write(mqtt.publish("tenant/tenant-b/device/device-1/telemetry", BODY, 1, 5))


async def see_us_stop(here: Door, _: mqtt.Client) -> None:
    here.intake.stopping.set()


@pytest.mark.parametrize(
    ("happens", "ending"),
    [
        (hang_up, Ending.LOST),
        (say_goodbye, Ending.CLIENT_CLOSED),
        (come_again, Ending.TAKEN_OVER),
        (be_silent, Ending.KEEP_ALIVE),
        (be_revoked, Ending.REVOKED),
        (talk_nonsense, Ending.PROTOCOL_ERROR),
        (speak_for_another, Ending.PROTOCOL_ERROR),
        (see_us_stop, Ending.SERVER_STOPPED),
    ],
)
async def test_it_tells_of_each_connection_and_how_it_ended(
    happens: Callable[[Door, mqtt.Client], Awaitable[None]], ending: Ending
) -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        device.write(mqtt.connect(ALIAS, TOKEN, "client-1", keepalive_s=1 if happens is be_silent else 0))
        assert await device.read() == ACCEPTED
        key, said, endings = here.intake.connections[0]
        assert (key, said) == (
            DeviceKey("tenant-a", "device-1"),
            {"protocol": "mqtt/3.1.1", "address": "127.0.0.1", "client_id": "client-1"},
        )
        assert endings == []
        await happens(here, device)
        await until(lambda: endings)
        assert endings == [ending]


async def test_who_is_not_let_in_was_not_connected() -> None:
    async with door() as here, mqtt.connected(here.address) as device:
        device.write(mqtt.connect(ALIAS, "wrong"))
        await device.closed()
        assert here.intake.connections == []
