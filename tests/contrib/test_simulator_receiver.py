"""The demo receiver judges signatures by itself; the reference library makes them here."""

from __future__ import annotations

import datetime as dt
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from standardwebhooks import Webhook

from pulse_simulator.signature import BadSignature, verify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
DEADLINE_S = 30.0


def signed(body: bytes, secret: str = SECRET, at: dt.datetime | None = None) -> dict[str, str]:
    at = at or dt.datetime.now(dt.UTC)
    return {
        "webhook-id": "d-1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("d-1", at, body.decode()),
    }


def now_s() -> float:
    return dt.datetime.now(dt.UTC).timestamp()


def test_holds_what_the_reference_library_signed() -> None:
    verify(signed(b'{"a":1}'), b'{"a":1}', [OTHER, SECRET], now_s())


def test_one_good_signature_of_several_is_enough() -> None:
    body = b"{}"
    headers = signed(body)
    headers["webhook-signature"] = "v1,AAAA v2,BBBB " + headers["webhook-signature"]
    verify(headers, body, [SECRET], now_s())


@pytest.mark.parametrize(
    ("body", "change", "why"),
    [
        (b'{"a":2}', {}, "no secret"),
        (b'{"a":1}', {"webhook-id": "d-2"}, "no secret"),
        (b'{"a":1}', {"webhook-signature": "v1,\udcff\udcfe"}, "no secret"),
        (b'{"a":1}', {"webhook-signature": "nonsense"}, "no v1"),
        (b'{"a":1}', {"webhook-timestamp": "soon"}, "webhook-timestamp"),
    ],
)
def test_any_change_breaks_it(body: bytes, change: dict[str, str], why: str) -> None:
    with pytest.raises(BadSignature, match=why):
        verify({**signed(b'{"a":1}'), **change}, body, [SECRET], now_s())


def test_an_old_webhook_is_refused() -> None:
    at = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=10)
    with pytest.raises(BadSignature, match="300 s"):
        verify(signed(b"{}", at=at), b"{}", [SECRET], now_s())


@contextmanager
def running_receiver(folder: Path, secrets: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    (folder / "secrets.json").write_text(json.dumps(secrets))
    arguments = ["--port", "0", "--secrets", str(folder / "secrets.json"), "--log", str(folder / "log.jsonl")]
    with subprocess.Popen(
        [sys.executable, "-m", "pulse_simulator", "receiver", *arguments], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process, json.loads(process.stdout.readline())["url"]
        finally:
            process.kill()


def post(url: str, body: bytes, headers: dict[str, str]) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=DEADLINE_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_shows_whether_each_signature_held(tmp_path: Path) -> None:
    secrets = {"tenant-a": SECRET, "tenant-b": [OTHER]}
    with running_receiver(tmp_path, secrets) as (process, url):
        body = b'{"event": "OPEN", "device_id": "pump-1"}'
        assert post(f"{url}/hooks/tenant-a", body, signed(body)) == 204
        assert post(f"{url}/hooks/tenant-b", body, signed(body)) == 401
        with urllib.request.urlopen(f"{url}/?limit=5", timeout=DEADLINE_S) as answer:
            shown = json.load(answer)
        assert (shown["received"], shown["invalid"]) == (2, 1)
        assert [item["signature_valid"] for item in shown["items"]] == [False, True]
        assert shown["items"][1]["payload"]["device_id"] == "pump-1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 0
    logged = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [entry["signature_valid"] for entry in logged] == [True, False]


def test_reads_changed_secrets_again(tmp_path: Path) -> None:
    with running_receiver(tmp_path, []) as (_, url):
        assert post(f"{url}/any", b"{}", signed(b"{}")) == 401
        (tmp_path / "secrets.json").write_text(json.dumps([SECRET]))
        assert post(f"{url}/any", b"{}", signed(b"{}")) == 204


def test_ends_when_its_parent_is_killed(tmp_path: Path) -> None:
    start = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-m', 'pulse_simulator', 'receiver'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", start], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        lines = [parent.stdout.readline(), parent.stdout.readline()]
        child = psutil.Process(int(next(line for line in lines if line.strip().isdigit())))
        os.kill(parent.pid, signal.SIGKILL)
        gone, _ = psutil.wait_procs([child], timeout=DEADLINE_S)
        assert gone == [child]
