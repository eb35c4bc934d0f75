"""The limit that MQTT figures are put beside: a listener that only parses, commits and acknowledges.

No tokens, no state, no evaluation, no redelivery check, no back-pressure; but the product's own table, its row-level
security, fsync, and the same idea of a batch: what arrives while the last commit runs is the next one.
``python -m bench.bare DSN PORT`` with ``tests`` on PYTHONPATH.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import deque
from typing import Any

import asyncpg
import msgspec
import uvloop

LANES = 4
MOST = 2000
_INSERT = """
    INSERT INTO telemetry (tenant_id, device_id, ts, key_hash, received_at, msg_type, site_id, seq, metrics)
    SELECT t, d, to_timestamp(ts / 1e3), h, now(), m, s, q, j::jsonb
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bigint[], $8::text[])
        AS x (t, d, ts, h, m, s, q, j)
    ON CONFLICT DO NOTHING
"""


class Body(msgspec.Struct):
    """A message's JSON; the metrics stay as they are."""

    ts: int
    site_id: str
    seq: int
    metrics: msgspec.Raw


Row = tuple[str, str, int, int, str, str, int, str]
_decode = msgspec.json.Decoder(Body).decode


class Lane:
    """One connection, one transaction in flight."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._rows: deque[Row] = deque()
        self._senders: deque[tuple[Peer, bytes]] = deque()
        self._arrived = asyncio.Event()

    def put(self, row: Row, sender: Peer, packet_id: bytes) -> None:
        """Queue one message."""
        self._rows.append(row)
        self._senders.append((sender, packet_id))
        self._arrived.set()

    async def run(self) -> None:
        """Commit batch after batch; acknowledge each."""
        while True:
            if not self._rows:
                self._arrived.clear()
                await self._arrived.wait()
            count = min(MOST, len(self._rows))
            rows = [self._rows.popleft() for _ in range(count)]
            await self._connection.execute(_INSERT, *(list(column) for column in zip(*rows, strict=True)))
            answers: dict[Peer, list[bytes]] = {}
            for _ in range(count):
                sender, packet_id = self._senders.popleft()
                answers.setdefault(sender, []).append(packet_id)
            for sender, packet_ids in answers.items():
                sender.acknowledge(packet_ids)


class Peer(asyncio.Protocol):
    """One device's connection. Believes whatever it says."""

    def __init__(self, lanes: list[Lane]) -> None:
        self._lanes = lanes
        self._transport: Any = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data
        at, size = 0, len(data)
        while at + 5 <= size:
            length, start = data[at + 1], at + 2
            if length > 127:
                length, start = (length & 127) | (data[at + 2] << 7), at + 3
            if start + length > size:
                break
            if data[at] == 0x10:
                self._transport.write(b"\x20\x02\x00\x00")
            else:
                self._publish(data[start : start + length])
            at = start + length
        self._buffer = data[at:]

    def acknowledge(self, packet_ids: list[bytes]) -> None:
        """PUBACK what was committed."""
        self._transport.write(b"\x40\x02" + b"\x40\x02".join(packet_ids))

    def _publish(self, packet: bytes) -> None:
        end = 2 + int.from_bytes(packet[:2], "big")
        _, tenant, _, device, msg_type = packet[2:end].decode().split("/")
        body = _decode(packet[end + 2 :])
        metrics = bytes(body.metrics)
        row = (tenant, device, body.ts, hash((msg_type, body.seq, metrics)), msg_type, body.site_id, body.seq)
        self._lanes[hash(device) % LANES].put((*row, metrics.decode()), self, packet[end : end + 2])


async def serve(dsn: str, port: int) -> None:
    """Listen until killed."""
    lanes = []
    for _ in range(LANES):
        lane = Lane(await asyncpg.connect(dsn))
        lanes.append((lane, asyncio.create_task(lane.run())))
    all_lanes = [lane for lane, _ in lanes]
    server = await asyncio.get_running_loop().create_server(lambda: Peer(all_lanes), "127.0.0.1", port)
    sys.stdout.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
    sys.stdout.flush()
    await asyncio.gather(*(task for _, task in lanes))


if __name__ == "__main__":
    uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
