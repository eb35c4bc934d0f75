"""The HTTP client against servers that misbehave. Loopback plays the public network, by being allowed."""

from __future__ import annotations

import asyncio
import gzip
import socket
from typing import TYPE_CHECKING

import aiohttp
import pytest

from pulse_core.errors import NameUnresolved, OutboundRefused, PermanentFailure, TemporaryFailure
from pulse_core.outbound import HttpClient, Outbound, http
from pulse_core.outbound.http import MAX_ANSWER_BYTES
from pulse_core.testing.receivers import HttpReceiver, http_receiver
from support.scripted import scripted
from support.telling import SECRET, tells_no_secret

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path


async def loopback(host: str, port: int) -> list[str]:
    return ["127.0.0.1"]


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    async with HttpClient(Outbound(["127.0.0.1/32"], look_up=loopback), allow_plain_http=True) as made:
        yield made


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as running:
        yield running


async def test_an_answer_is_told_whole(client: HttpClient, receiver: HttpReceiver) -> None:
    receiver.answer_headers = {"X-Thing": "1"}
    answer = await client.post(f"{receiver.url}/a?b=c", json={"a": "ä"}, headers={"X-Mine": "2"})
    assert (answer.status, answer.text, answer.address) == (200, "thank you", "127.0.0.1")
    assert answer.headers["x-thing"] == "1"
    assert not answer.truncated
    assert answer.duration_ms >= 0
    (arrived,) = receiver.received
    assert arrived.path == "/a?b=c"
    assert arrived.headers["x-mine"] == "2"
    assert arrived.headers["content-type"] == "application/json"
    assert arrived.headers["accept-encoding"] == "identity"


async def test_a_request_without_a_body(client: HttpClient, receiver: HttpReceiver) -> None:
    assert (await client.get(receiver.url)).status == 200
    assert receiver.received[0].body == b""


async def test_connections_are_kept_and_their_names_not_asked_again(receiver: HttpReceiver) -> None:
    questions = []

    async def counting(host: str, port: int) -> list[str]:
        questions.append(host)
        return ["127.0.0.1"] if len(questions) == 1 else ["127.0.0.2"]

    async with HttpClient(Outbound(["127.0.0.1/32"], look_up=counting), allow_plain_http=True) as client:
        for _ in range(3):
            await client.get(f"http://hooks.example:{receiver.port}/")
    assert questions == ["hooks.example"]


