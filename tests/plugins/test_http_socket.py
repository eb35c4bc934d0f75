"""The way in over HTTP behind a real uvicorn, spoken to by peers that do not play by the rules."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import uvicorn

from pulse_core.testing.intake import FakeIntake, LogOnly, known_device
from pulse_http.app import IngestApp
from pulse_http.config import HttpConfig
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "token-of-device-1"
BODY = b'{"site_id":"site-1"}'
SINGLE = b"/ingest/v1/tenant/tenant-a/device/device-1/telemetry"
BATCH = b"/ingest/v1/batch"


@asynccontextmanager
async def served(config: HttpConfig) -> AsyncIterator[tuple[FakeIntake, int]]:
    intake = FakeIntake([known_device("tenant-a", "device-1", TOKEN)])
    app = IngestApp(intake, config, "http", LogOnly().log)
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", lifespan="off", log_config=None, ws="none"))
    task = asyncio.create_task(server._serve([listening]))
    try:
        await until(lambda: server.started)
        yield intake, listening.getsockname()[1]
    finally:
        server.should_exit = True
        await task
        listening.close()


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def request(self, path: bytes, *headers: bytes) -> None:
        lines = (
            b"POST " + path + b" HTTP/1.1",
            b"Host: x",
            b"X-Provision-Token: " + TOKEN.encode(),
            b"Content-Type: application/json",
            *headers,
        )
        self.writer.write(b"\r\n".join(lines) + b"\r\n\r\n")

    async def answer(self) -> tuple[int, bytes, bytes]:
        async with asyncio.timeout(20):
            head = await self.reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            return int(head[9:12]), head.lower(), await self.reader.readexactly(length)


@asynccontextmanager
async def peer(port: int) -> AsyncIterator[Peer]:
    one = Peer(*await asyncio.open_connection("127.0.0.1", port))
    try:
        yield one
    finally:
        one.writer.close()
        with suppress(ConnectionError):
            await one.writer.wait_closed()


async def test_one_connection_many_messages() -> None:
    async with served(HttpConfig()) as (intake, port), peer(port) as device:
        for _ in range(3):
            device.request(SINGLE, b"Content-Length: %d" % len(BODY))
            device.writer.write(BODY)
            assert (await device.answer())[0] == 202
        assert len(intake.committed) == 3


@pytest.mark.parametrize("path", [SINGLE, BATCH])
async def test_a_chunked_body_that_trickles_for_ever(path: bytes) -> None:
    async with served(HttpConfig(body_timeout_s=0.5)) as (intake, port), peer(port) as device:
        device.request(path, b"Transfer-Encoding: chunked")
        answer = asyncio.ensure_future(device.answer())
        while not answer.done():
            device.writer.write(b"1\r\n \r\n")
            await asyncio.wait((answer,), timeout=0.05)
        status, head, _ = await answer
        assert status == 408
        assert b"connection: close" in head
        assert not intake.submissions


async def pour(device: Peer, chunk: bytes) -> None:
    for _ in range(10_000):
        device.writer.write(chunk)
        await device.writer.drain()
        await asyncio.sleep(0)


@pytest.mark.parametrize("path", [SINGLE, BATCH])
async def test_a_chunked_body_that_pours_for_ever(path: bytes) -> None:
    async with served(HttpConfig()) as (_, port), peer(port) as device:
        device.request(path, b"Transfer-Encoding: chunked")
        answer = asyncio.ensure_future(device.answer())
        chunk = b"4000\r\n" + b" " * 0x4000 + b"\r\n"
        with pytest.raises(ConnectionError):
            await pour(device, chunk)
        with suppress(ConnectionError, asyncio.IncompleteReadError):  # lost on a peer that does not stop talking
            assert (await answer)[0] == 413


async def test_ten_megabytes_are_answered_and_the_connection_lives() -> None:
    async with served(HttpConfig()) as (_, port), peer(port) as device:
        size = 10 * 1024 * 1024
        for path in (SINGLE, BATCH):
            device.request(path, b"Content-Length: %d" % size)
            answer = asyncio.ensure_future(device.answer())
            device.writer.write(b"x" * size)
            await device.writer.drain()
            assert (await answer)[0] == 413
        device.request(SINGLE, b"Content-Length: %d" % len(BODY))
        device.writer.write(BODY)
        assert (await device.answer())[0] == 202


@pytest.mark.parametrize(
    "path",
    [
        b"/ingest/v1/tenant/tenant-a/device/a%2Fb/telemetry",
        b"/ingest/v1/tenant/tenant-a/device/a%0Ab/telemetry",
        b"/ingest/v1/tenant/tenant-a/device/%F0%9F%99%82/telemetry",
        b"/ingest/v1/tenant/tenant-a/device/%FF/telemetry",
        b"/ingest/v1/tenant/tenant-a/device/" + b"a" * 10_000 + b"/telemetry",
        b"/ingest/v1/tenant/tenant-a/device/\xf0\x9f\x99\x82/telemetry",
        b"/ingest/v1/tenant/tenant-a/device/a b/telemetry",
        b"/ingest/v1/tenant/tenant-a/device/a\x00b/telemetry",
    ],
)
async def test_ids_that_none_can_have(path: bytes) -> None:
    async with served(HttpConfig()) as (intake, port), peer(port) as stranger:
        stranger.request(path, b"Content-Length: %d" % len(BODY))
        stranger.writer.write(BODY)
        async with asyncio.timeout(20):
            head = await stranger.reader.readuntil(b"\r\n\r\n")
        assert 400 <= int(head[9:12]) < 500
        assert not intake.committed


async def test_a_peer_that_leaves_in_the_middle() -> None:
    async with served(HttpConfig()) as (intake, port):
        async with peer(port) as device:
            device.request(SINGLE, b"Content-Length: 100")
            device.writer.write(b"{")
            await device.writer.drain()
        async with peer(port) as device:
            device.request(SINGLE, b"Content-Length: %d" % len(BODY))
            device.writer.write(BODY)
            assert (await device.answer())[0] == 202
        assert len(intake.submissions) == 1
