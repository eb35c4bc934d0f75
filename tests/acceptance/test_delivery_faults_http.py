"""Webhooks and receivers that fail in every way: what one attempt makes of it, and that nobody else notices."""

from __future__ import annotations

import pytest

from support.faults import DEAD, DELIVERED, HEADER_SECRET, RETRYING, TOKEN, Bench, Fault
from support.rude_http import (
    GIGABYTE,
    RudePeer,
    answers,
    bomb,
    drips,
    full,
    hangs_up,
    nobody,
    nowhere,
    resets_after_the_body,
    resets_amid_the_answer,
    resets_at_once,
    rude,
    says,
    says_a_gigabyte,
    silent,
)

CODES_3XX = (300, 301, 302, 303, 305, 306, 307, 308, 399)
NAME = "hooks.example"
NO_CERT = "the certificate is not accepted:"
FOLLOW = "Location: {friend}/elsewhere"
OK, LONG = b"HTTP/1.1 200 OK\r\n", b"x" * 99
LENGTH, CHUNKED, CHUNK = (
    b"Content-Length: %d\r\n\r\n" % GIGABYTE,
    b"Transfer-Encoding: chunked\r\n\r\n",
    b"10000\r\n%b\r\n",
)
HEADERS = b"".join(b"X-%d: 1\r\n" % number for number in range(10_000))
GZIP = "Content-Encoding: gzip"


