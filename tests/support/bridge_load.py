"""Load through a broker, and what can be known of it: who acknowledged which message to whom."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from contextlib import suppress
from typing import TYPE_CHECKING

from support import mqtt311 as mqtt

if TYPE_CHECKING:
    from support.product import Device

PUBLISH, PUBACK, PUBREC, PUBREL = 3, 4, 5, 6
_WINDOW = 20
_PAUSE_S = 0.02
_AGAIN_S = 0.1


class Publisher:
    """One device: sends numbered messages, and sends again what the broker has not acknowledged."""

    def __init__(self, port: int, device: Device, number: int, qos: int) -> None:
        self._port = port
        self._device = device
        self._number = number
        self._qos = qos
        self._open: dict[int, bytes] = {}
        """Not acknowledged: by seq, which is also the packet id."""
        self.sending = True
        self.last_seq = 0
        self.acknowledged: set[int] = set()

    @property
    def idle(self) -> bool:
        """Whether all is acknowledged."""
        return not self._open

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with suppress(OSError, TimeoutError):
                await self._connected()
            await asyncio.sleep(_AGAIN_S)

    async def _connected(self) -> None:
        name = f"device-{self._number}"
        async with mqtt.logged_in(f"mqtt://127.0.0.1:{self._port}", name, "", name) as client:
            for seq, payload in self._open.items():
                client.write(mqtt.publish(self._topic, payload, self._qos, seq))
            listening = asyncio.create_task(self._listen(client))
            try:
                while not listening.done():
                    if self.sending and len(self._open) < _WINDOW:
                        self._send(client)
                    await asyncio.sleep(_PAUSE_S)
                    await client.writer.drain()
            finally:
                listening.cancel()
                await asyncio.gather(listening, return_exceptions=True)

    @property
    def _topic(self) -> str:
        return f"tenant/{self._device[0]}/device/{self._device[1]}/telemetry"

    def _send(self, client: mqtt.Client) -> None:
        for _ in range(3):
            self.last_seq += 1
            content = {
                "ts": time.time_ns() // 1_000_000,
                "site_id": self._device[2],
                "provision_token": self._device[3],
                "seq": self.last_seq,
                "metrics": {"number": self._number},
            }
            payload = self._open[self.last_seq] = json.dumps(content).encode()
            client.write(mqtt.publish(self._topic, payload, self._qos, self.last_seq))

    async def _listen(self, client: mqtt.Client) -> None:
        while True:
            answer = await client.read(60)
            seq = int.from_bytes(answer[2:4], "big")
            if answer[0] >> 4 in {PUBACK, PUBREC} and self._open.pop(seq, None) is not None:
                self.acknowledged.add(seq)
            if answer[0] >> 4 == PUBREC:
                client.write(mqtt.pubrel(seq))


class Recorder:
    """Stands between the bridge and its broker, and writes down what the bridge acknowledged to it."""

    def __init__(self, broker_port: int) -> None:
        self._broker_port = broker_port
        self.port = 0
        self.acknowledged: defaultdict[int, set[int]] = defaultdict(set)
        """The seqs, by the number of the device."""
        self.connections = 0
        self.dups = 0
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            upstream, downstream = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            writer.transport.abort()
            return
        self.connections += 1
        open_here: dict[int, tuple[int, int]] = {}
        both = [
            asyncio.create_task(self._pass_on(reader, downstream, open_here)),
            asyncio.create_task(self._pass_on(upstream, writer, open_here)),
        ]
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        await asyncio.gather(*both, return_exceptions=True)
        writer.transport.abort()
        downstream.transport.abort()

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, open_here: dict[int, tuple[int, int]]
    ) -> None:
        while True:
            head = await reader.readexactly(2)
            digits = head[1:]
            while digits[-1] & 128:
                digits += await reader.readexactly(1)
            count = sum((digit & 127) << 7 * place for place, digit in enumerate(digits))
            body = await reader.readexactly(count)
            self._note(head[0], body, open_here)
            writer.write(head[:1] + digits + body)
            await writer.drain()

    def _note(self, first: int, body: bytes, open_here: dict[int, tuple[int, int]]) -> None:
        kind = first >> 4
        if kind == PUBLISH and first & 0b110:
            after_topic = 2 + int.from_bytes(body[:2], "big")
            packet_id = int.from_bytes(body[after_topic : after_topic + 2], "big")
            content = json.loads(body[body.index(b"{", after_topic + 2) :])
            open_here[packet_id] = content["metrics"]["number"], content["seq"]
            self.dups += bool(first & 8)
        elif kind in {PUBACK, PUBREC}:
            number, seq = open_here[int.from_bytes(body[:2], "big")]
            self.acknowledged[number].add(seq)
