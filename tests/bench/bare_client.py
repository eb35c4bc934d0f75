"""The limit that figures of delivery are put beside: a client that only says the same to the same receiver.

No outbox, no record, no limits, no guard: connections that are kept, on each of them one message after the other.
``python -m bench.bare_client SPEC.json`` with ``tests`` on PYTHONPATH prints messages per second.
"""

from __future__ import annotations

import asyncio
import socket
import sys
import time
from pathlib import Path
from typing import Any, Literal

import msgspec
import uvloop

_BODY = b'{"alert_id":"%36d","tenant_id":"bench","summary":"%300d"}' % (0, 0)
_CONNECT = b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05%05d"
_TOPIC = b"\x00\x05bench"


class BareSpec(msgspec.Struct, frozen=True):
    """Whom to call, over how many connections in all, and for how long."""

    kind: Literal["webhook", "email", "snmp", "mqtt"]
    ports: list[int]
    connections: int
    seconds: float


def _webhook(port: int) -> bytes:
    lines = f"POST /hook HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nwebhook-id: x\r\nContent-Length: {len(_BODY)}\r\n\r\n"
    return lines.encode() + _BODY


def _publish() -> bytes:
    packet = _TOPIC + b"\x00\x01" + _BODY
    size = len(packet)
    return bytes((0x32, size & 127 | 128, size >> 7)) + packet


def steps(spec: BareSpec, port: int, number: int) -> tuple[list[bytes], list[bytes]]:
    """What is said once, and what is said for every message. After each the answer is awaited."""
    if spec.kind == "webhook":
        return [], [_webhook(port)]
    if spec.kind == "mqtt":
        return [_CONNECT % number], [_publish()]
    mail = b"Message-ID: <d.x@bare>\r\n\r\n" + b"text\r\n" * 300 + b".\r\n"
    return [b"", b"EHLO bare\r\n"], [b"MAIL FROM:<a@b.c>\r\n", b"RCPT TO:<d@e.f>\r\n", b"DATA\r\n", mail]


class Speaker(asyncio.Protocol):
    """Says its steps for ever. Every answer is small enough to come in one piece."""

    def __init__(self, once: list[bytes], each: list[bytes]) -> None:
        self._steps = [*once, *each]
        self._again = len(once)
        self._at = 0
        self.messages = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if self._steps[0]:
            transport.write(self._steps[0])

    def data_received(self, data: bytes) -> None:
        self._at += 1
        if self._at == len(self._steps):
            self._at = self._again
            self.messages += 1
        self._transport.write(self._steps[self._at])


async def measure(spec: BareSpec) -> float:
    """Return the messages that were answered in a second."""
    loop, speakers = asyncio.get_running_loop(), []
    for number in range(spec.connections):
        port = spec.ports[number % len(spec.ports)]
        _, speaker = await loop.create_connection(
            lambda port=port, number=number: Speaker(*steps(spec, port, number)),  # type: ignore[misc]
            "127.0.0.1",
            port,
        )
        speakers.append(speaker)
    await asyncio.sleep(0.5)
    before, began = sum(one.messages for one in speakers), time.monotonic()
    await asyncio.sleep(spec.seconds)
    return (sum(one.messages for one in speakers) - before) / (time.monotonic() - began)


def blast(spec: BareSpec) -> float:
    """Send datagrams as fast as this process can; return how many a second."""
    sent, began = 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        while time.monotonic() - began < spec.seconds:
            for port in spec.ports:
                sock.sendto(_BODY, ("127.0.0.1", port))
                sent += 1
    return sent / (time.monotonic() - began)


if __name__ == "__main__":
    asked = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=BareSpec)
    rate = blast(asked) if asked.kind == "snmp" else uvloop.run(measure(asked))
    sys.stdout.write(f"{rate}\n")
