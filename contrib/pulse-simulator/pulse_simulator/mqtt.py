"""A device's MQTT link: QoS 1, one message at a time, reconnecting, resending what was not acknowledged.

Commands that come meanwhile are carried out (it says so) and acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pulse_simulator import packets
from pulse_simulator.lifetime import say

if TYPE_CHECKING:
    from pulse_simulator.fleet import Member

KEEP_ALIVE_S = 60
ANSWER_S = 30.0
"""How long we wait for CONNACK and PUBACK before we believe the connection dead."""
_BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_LAST_ID = 0xFFFF
_SUBSCRIPTION = 0xFFFF
"""Packet id of the one SUBSCRIBE; messages come to it once in 65,535 times, long after its SUBACK."""
_TYPE = 0xF0

_LOST = (OSError, EOFError, TimeoutError)


class Refused(ConnectionError):  # noqa: N818 - an answer of the platform, not a fault of ours
    """CONNACK said no; ``code`` is its return code (3.2.2.3)."""

    def __init__(self, code: int) -> None:
        super().__init__(f"the login was refused with return code {code}")
        self.code = code


@dataclass(slots=True)
class _Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    device_id: str
    acknowledged: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    listening: asyncio.Task[None] | None = None

    async def listen(self) -> None:
        """Hand out acknowledgements until the connection ends; ping when it is quiet."""
        try:
            while True:
                await self._packet_or_ping()
        except _LOST:
            return
        finally:
            for waiting in self.acknowledged.values():
                if not waiting.done():
                    waiting.set_exception(ConnectionError("the connection was lost"))

    async def _packet_or_ping(self) -> None:
        coming = asyncio.ensure_future(packets.read_packet(self.reader))
        try:
            done, _ = await asyncio.wait({coming}, timeout=KEEP_ALIVE_S / 2)
            if not done:
                self.writer.write(packets.PINGREQ)
            first, body = await asyncio.wait_for(coming, ANSWER_S)
        finally:
            coming.cancel()
        if first == packets.PUBACK:
            waiting = self.acknowledged.pop(int.from_bytes(body[:2], "big"), None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        elif first & _TYPE == packets.PUBLISH:
            topic, packet_id, payload = packets.received(first, body)
            say("command", device=self.device_id, name=topic.rpartition("/")[2], payload=payload.decode())
            self.writer.write(packets.puback(packet_id))

    async def close(self) -> None:
        if self.listening is not None:
            self.listening.cancel()
            await asyncio.wait({self.listening})
        self.writer.transport.abort()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def _check_welcome(first: int, body: bytes) -> None:
    if first != packets.CONNACK or len(body) != 2:  # noqa: PLR2004 - flags and code (3.2)
        raise packets.ProtocolError(f"{first:#x} instead of CONNACK")
    if body[1]:
        raise Refused(body[1])


class MqttLink:
    """One device's way to the platform over MQTT."""

    def __init__(self, member: Member, host: str, port: int) -> None:
        self._member = member
        self._host, self._port = host, port
        self._connection: _Connection | None = None
        self._packet_id = 0
        self._failures = 0
        self._in_reach = asyncio.Event()
        self._in_reach.set()

    async def send(self, msg_type: str, payload: bytes) -> bool:
        """Publish and return when the platform has acknowledged; try for as long as that takes. Always True.

        A message whose connection was lost is sent again with DUP on the next one.
        """
        self._packet_id = self._packet_id % _LAST_ID + 1
        topic = f"{self._member.base}/{msg_type}"
        again = False
        while True:
            try:
                connection = await self._connected()
                waiting = connection.acknowledged[self._packet_id] = asyncio.get_running_loop().create_future()
                connection.writer.write(packets.publish(topic, payload, self._packet_id, again=again))
                again = True
                await asyncio.wait_for(waiting, ANSWER_S)
            except _LOST:
                await self._lose()
                await self._back_off()
            else:
                self._failures = 0
                return True

    async def knock(self, token: str) -> None:
        """Try to log in with another token, on a connection of its own."""
        with contextlib.suppress(*_LOST):
            connection = await self._open(token)
            await connection.close()

    async def leave(self) -> None:
        """Lose the connection, as a device out of power or out of reach does: no DISCONNECT."""
        self._in_reach.clear()
        await self._lose()

    def come_back(self) -> None:
        """Connect again as soon as there is something to send."""
        self._in_reach.set()

    async def _lose(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _connected(self) -> _Connection:
        await self._in_reach.wait()
        if self._connection is None:
            connection = await self._open(self._member.token)
            if not self._in_reach.is_set():
                await connection.close()
                raise ConnectionError("out of reach by now")
            self._connection = connection
        return self._connection

    async def _open(self, token: str) -> _Connection:
        member = self._member
        async with asyncio.timeout(ANSWER_S):
            reader, writer = await asyncio.open_connection(self._host, self._port)
            connection = _Connection(reader, writer, member.device_id)
            try:
                login = f"{member.tenant_id}/{member.device_id}"
                writer.write(packets.connect(member.device_id, login, token, keep_alive_s=KEEP_ALIVE_S))
                _check_welcome(*await packets.read_packet(reader))
                writer.write(packets.subscribe(f"{member.base}/cmd/#", _SUBSCRIPTION))
            except BaseException:
                await connection.close()
                raise
        connection.listening = asyncio.create_task(connection.listen())
        return connection

    async def _back_off(self) -> None:
        pause_s = _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
        self._failures += 1
        await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))
