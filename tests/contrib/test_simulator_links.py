"""The simulator's links against scripted peers: what it says on the wire, and what it does when they fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from pulse_simulator import mqtt, obeying, packets, posting
from pulse_simulator.fleet import Member
from pulse_simulator.mqtt import MqttLink
from pulse_simulator.posting import HttpLink

MEMBER = Member("tenant-a", "pump-1", "site-1", "secret-token")
DEADLINE_S = 20.0

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "_BACKOFF_S", (0.01,))
    monkeypatch.setattr(posting, "_BACKOFF_S", (0.01,))


@asynccontextmanager
async def listener(script: Script) -> AsyncIterator[MqttLink]:
    """A link to a TCP peer that runs ``script`` for each connection after it took CONNECT."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await script(reader, writer)
        except (OSError, EOFError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    link = MqttLink(MEMBER, "127.0.0.1", server.sockets[0].getsockname()[1])
    try:
        async with asyncio.timeout(DEADLINE_S):
            yield link
    finally:
        await link.leave()
        server.close()
        await server.wait_closed()


async def welcome(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    _, body = await packets.read_packet(reader)
    writer.write(b"\x20\x02\x00\x00")
    first, subscribed = await packets.read_packet(reader)
    assert (first, subscribed) == (0x82, b"\xff\xff\x00\x23tenant/tenant-a/device/pump-1/cmd/#\x01")
    writer.write(b"\x90\x03\xff\xff\x01")
    return body


async def test_carries_a_command_out_and_acknowledges_it(capsys: pytest.CaptureFixture[str]) -> None:
    acknowledged: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await welcome(reader, writer)
        _, body = await packets.read_packet(reader)
        topic = b"tenant/tenant-a/device/pump-1/cmd/reboot"
        writer.write(b"\x32" + bytes([2 + len(topic) + 2 + 2]) + b"\x00" + bytes([len(topic)]) + topic + b"\x00\x07{}")
        acknowledged.append(b"".join(bytes([first]) + rest for first, rest in [await packets.read_packet(reader)]))
        writer.write(b"\x40\x02" + body[41:43])
        await reader.read()

    async with listener(script) as link:
        assert await link.send("telemetry", b"{}")
    assert acknowledged == [b"\x40\x00\x07"]
    assert json.loads(capsys.readouterr().out)["name"] == "reboot"


async def test_logs_in_as_contracts_say_and_returns_on_puback() -> None:
    seen: list[bytes] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await welcome(reader, writer))
        first, body = await packets.read_packet(reader)
        seen.append(bytes([first]) + body)
        topic_end = 2 + int.from_bytes(body[:2], "big")
        writer.write(b"\x40\x02" + body[topic_end : topic_end + 2])
        await reader.read()

    async with listener(script) as link:
        assert await link.send("telemetry", b'{"x":1}')
    login, published = seen
    assert login.startswith(b"\x00\x04MQTT\x04\xc2")
    assert login.endswith(b"\x00\x11tenant-a/pump-1".replace(b"\x11", b"\x0f") + b"\x00\x0csecret-token")
    assert published == b"\x32\x00\x27tenant/tenant-a/device/pump-1/telemetry\x00\x01" + b'{"x":1}'


async def test_resends_with_dup_what_was_not_acknowledged() -> None:
    seen: list[int] = []

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await welcome(reader, writer)
        first, body = await packets.read_packet(reader)
        seen.append(first)
        if len(seen) == 1:
            return
        writer.write(b"\x40\x02" + body[41:43])
        await reader.read()

    async with listener(script) as link:
        assert await link.send("telemetry", b"{}")
    assert seen == [0x32, 0x3A]


async def test_out_of_reach_sends_nothing_until_it_is_back() -> None:
    logins = 0
    unanswered = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal logins
        logins += 1
        await welcome(reader, writer)
        _, body = await packets.read_packet(reader)
        if logins == 1:
            unanswered.set()
        else:
            writer.write(b"\x40\x02" + body[41:43])
        await reader.read()

    async with listener(script) as link:
        sending = asyncio.ensure_future(link.send("telemetry", b"{}"))
        await unanswered.wait()
        await link.leave()
        done, _ = await asyncio.wait({sending}, timeout=0.3)
        assert not done
        assert logins == 1
        link.come_back()
        assert await sending
        assert logins == 2


async def test_a_refused_login_is_tried_again() -> None:
    logins = 0

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal logins
        logins += 1
        if logins == 1:
            await packets.read_packet(reader)
            writer.write(b"\x20\x02\x00\x05")
            return
        await welcome(reader, writer)
        _, body = await packets.read_packet(reader)
        writer.write(b"\x40\x02" + body[41:43])
        await reader.read()

    async with listener(script) as link:
        assert await link.send("telemetry", b"{}")
    assert logins == 2


@pytest.mark.parametrize("size", [0, 127, 128, 16_383, 16_384, 300_000])
async def test_every_length_survives_the_wire(size: int) -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(packets.publish("t", b"x" * size, 7))
    first, body = await packets.read_packet(reader)
    assert (first, body) == (0x32, b"\x00\x01t\x00\x07" + b"x" * size)


async def test_a_length_of_five_bytes_is_a_protocol_error() -> None:
    reader = asyncio.StreamReader()
    reader.feed_data(b"\x40\xff\xff\xff\xff\x01")
    with pytest.raises(packets.ProtocolError):
        await packets.read_packet(reader)


@asynccontextmanager
async def web_peer(answers: list[int], seen: list[web.BaseRequest]) -> AsyncIterator[HttpLink]:
    async def take(request: web.BaseRequest) -> web.Response:
        await request.read()
        seen.append(request)
        return web.Response(status=answers.pop(0), headers={"Retry-After": "0"})

    async with peer_of(take) as link:
        yield link


@asynccontextmanager
async def peer_of(take: Callable[[web.BaseRequest], Awaitable[web.Response]]) -> AsyncIterator[HttpLink]:
    server = web.Server(take)
    runner = web.ServerRunner(server)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session, asyncio.timeout(DEADLINE_S):
            yield HttpLink(MEMBER, f"http://127.0.0.1:{runner.addresses[0][1]}", session)
    finally:
        await runner.cleanup()


async def test_http_tries_again_while_the_platform_cannot() -> None:
    seen: list[web.BaseRequest] = []
    async with web_peer([503, 429, 202], seen) as link:
        assert await link.send("telemetry", json.dumps({"site_id": "site-1"}).encode())
    assert [request.path for request in seen] == ["/ingest/v1/tenant/tenant-a/device/pump-1/telemetry"] * 3
    assert seen[0].headers["X-Provision-Token"] == "secret-token"


async def test_http_carries_a_command_out_once_and_acknowledges_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(obeying, "REST_S", (0.01, 0.01))
    one = {"commands": [{"command_id": "c-1", "name": "reboot", "payload": {"in_s": 1}}]}
    answers = [web.Response(status=401), web.json_response(one), web.Response(status=503)]
    answers += [web.json_response(one), web.json_response({"status": "acknowledged"}), web.Response(text="not JSON")]
    asked: list[str] = []
    ended = asyncio.Event()

    async def take(request: web.BaseRequest) -> web.Response:
        assert request.headers["X-Provision-Token"] == "secret-token"
        asked.append(f"{request.method} {request.path.removeprefix('/ingest/v1/tenant/tenant-a/device/pump-1/')}")
        if not answers:
            ended.set()
        return answers.pop(0) if answers else web.json_response({"commands": []})

    async with peer_of(take) as link:
        task = asyncio.create_task(obeying.obey(MEMBER, link))
        await ended.wait()
        task.cancel()
        await asyncio.wait({task})
    fetch, acknowledge = "GET commands", "POST commands/c-1/ack"
    assert asked[:7] == [fetch, fetch, acknowledge, fetch, acknowledge, fetch, fetch]
    said = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert said == [{"event": "command", "device": "pump-1", "name": "reboot", "payload": {"in_s": 1}}]


async def test_http_takes_a_refusal_for_an_answer() -> None:
    seen: list[web.BaseRequest] = []
    async with web_peer([400], seen) as link:
        assert not await link.send("telemetry", b"not json")
    assert len(seen) == 1
