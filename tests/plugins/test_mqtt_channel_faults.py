"""The MQTT channel and brokers that refuse, fall silent or break off."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from pydantic import ValidationError

from pulse_core.api import OutboundRefused, PermanentFailure, PulseError, TemporaryFailure
from pulse_core.outbound import Outbound
from pulse_core.testing.channels import a_notification
from pulse_mqtt_channel.channel import MqttChannel
from pulse_mqtt_channel.config import MqttConfig
from support import fake_broker as broker_module
from support.fake_broker import FakeBroker, fake_broker
from support.names import Names
from support.publishing import publishing
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ACKNOWLEDGED = [(1, "5"), (2, "5"), (1, "3.1.1"), (2, "3.1.1")]
PERMANENT = frozenset({0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x95, 0x99, 0x9A, 0x9B, 0x9D})
AT_THE_DOOR = (
    0x80,
    0x81,
    0x82,
    0x83,
    0x84,
    0x85,
    0x86,
    0x87,
    0x88,
    0x89,
    0x8A,
    0x8C,
    0x90,
    0x95,
    0x97,
    0x9A,
    0x9B,
    0x9C,
    0x9F,
)
OF_A_MESSAGE = (0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99)
AT_THE_END = (
    0x81,
    0x82,
    0x83,
    0x87,
    0x89,
    0x8B,
    0x8D,
    0x8E,
    0x90,
    0x93,
    0x95,
    0x96,
    0x97,
    0x98,
    0x99,
    0x9A,
    0x9B,
    0x9C,
    0x9D,
)
"""The reasons that the standard has for CONNACK, for PUBACK and PUBREC, and for DISCONNECT."""


@pytest.fixture
async def broker() -> AsyncIterator[FakeBroker]:
    async with fake_broker() as running:
        yield running


def _expected(reason: int) -> type[PulseError]:
    return PermanentFailure if reason in PERMANENT else TemporaryFailure


@pytest.mark.parametrize("reason", AT_THE_DOOR)
async def test_refused_at_the_door(broker: FakeBroker, reason: int) -> None:
    broker.greeting = reason
    async with publishing(broker.port) as channel:
        with pytest.raises(_expected(reason), match=f"0x{reason:02X}"):
            await channel.send(a_notification())
        await until(lambda: not broker.open_connections)
        broker.greeting = 0
        await channel.send(a_notification())


@pytest.mark.parametrize(
    ("code", "failure"),
    [(1, TemporaryFailure), (2, PermanentFailure), (3, TemporaryFailure), (4, PermanentFailure), (5, PermanentFailure)],
)
async def test_refused_at_the_door_by_an_old_broker(broker: FakeBroker, code: int, failure: type[PulseError]) -> None:
    broker.greeting = code
    async with publishing(broker.port, protocol="3.1.1") as channel:
        with pytest.raises(failure):
            await channel.send(a_notification())


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("reason", OF_A_MESSAGE)
async def test_a_refused_message_is_not_delivered(broker: FakeBroker, qos: int, reason: int) -> None:
    async with publishing(broker.port, qos=qos) as channel:
        broker.acknowledgement = reason
        with pytest.raises(_expected(reason), match=f"publishing: .*0x{reason:02X}"):
            await channel.send(a_notification())
        broker.acknowledgement = 0
        await channel.send(a_notification())
    assert broker.connections == 1  # a refusal is no reason to connect again
    assert broker.heard.count(broker_module.PUBREL) == (1 if qos == 2 else 0)


@pytest.mark.parametrize("reason", AT_THE_END)
async def test_a_broker_that_says_why_it_ends_the_connection(broker: FakeBroker, reason: int) -> None:
    broker.goodbye = reason
    async with publishing(broker.port) as channel:
        with pytest.raises(_expected(reason), match=f"ended the connection: .*0x{reason:02X}"):
            await channel.send(a_notification())


@pytest.mark.parametrize("qos", [1, 2])
@pytest.mark.parametrize("where", ["greeting", "acknowledgement", "goodbye"])
async def test_a_reason_that_there_is_not(broker: FakeBroker, where: str, qos: int) -> None:
    async with publishing(broker.port, qos=qos) as channel:
        setattr(broker, where, 0xFE)
        with pytest.raises(TemporaryFailure, match=r"not MQTT|ended the connection"):
            await channel.send(a_notification())
        await until(lambda: not broker.open_connections)
        setattr(broker, where, 0 if where == "greeting" else None)
        await channel.send(a_notification())


@pytest.mark.parametrize(("qos", "protocol"), ACKNOWLEDGED)
@pytest.mark.parametrize("packet", [broker_module.CONNECT, broker_module.PUBLISH, broker_module.PUBREL])
async def test_dropped_before_the_acknowledgement(broker: FakeBroker, qos: int, protocol: str, packet: int) -> None:
    if packet == broker_module.PUBREL and qos == 1:
        return
    broker.cut = packet
    async with publishing(broker.port, qos=qos, protocol=protocol) as channel:
        for _ in range(2):
            with pytest.raises(TemporaryFailure, match="ended the connection"):
                await channel.send(a_notification())
        broker.cut = None
        await channel.send(a_notification())
    assert broker.connections == 3


@pytest.mark.parametrize(("qos", "protocol"), ACKNOWLEDGED)
async def test_no_acknowledgement(broker: FakeBroker, qos: int, protocol: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_mqtt_channel.link._PATIENCE_S", 0.3)
    async with publishing(broker.port, qos=qos, protocol=protocol) as channel:
        broker.mood = "silent"
        with pytest.raises(TemporaryFailure, match=r"no acknowledgement within 0\.3 s"):
            await channel.send(a_notification())
        await until(lambda: broker.open_connections == 0)
        broker.mood = "ok"
        await channel.send(a_notification())
    assert broker.connections == 2  # who did not answer is not trusted with another message


async def test_no_greeting(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_mqtt_channel.link._PATIENCE_S", 0.3)
    broker.greeting = None
    async with publishing(broker.port) as channel:
        with pytest.raises(TemporaryFailure, match="connecting: no answer within"):
            await channel.send(a_notification())
        await until(lambda: not broker.open_connections)


async def test_tls_that_never_begins(broker: FakeBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_mqtt_channel.link._PATIENCE_S", 0.3)
    server = await asyncio.start_server(_hold, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        async with publishing(port, url=f"mqtts://127.0.0.1:{port}") as channel:
            with pytest.raises(TemporaryFailure, match="no answer in time"):
                await channel.send(a_notification())
            sending = asyncio.create_task(channel.send(a_notification()))
            await asyncio.sleep(0.05)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending


async def _hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(-1)
    writer.close()


async def test_one_interrupted_message_does_not_harm_the_others(broker: FakeBroker) -> None:
    async with publishing(broker.port) as channel:
        await channel.send(a_notification())
        broker.mood = "silent"
        first, second = (asyncio.create_task(channel.send(a_notification(device_id=name))) for name in ("a", "b"))
        await until(lambda: len(broker.messages) == 3)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        broker.mood = "ok"
        await channel.send(a_notification(device_id="c"))
        assert not second.done()
        assert broker.open_connections == 2
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        await until(lambda: broker.open_connections == 1)


async def test_a_kept_connection_that_was_cut_is_replaced(broker: FakeBroker) -> None:
    async with publishing(broker.port) as channel:
        await channel.send(a_notification())
        broker.drop()
        await until(lambda: not broker.open_connections)
        await asyncio.sleep(0.05)
        await channel.send(a_notification())
    assert (broker.connections, len(broker.messages)) == (2, 2)


async def test_an_idle_connection_is_closed_with_a_goodbye(broker: FakeBroker) -> None:
    async with publishing(broker.port) as channel:
        channel.kept_for_s = 0.05
        await channel.send(a_notification())
        await until(lambda: broker_module.DISCONNECT in broker.heard)
        await until(lambda: not broker.open_connections)
        await channel.send(a_notification())
    assert broker.connections == 2


async def test_side_by_side_with_a_broker_that_takes_one_at_a_time(broker: FakeBroker) -> None:
    broker.properties = b"\x21\x00\x01\x24\x01"  # Receive Maximum 1, Maximum QoS 1
    async with publishing(broker.port) as channel:
        await asyncio.gather(*(channel.send(a_notification(device_id=f"d{number}")) for number in range(20)))
    assert len(broker.messages) == 20
    async with publishing(broker.port, qos=2) as channel:
        with pytest.raises(PermanentFailure, match="takes QoS 1 at most"):
            await channel.send(a_notification())


async def test_the_guard_is_asked_first(broker: FakeBroker) -> None:
    for host, outbound in {
        "127.0.0.1": Outbound(),
        "broker.test": Outbound(look_up=Names("127.0.0.1")),
        "both.test": Outbound(look_up=Names("93.184.216.34", "127.0.0.1")),
    }.items():
        async with publishing(broker.port, url=f"mqtt://{host}:{broker.port}", outbound=outbound) as channel:
            with pytest.raises(OutboundRefused):
                await channel.send(a_notification())
    assert broker.connections == 0


async def test_values_make_no_levels_and_no_wildcards(broker: FakeBroker) -> None:
    async with publishing(broker.port, topic_template="{site_id}/{device_id}/{severity}") as channel:
        await channel.send(a_notification(site_id="$SYS", device_id="a/b+c#d%e\x00\nü"))
        await channel.send(a_notification(site_id="", device_id="{severity}"))
    topics = [message.topic for message in broker.messages]
    assert topics == ["%24SYS/a%2Fb%2Bc%23d%25e%00%0Aü/MAJOR", "/{severity}/MAJOR"]


async def test_a_topic_that_is_none(broker: FakeBroker) -> None:
    async with publishing(broker.port, topic_template="{site_id}") as channel:
        for site_id in ("", "x" * 65_536):
            with pytest.raises(PermanentFailure, match="the topic has"):
                await channel.send(a_notification(site_id=site_id))
        await channel.send(a_notification(site_id="x" * 65_535))
    assert len(broker.messages) == 1


@pytest.mark.parametrize(
    "template", ["", "a/+", "a/#", "#", "a\x00b", "$SYS/x", "{nope}", "{device_id", "device_id}", "{}", "{{device_id}}"]
)
def test_topic_templates_that_are_none(template: str) -> None:
    with pytest.raises(ValidationError):
        MqttConfig.model_validate({"url": "mqtt://x", "topic_template": template})


@pytest.mark.parametrize(
    "url", ["", "x", "http://x", "mqtt://", "mqtt://u:p4ssword@x", "mqtt://x/path", "mqtt://x?a=b", "mqtt://x:0",
            "mqtt://x:99999", "mqtt://x y", "mqtt://[::1", "mqtt://x#f", "mqtt://x\x00"]
)  # fmt: skip
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MqttConfig.model_validate({"url": url})
    assert "p4ssword" not in str(caught.value)


def test_the_endpoint_is_the_broker() -> None:
    urls = ("mqtt://Broker.Example", "mqtts://broker.example.", "mqtts://broker.example:9", "mqtt://[2001:db8::1]:1")
    endpoints = [MqttChannel.endpoint(MqttConfig.model_validate({"url": url})) for url in urls]
    assert endpoints == ["broker.example:1883", "broker.example:8883", "broker.example:9", "2001:db8::1:1"]


def test_a_password_needs_a_user() -> None:
    with pytest.raises(ValidationError, match="needs a user name"):
        MqttConfig.model_validate({"url": "mqtt://x", "password": "s3cr3t"})