async def test_a_new_connection_is_checked_anew(receiver: HttpReceiver) -> None:
    answers = [["127.0.0.1"], ["127.0.0.2"]]

    async def rebinding(host: str, port: int) -> list[str]:
        return answers.pop(0)

    async with (
        HttpClient(Outbound(["127.0.0.1/32"], look_up=rebinding), allow_plain_http=True) as client,
        scripted(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n") as peer,
    ):
        url = f"http://hooks.example:{peer.port}/"
        await client.get(url)
        with pytest.raises(OutboundRefused):
            await client.get(url)
        assert peer.connections == 1


async def test_a_status_that_comes_late_counts_though_its_body_never_ends(client: HttpClient) -> None:
    async def late(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.6)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nthan")
        await ended.wait()
        writer.close()

    ended = asyncio.Event()
    async with await asyncio.start_server(late, "127.0.0.1", 0) as server:
        answer = await client.post(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", timeout_s=1.5)
        ended.set()
    assert (answer.status, answer.body, answer.truncated) == (200, b"than", True)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_like_any_other(client: HttpClient, receiver: HttpReceiver, status: int) -> None:
    async with scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as elsewhere:
        receiver.status, receiver.answer_headers = status, {"Location": elsewhere.url}
        answer = await client.post(receiver.url, content=b"x")
        assert answer.status == status
        assert elsewhere.connections == 0
        with pytest.raises(PermanentFailure, match="redirects are not followed"):
            answer.raise_for_failure()


async def test_nothing_is_remembered_and_nothing_taken_from_the_environment(
    client: HttpClient, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password netrc-password\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    async with scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        receiver.answer_headers = {"Set-Cookie": "session=1; Path=/"}
        await client.get(receiver.url)
        await client.get(receiver.url)
        assert proxy.connections == 0
    assert not [name for item in receiver.received for name in item.headers if name in ("cookie", "authorization")]


# Answers that are too much


@pytest.mark.parametrize(
    ("head", "endless"),
    [
        (b"Content-Length: 1000000000\r\n", b"x" * 65536),
        (b"Transfer-Encoding: chunked\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"),
        (b"", b"x" * 65536),
    ],
    ids=["length", "chunked", "until close"],
)
async def test_at_most_64_kb_are_read(client: HttpClient, head: bytes, endless: bytes) -> None:
    async with scripted(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n", endless=endless) as peer:
        answer = await client.get(peer.url)
        assert answer.body == b"x" * MAX_ANSWER_BYTES
        assert answer.truncated
        assert len(answer.receipt) < 5000
        assert peer.sent_bytes < 8_000_000, "more was read than the buffers of the system hold"
        await client.get(peer.url)
        assert peer.connections == 2, "a connection with the rest of an answer in it was used again"


async def test_exactly_64_kb_are_whole(client: HttpClient, receiver: HttpReceiver) -> None:
    receiver.answer = b"x" * MAX_ANSWER_BYTES
    answer = await client.get(receiver.url)
    assert (len(answer.body), answer.truncated) == (MAX_ANSWER_BYTES, False)


async def test_a_compression_bomb_stays_packed(client: HttpClient, receiver: HttpReceiver) -> None:
    receiver.answer = gzip.compress(b"\0" * 30_000_000)
    receiver.answer_headers = {"Content-Encoding": "gzip"}
    answer = await client.get(receiver.url)
    assert answer.body == receiver.answer[:MAX_ANSWER_BYTES]


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 100\r\n\r\nonly this",
        b"Transfer-Encoding: chunked\r\n\r\n9\r\nonly this\r\n",
    ],
)
async def test_a_broken_body_does_not_undo_the_status(client: HttpClient, rest: bytes) -> None:
    async with scripted(b"HTTP/1.1 202 Accepted\r\n" + rest) as peer:
        answer = await client.get(peer.url)
        assert (answer.status, answer.truncated) == (202, True)
        answer.raise_for_failure()


async def test_a_body_that_never_ends_does_not_undo_the_status(
    client: HttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "_BODY_PATIENCE_S", 0.2)
    async with scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", close=False) as peer:
        answer = await client.get(peer.url)
        assert (answer.body, answer.truncated) == (b"abc", True)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 banana\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(10_000)) + b"\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX",
        b"\0" * 4096,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
    ],
    ids=range(10),
)
async def test_what_is_no_answer_is_temporary(client: HttpClient, answer: bytes) -> None:
    async with scripted(answer) as peer:
        with pytest.raises(TemporaryFailure) as caught:
            await client.get(f"{peer.url}/{SECRET}")
        tells_no_secret(caught.value, peer.port)


