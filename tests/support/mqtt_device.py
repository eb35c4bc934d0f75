"""A device of its own at a listener that other tests use as well: so that a test sees nothing of its neighbours."""

from __future__ import annotations

import itertools
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulse_core.api import DeviceKey
from pulse_core.testing.intake import known_device
from support import mqtt311 as mqtt
from support.mqtt_door import ACCEPTED

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Iterator

    from pulse_core.api import RawMessage
    from support.mqtt_door import Door

RESUMED = b"\x20\x02\x01\x00"
"""A CONNACK with session present."""

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Published:
    """A PUBLISH of the listener's."""

    topic: str
    payload: bytes
    qos: int
    packet_id: int
    dup: bool = False
    retain: bool = False

    @property
    def name(self) -> str:
        """Of the command that it is."""
        return self.topic.rsplit("/", 1)[1]


def published(packet: bytes) -> Published:
    """Read a PUBLISH of MQTT 3.1.1; AssertionError when it is another packet."""
    assert packet[0] >> 4 == 3, packet
    body = packet[next(at for at, digit in enumerate(packet[1:], 2) if digit < 128) :]
    qos = packet[0] >> 1 & 3
    end = 2 + int.from_bytes(body[:2], "big")
    ident = body[end : end + 2] if qos else b""
    return Published(
        topic=body[2:end].decode(),
        payload=body[end + len(ident) :],
        qos=qos,
        packet_id=int.from_bytes(ident, "big"),
        dup=bool(packet[0] & 8),
        retain=bool(packet[0] & 1),
    )


class Device:
    """A registered device, what it may do, and what has come of it."""

    def __init__(self, here: Door) -> None:
        number = next(_numbers)
        self.here = here
        self.key = DeviceKey("tenant-a", f"fresh-{number}")
        self.alias = f"tenant-a/fresh-{number}"
        self.token = f"token-of-fresh-{number}"
        self.prefix = f"tenant/tenant-a/device/fresh-{number}/"
        self.topic = f"{self.prefix}telemetry"
        here.intake.devices[self.key] = known_device(self.key.tenant_id, self.key.device_id, self.token)

    @property
    def committed(self) -> list[RawMessage]:
        return [one for one in self.here.intake.committed if DeviceKey(one.tenant_id, one.device_id) == self.key]

    @property
    def refused(self) -> list[tuple[RawMessage, str]]:
        """Messages that were judged to be wrong, each with its reason; refused logins are among them."""
        return [
            (message, str(outcome.reason))
            for message, outcome in self.here.intake.refused
            if DeviceKey(message.tenant_id, message.device_id) == self.key
        ]

    @property
    def logins(self) -> int:
        return sum(one.key == self.key for one in self.here.intake.logins)

    def queue(self, name: str = "reboot", payload: str = "{}") -> uuid.UUID:
        """A customer queues a command for it."""
        return self.here.intake.command_store.queue(self.key, name, payload)

    def status(self, command_id: uuid.UUID) -> str:
        """Of such a command."""
        return str(self.here.intake.command_store.status(command_id))

    @contextmanager
    def store_down(self) -> Iterator[None]:
        """Nobody's logins and sessions can be judged or kept meanwhile."""
        self.here.intake.store_down = True
        try:
            yield
        finally:
            self.here.intake.store_down = False

    def connect(self, client_id: str = "client-1", **fields: Any) -> bytes:
        """Its CONNECT, as :func:`support.mqtt311.connect` writes it."""
        return mqtt.connect(self.alias, self.token, client_id, **fields)

    @asynccontextmanager
    async def online(
        self, client_id: str = "client-1", *, answer: bytes = ACCEPTED, **fields: Any
    ) -> AsyncIterator[mqtt.Client]:
        """A connection that is logged in; AssertionError when CONNACK is another than ``answer``."""
        async with mqtt.connected(self.here.address) as client:
            client.write(self.connect(client_id, **fields))
            assert await client.read() == answer
            yield client


async def alive(client: mqtt.Client) -> bool:
    """Whether a PINGREQ is answered, and with nothing but its answer."""
    client.write(mqtt.PINGREQ)
    return await client.read() == mqtt.PINGRESP


async def thrown_out(device: Device, data: bytes) -> bool:
    """Whether this, sent after login, ends the connection without a word, and nothing of it is taken in."""
    async with device.online() as client:
        client.write(data + mqtt.PINGREQ)
        return await client.closed() == b"" and not device.committed


async def turned_away(device: Device, data: bytes, said: bytes = b"") -> bool:
    """Whether this, sent instead of a login, ends the connection with these words, and nobody is asked for a token."""
    async with mqtt.connected(device.here.address) as client:
        client.write(data + mqtt.PINGREQ)
        return await client.closed() == said and not device.logins
