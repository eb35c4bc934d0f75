"""What strangers meet at our HTTP ports: heads that never end, activation, and the answer to what is not there."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.config import Listen
from pulse_core.errors import NotFound, StoreUnavailable
from pulse_server import activation, http_guard
from pulse_server.activation import PATH, ActivationApp
from pulse_server.device_http import DeviceRouter
from pulse_server.health import Health
from pulse_server.serving import HttpServer, bind

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Codes:
    """Knows one code."""

    def __init__(self) -> None:
        self.away = False

    async def activate(self, code: str) -> Any:
        if self.away:
            raise StoreUnavailable("gone")
        if code != "GOOD-CODE":
            raise NotFound("no")
        return SimpleNamespace(tenant_id="tenant-a", device_id="dev-1", token="t0ken")


@asynccontextmanager
async def front(app: ActivationApp) -> AsyncIterator[int]:
    sock = bind(Listen(port=0), "test")
    router = DeviceRouter(Health("pipeline"))
    router.open([(PATH, app)])
    server = HttpServer(router, sock)
    await server.start()
    yield sock.getsockname()[1]
    await server.stop()


async def talk(port: int, raw: bytes, *, more: bool = False, within_s: float = 10.0) -> bytes:
    """Everything that the server says until it closes (or until the answer is whole)."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(raw)
        await writer.drain()
        if not more:
            writer.write_eof()
        return await asyncio.wait_for(reader.read(-1), within_s)
    except ConnectionError:
        return b"(reset)"
    finally:
        writer.close()


def request(
    body: bytes, *, content_type: str = "application/json", method: str = "POST", length: int | None = None
) -> bytes:
    head = f"{method} {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: {content_type}\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


async def test_a_code_is_traded_for_a_token() -> None:
    async with front(ActivationApp(Codes())) as port:
        answer = await talk(port, request(b'{"code": "GOOD-CODE"}'))
    assert status(answer) == 200
    body = json.loads(answer.split(b"\r\n\r\n", 1)[1])
    assert body == {"tenant_id": "tenant-a", "device_id": "dev-1", "token": "t0ken"}
    assert b"cache-control: no-store" in answer.lower()


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (request(b'{"code": "BAD"}'), 404),
        (request(b"{"), 400),
        (request(b"[" * 3000), 400),
        (request(b"{}"), 422),
        (request(b'{"code": ""}'), 422),
        (request(b'{"code": "\\ud800"}'), 400),
        (request(b'{"code": 5}'), 422),
        (request(b'{"code": "x", "more": 1}'), 422),
        (request(b"x" * 5000), 413),
        (request(b'{"code": "GOOD-CODE"}', content_type="text/plain"), 415),
        (request(b"", method="GET"), 405),
    ],
)
async def test_what_is_wrong_with_an_activation_is_the_callers_fault(raw: bytes, expected: int) -> None:
    async with front(ActivationApp(Codes())) as port:
        answer = await talk(port, raw)
    assert status(answer) == expected
    assert b"application/problem+json" in answer
    assert b"Traceback" not in answer


async def test_guessing_is_slowed_down() -> None:
    async with front(ActivationApp(Codes())) as port:
        answers = [status(await talk(port, request(b'{"code": "BAD"}'))) for _ in range(10)]
        refused = await talk(port, request(b'{"code": "GOOD-CODE"}'))
    assert answers == [404] * 10
    assert status(refused) == 429
    assert b"retry-after: " in refused.lower()


async def test_without_a_database_a_code_is_not_lost() -> None:
    codes = Codes()
    codes.away = True
    for app in (ActivationApp(codes), ActivationApp()):
        async with front(app) as port:
            assert status(await talk(port, request(b'{"code": "GOOD-CODE"}'))) == 503


async def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activation, "BODY_WITHIN_S", 0.1)
    async with front(ActivationApp(Codes())) as port:
        assert status(await talk(port, request(b'{"code"', length=100), more=True)) == 408


async def test_a_head_that_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_guard, "HEAD_WITHIN_S", 0.2)
    async with front(ActivationApp(Codes())) as port:
        assert await talk(port, b"", more=True) == b""
        assert await talk(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", more=True) == b""
        kept_alive = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
        answer = await talk(port, kept_alive + b"GET /healthz HT", more=True)
        assert answer.count(b"HTTP/1.1 200") == 1


async def test_a_head_may_not_be_of_any_size() -> None:
    async with front(ActivationApp(Codes())) as port:
        endless = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"X-A: " + b"a" * (http_guard.MAX_HEAD_BYTES + 1000)
        assert await talk(port, endless, more=True) in {b"", b"(reset)"}
        long_but_fine = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-A: " + b"a" * 8000 + b"\r\n\r\n"
        assert status(await talk(port, long_but_fine)) == 200


@pytest.mark.parametrize(
    "raw",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    ],
)
async def test_what_is_not_http_is_refused_and_the_neighbours_are_served(raw: bytes) -> None:
    async with front(ActivationApp(Codes())) as port:
        answer = await talk(port, raw)
        assert answer == b"(reset)" or status(answer) == 400
        assert b"Traceback" not in answer
        assert status(await talk(port, b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")) == 200


async def test_an_upgrade_that_nobody_offers_is_an_ordinary_request() -> None:
    upgrade = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n\r\n"
    async with front(ActivationApp(Codes())) as port:
        assert status(await talk(port, upgrade)) == 200