async def test_one_time_out_for_everything(client: HttpClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/{SECRET}"
        with pytest.raises(TemporaryFailure, match=r"no answer within 0\.2 s") as caught:
            await client.get(url, timeout_s=0.2)
        tells_no_secret(caught.value, silent.getsockname()[1])


async def test_a_dripping_header_is_bounded_too(client: HttpClient) -> None:
    async with scripted(b"HTTP/1.1 200 OK\r\n", endless=b"X: y\r\n", close=False) as peer:
        with pytest.raises(TemporaryFailure):
            await client.get(peer.url, timeout_s=2)


# What is refused


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.2",
        "10.0.0.1",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.2]",
        "[64:ff9b::7f00:2]",
        "2130706434",
        "0x7f000002",
        "0177.0.0.2",
        "127.2",
        "127.0.0.2.",
        "%31%32%37.0.0.2",
        "\uff11\uff12\uff17.0.0.2",
        "127\u30020\u30020\u30022",
        "\u2460\u2461\u2466.0.0.2",
        "[fe80::1%25lo]",
    ],
    ids=ascii,
)
async def test_the_guard_reads_a_host_as_the_connection_does(
    client: HttpClient, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[object] = []
    monkeypatch.setattr(socket, "socket", lambda *arguments: opened.append(arguments))
    with pytest.raises(PermanentFailure):
        await client.get(f"http://{host}:9/")
    assert opened == []


async def test_no_socket_is_made_for_an_address_that_was_never_checked(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if everything before it were fooled."""
    monkeypatch.setattr(http, "literal", lambda _: None)
    async with HttpClient(Outbound(), allow_plain_http=True) as client:
        with pytest.raises(OutboundRefused):
            await client.get(receiver.url)
    assert receiver.received == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "http+unix://%2Frun%2Fdocker.sock/",
        "gopher://127.0.0.1/",
        "//127.0.0.1/",
        "/etc",
        "",
        "http://",
        "http:///path",
        "http://127.0.0.1:0/",
        "http://127.0.0.1:99999/",
        "http://me:s3cr3t-t0k3n@127.0.0.1/",
        "http://s3cr3t-t0k3n@127.0.0.1/",
        "http://[::1/s3cr3t-t0k3n",
        "http://127.0.0.1:s3cr3t-t0k3n/",
        "http://a..b/s3cr3t-t0k3n",
    ],
)
async def test_what_is_no_url_of_ours_is_refused_without_repeating_it(client: HttpClient, url: str) -> None:
    with pytest.raises(PermanentFailure) as caught:
        await client.get(url)
    tells_no_secret(caught.value)


async def test_production_calls_https_only(receiver: HttpReceiver) -> None:
    async with HttpClient(Outbound(["127.0.0.1/32"])) as client:
        with pytest.raises(OutboundRefused, match="https"):
            await client.get(receiver.url)
    assert receiver.received == []


@pytest.mark.parametrize("header", [("X-A", "1\r\nX-B: 2"), ("X-A\r\nX-B", "1"), ("X-A", "1\n"), ("X-A", "\0")])
async def test_a_header_cannot_smuggle_another(
    client: HttpClient, receiver: HttpReceiver, header: tuple[str, str]
) -> None:
    with pytest.raises(PermanentFailure, match="header"):
        await client.get(receiver.url, headers=dict([header]))
    assert receiver.received == []


async def test_errors_tell_whom_but_never_what(client: HttpClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    url = f"http://127.0.0.1:{port}/{SECRET}?token={SECRET}"
    with pytest.raises(TemporaryFailure, match=rf"'127\.0\.0\.1' port {port}: connection refused") as caught:
        await client.post(url, content=SECRET.encode(), headers={"Authorization": SECRET})
    tells_no_secret(caught.value, port)


async def test_a_name_without_an_answer_is_temporary() -> None:
    async def nothing(host: str, port: int) -> list[str]:
        raise NameUnresolved("no such name")

    async with HttpClient(Outbound(look_up=nothing), allow_plain_http=True) as client:
        with pytest.raises(NameUnresolved):
            await client.get("http://hooks.example/")


async def test_mixed_answers_are_refused(receiver: HttpReceiver) -> None:
    async def mixed(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "127.0.0.2"]

    async with HttpClient(Outbound(["127.0.0.1/32"], look_up=mixed), allow_plain_http=True) as client:
        with pytest.raises(OutboundRefused):
            await client.get(f"http://hooks.example:{receiver.port}/")
    assert receiver.received == []


async def test_interrupting_a_request_leaves_the_client_usable(client: HttpClient, receiver: HttpReceiver) -> None:
    receiver.mood = "silent"
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await client.get(receiver.url)
    receiver.mood = "ok"
    assert (await client.get(receiver.url)).status == 200


async def test_many_at_once(client: HttpClient, receiver: HttpReceiver) -> None:
    answers = await asyncio.gather(*(client.post(receiver.url, content=b"%d" % number) for number in range(200)))
    assert {answer.status for answer in answers} == {200}
    assert {item.body for item in receiver.received} == {b"%d" % number for number in range(200)}


@pytest.mark.parametrize("make", [aiohttp.ClientError, aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError])
def test_whatever_the_library_raises_has_a_meaning(make: Callable[[str], Exception]) -> None:
    assert isinstance(http._failure(make(SECRET), "x", 1.0), TemporaryFailure)
    assert SECRET not in str(http._failure(make(SECRET), "x", 1.0))