NETWORK = [
    Fault("connection refused", nobody, RETRYING, "connection refused", heard=False),
    Fault("connection never accepted", full, RETRYING, "no answer within 2 s", heard=False, slow=True),
    Fault("no such name", nowhere, RETRYING, "cannot be resolved", heard=False),
    Fault("reset before the body", rude(resets_at_once), RETRYING, "connection", heard=False),
    Fault("reset after the body", rude(resets_after_the_body), RETRYING, "connection"),
    Fault("hang-up without an answer", rude(hangs_up), RETRYING, "the connection broke off"),
    Fault("reset amid a 200", rude(resets_amid_the_answer("200 OK")), DELIVERED, "HTTP 200"),
    Fault("reset amid a 503", rude(resets_amid_the_answer("503 No")), RETRYING, "HTTP 503"),
    Fault("never answering", rude(silent), RETRYING, "no answer within 2 s", slow=True),
    Fault("a byte a second from the start", rude(drips(b"", OK)), RETRYING, "no answer within 2 s", slow=True),
    Fault("a byte a second of header", rude(drips(OK, LONG)), RETRYING, "no answer within 2 s", slow=True),
    Fault("a byte a second of body", rude(drips(OK + b"\r\n", LONG)), DELIVERED, "ms: xxx"),
    Fault("a certificate for another", rude(silent, name="a.example"), RETRYING, f"{NO_CERT} Hostname", heard=False),
    Fault("an expired certificate", rude(silent, name=NAME, valid_days=-2), RETRYING, f"{NO_CERT} cert", heard=False),
]
STATUSES = [
    *(Fault(f"{code}", answers(f"{code} There", FOLLOW), DEAD, "redirects are not followed") for code in CODES_3XX),
    *(
        Fault(f"{code}", answers(f"{code} No"), DEAD, f"HTTP {code} from 127.0.0.1")
        for code in (400, 401, 403, 404, 413)
    ),
    *(
        Fault(f"{code}", answers(f"{code} Well"), RETRYING, f"HTTP {code} from")
        for code in (408, 425, 429, 500, 502, 503)
    ),
    *(Fault(f"{code}", answers(f"{code} Yes"), DELIVERED, f"HTTP {code} from") for code in (200, 201, 202, 299)),
    Fault("304", answers("304 Same", body=lambda: b""), DEAD, "redirects are not followed"),
    Fault("204", answers("204 Yes", body=lambda: b""), DELIVERED, "HTTP 204 from"),
    Fault("204 with a body", answers("204 Yes"), DELIVERED, "HTTP 204 from"),
    Fault("304 with a body", answers("304 Same"), DEAD, "HTTP 304"),
    Fault("a body longer than announced", rude(says(OK + b"Content-Length: 2\r\n\r\nok, then")), DELIVERED, "HTTP 200"),
    Fault("two answers", rude(says(2 * (OK + b"Content-Length: 2\r\n\r\nok"))), DELIVERED, "HTTP 200"),
    Fault("410", answers("410 Gone"), DEAD, "HTTP 410 from", disables=True),
    Fault("429 after 90 s", answers("429 Slow", "Retry-After: 90"), RETRYING, "HTTP 429", wait_s=90),
    Fault("429 after a date", answers("429 Slow", "Retry-After: {soon}"), RETRYING, "HTTP 429", wait_s=3600),
    Fault("429 after a past date", answers("429 Slow", "Retry-After: {past}"), RETRYING, "HTTP 429"),
    Fault("429 after 0 s", answers("429 Slow", "Retry-After: 0"), RETRYING, "HTTP 429"),
    Fault("429 after -1 s", answers("429 Slow", "Retry-After: -1"), RETRYING, "HTTP 429"),
    Fault("429 after nonsense", answers("429 Slow", "Retry-After: soon"), RETRYING, "HTTP 429"),
    Fault("429 after ages", answers("429 Slow", f"Retry-After: {10**30}"), RETRYING, "HTTP 429", wait_s=12 * 3600),
    Fault("503 after 60 s", answers("503 Slow", "Retry-After: 60"), RETRYING, "HTTP 503", wait_s=60),
    Fault("400 after 60 s", answers("400 No", "Retry-After: 60"), DEAD, "HTTP 400"),
]
FLOODS = [
    Fault("a gigabyte", rude(says_a_gigabyte(OK + LENGTH)), DELIVERED, "HTTP 200", heavy=True),
    Fault("a gigabyte in chunks", rude(says_a_gigabyte(OK + CHUNKED, CHUNK)), DELIVERED, "HTTP 200", heavy=True),
    Fault("a gigabyte of refusal", rude(says_a_gigabyte(b"HTTP/1.1 500 No\r\n" + LENGTH)), RETRYING, "500", heavy=True),
    Fault("a gigabyte of header", rude(says_a_gigabyte(OK + b"X: ")), RETRYING, "its header is too long", heavy=True),
    Fault("10,000 headers", rude(says(OK + HEADERS + b"\r\n")), RETRYING, "its header is too long", heavy=True),
    Fault("a gzip bomb", answers("200 OK", GZIP, body=bomb), DELIVERED, "HTTP 200", heavy=True),
    Fault("a gzip bomb of refusal", answers("503 No", GZIP, body=bomb), RETRYING, "HTTP 503", heavy=True),
    Fault("not HTTP", rude(says(b"SSH-2.0-OpenSSH_9.2\r\n")), RETRYING, "the answer is not HTTP"),
    Fault("repeats all secrets", answers("400 No", echo=True), DEAD, "HTTP 400"),
    Fault("repeats all secrets, delivered", answers("200 OK", echo=True), DELIVERED, "HTTP 200"),
]


@pytest.mark.parametrize("fault", [*NETWORK, *STATUSES, *FLOODS], ids=str)
async def test_a_receiver_that_fails(bench: Bench, fault: Fault) -> None:
    async with fault.peer(bench) as peer:
        await bench.meet(fault, "webhook", peer)
        assert isinstance(peer, RudePeer)
        for request in peer.requests:
            assert bench.betrayed(request.decode()), "what is not sent cannot be told, and proves nothing"


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"the token {TOKEN} is not valid", id="without Bearer"),
        *(pytest.param(f"{'x' * length} {HEADER_SECRET}", id=f"after {length}") for length in (280, 940, 965, 1010)),
    ],
)
async def test_a_secret_is_not_told_in_part_either(bench: Bench, body: str) -> None:
    fault = Fault("401", answers("401 No", body=body.encode), DEAD, "HTTP 401")
    async with fault.peer(bench) as peer:
        await bench.meet(fault, "webhook", peer)
    assert TOKEN[:8] not in bench.written()
