"""A stand-in for the platform's front doors, with faults on demand: for testing the test tools themselves."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.load_stats import LoadSpec


MQTT311 = 4
PUBLISH, PINGREQ = 3, 0xC0


class FakeFrontDoor:
    """Keeps what it is sent, acknowledges it, and now and then breaks a connection between the two.

    ``forgetful``: every hundredth message is acknowledged but not kept. ``echoing``: redeliveries are kept twice.
    """

    def __init__(self, *, break_every: int = 0, forgetful: bool = False, echoing: bool = False) -> None:
        self.kept: dict[str, list[int]] = {}
        self.breaks = 0
        self._break_every = break_every
        self._forgetful = forgetful
        self._echoing = echoing
        self._messages = 0
        self._chance = random.Random(7)
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; return the port."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def stop(self) -> None:
        """Listen no more."""
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    def shown(self, spec: LoadSpec) -> dict[int, list[int]]:
        """What it kept, by the device numbers of ``spec``."""
        return {number: self.kept.get(device[1], []) for number, device in enumerate(spec.devices)}

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first = await reader.readexactly(1)
            if first == b"P":
                await self._http(reader, writer)
            else:
                version = (await self._packet(reader))[6]
                writer.write(b"\x20\x02\x00\x00" if version == MQTT311 else b"\x20\x03\x00\x00\x00")
                await self._mqtt(reader, writer, version)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    async def _mqtt(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, version: int) -> None:
        while True:
            first = (await reader.readexactly(1))[0]
            body = await self._packet(reader)
            if first >> 4 == PUBLISH:
                writer.write(self._published(first >> 1 & 3, body, version))
            else:
                writer.write(b"\xd0\x00" if first == PINGREQ else b"\x70\x02" + body[:2])
            await writer.drain()

    def _published(self, qos: int, body: bytes, version: int) -> bytes:
        end = 2 + int.from_bytes(body[:2], "big")
        payload_at = end + (2 if qos else 0) + (version != MQTT311)
        self._keep(body[2:end].decode().split("/")[3], body[payload_at:])
        self._break_now_and_then()
        return (b"", b"\x40\x02", b"\x50\x02")[qos] + (body[end : end + 2] if qos else b"")

    async def _http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.partition("Content-Length: ")[2].partition("\r\n")[0])
            body = await reader.readexactly(length)
            path = head.split(" ")[1]
            if path.endswith("/batch"):
                messages = json.loads(body)["messages"]
            else:
                messages = [{**json.loads(body), "device_id": path.split("/")[6]}]
            for message in messages:
                self._keep(message["device_id"], json.dumps(message).encode())
            self._break_now_and_then()
            answer = json.dumps({"accepted": len(messages), "rejected": 0}).encode()
            writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer))

    async def _packet(self, reader: asyncio.StreamReader) -> bytes:
        length, shift = 0, 0
        while True:
            byte = (await reader.readexactly(1))[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return await reader.readexactly(length)

    def _keep(self, device: str, payload: bytes) -> None:
        self._messages += 1
        seq = json.loads(payload)["seq"]
        kept = self.kept.setdefault(device, [])
        if self._forgetful and seq % 100 == 0:
            return
        if self._echoing or seq not in kept[-2000:]:
            kept.append(seq)

    def _break_now_and_then(self) -> None:
        if self._break_every and self._messages % self._break_every == 0:
            self.breaks += 1
            raise ConnectionResetError("on purpose")
