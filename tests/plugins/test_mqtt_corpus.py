"""MQTT: thousands of wrong byte strings, before and after login, each answered or shown the door, and none stored."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import pytest_asyncio

from pulse_core.api import MsgType
from support import mqtt311 as mqtt
from support.mqtt_corpus import connect_5, hostile, packets_5, packets_311
from support.mqtt_device import Device, alive
from support.mqtt_door import BODY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pulse_core.api import RawMessage
    from support.mqtt_door import Door

pytestmark = pytest.mark.asyncio(loop_scope="module")

AT_ONCE = 40
DEADLINE_S = 30.0
FROM_A_SERVER = {0x20, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xD0, 0xE0}


def batches(strings: list[bytes]) -> Iterator[list[bytes]]:
    for at in range(0, len(strings), AT_ONCE):
        yield strings[at : at + AT_ONCE]


async def say(here: Door, data: bytes) -> bytes:
    """Connect, say this and no more, and wait for the end; return the answers."""
    async with asyncio.timeout(DEADLINE_S), mqtt.connected(here.address) as client:
        client.write(data)
        with suppress(OSError):
            client.writer.write_eof()
        return await client.closed(DEADLINE_S)


def is_proper(said: bytes) -> bool:
    """Whether this is a row of whole packets that a server may send."""
    at = 0
    while at < len(said):
        length, shift, start = 0, 0, at + 1
        while True:
            if start >= len(said) or shift > 21:
                return False
            length |= (said[start] & 127) << shift
            shift += 7
            start += 1
            if said[start - 1] < 128:
                break
        if said[at] not in FROM_A_SERVER:
            return False
        at = start + length
    return at == len(said)


def is_sound(message: RawMessage) -> bool:
    """Whether what was stored is a message of a device that has sent some, in a form that the platform has."""
    content = msgspec.json.decode(message.payload)
    whole = content["site_id"] == "site-1" and message.msg_type in set(MsgType)
    return whole and message.authenticated and message.device_id.startswith("fresh-")


@pytest_asyncio.fixture(name="faults", loop_scope="module")
async def faults_of_the_loop() -> list[dict[str, Any]]:
    """What went wrong where nobody waited for it."""
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: seen.append(context))
    return seen


async def throw(device: Device, strings: list[bytes], faults: list[dict[str, Any]]) -> None:
    """All of it, while a good client at the same listener goes on."""
    here, good = device.here, Device(device.here)
    before = len(here.intake.committed)
    async with good.online(keepalive_s=0) as client:
        for number, batch in enumerate(batches(strings)):
            for data, said in zip(batch, await asyncio.gather(*(say(here, one) for one in batch)), strict=True):
                assert is_proper(said), (data, said)
            client.write(mqtt.publish(good.topic, b'{"site_id":"site-1","seq":%d}' % number, 1, 1 + number))
            assert await client.read(DEADLINE_S) == mqtt.puback(1 + number)
        assert await alive(client)
    stored = here.intake.committed[before:]
    assert len(good.committed) == len(list(batches(strings)))
    assert [message for message in stored if not is_sound(message)] == []
    assert faults == []


def login_311(device: Device, client_id: str) -> bytes:
    return device.connect(client_id)


def login_5(device: Device, client_id: str) -> bytes:
    return connect_5(device.alias, device.token, client_id)


async def test_wrong_bytes_before_login(device: Device, faults: list[dict[str, Any]]) -> None:
    connects = [
        device.connect(),
        device.connect("", will=(device.topic, BODY), flags=0x28),
        connect_5(device.alias, device.token, "client-5"),
        connect_5(device.alias, device.token, "", device.topic, BODY),
    ]
    await throw(device, list(hostile(connects)), faults)


@pytest.mark.parametrize(
    ("login", "packets"),
    [
        pytest.param(login_311, packets_311, id="3.1.1"),
        pytest.param(login_5, packets_5, id="5.0"),
    ],
)
async def test_wrong_bytes_after_login(
    device: Device,
    faults: list[dict[str, Any]],
    login: Callable[[Device, str], bytes],
    packets: Callable[[str, bytes], list[bytes]],
) -> None:
    strings = [
        login(device, f"client-{number}") + one for number, one in enumerate(hostile(packets(device.prefix, BODY)))
    ]
    await throw(device, strings, faults)
    assert device.committed


async def test_packets_that_never_end_cost_only_their_sender(device: Device) -> None:
    """Hundreds of connections that each owe the rest of a packet, while another is served at once."""
    begun = [
        b"\x10",
        b"\x10\xff",
        device.connect()[:-1],
        device.connect() + b"\x32\xff\xff\x10\0\x20tenant",
        device.connect() + b"\x82\xff",
    ]
    clients = []
    for number in range(200):
        client = mqtt.Client(*await asyncio.open_connection(*device.here.address.removeprefix("mqtt://").split(":")))
        client.write(begun[number % len(begun)].replace(b"client-1", b"%08d" % number))
        clients.append(client)
    try:
        async with Device(device.here).online() as good:
            async with asyncio.timeout(5):
                assert await alive(good)
        assert not device.committed
    finally:
        for client in clients:
            client.writer.close()
        await asyncio.gather(*(client.writer.wait_closed() for client in clients), return_exceptions=True)
