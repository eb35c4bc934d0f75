"""The how-to page on webhooks: what stands there is run, and is so."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import PermanentFailure, PluginConfig
from pulse_core.testing.channels import LocalServices, a_notification
from pulse_core.urls import NO_PLAIN_HTTP
from pulse_webhook.channel import WebhookChannel
from pulse_webhook.config import WebhookConfig
from pulse_webhook.signing import signatures
from pulse_webhook.verifying import Fault, Signed, verify
from support.product import free_ports
from support.tree import ROOT
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.database import Database

TEXT = (ROOT / "docs/how-to/webhook.md").read_text()
CONFIG, PAYLOAD, BEGIN, END = (
    json.loads(block) for block in re.findall(r"^ *```json\n(.*?)^ *```$", TEXT, re.DOTALL | re.MULTILINE)
)
ADD, VERIFY = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
BODY = a_notification().to_json()


def shell(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={**os.environ, "PATH": path, "COLUMNS": "300", **environment},
    )


def test_the_configuration_is_one_and_the_message_is_ours() -> None:
    config = WebhookConfig.model_validate(CONFIG, context=NO_PLAIN_HTTP)
    assert config.signing_secrets == [CONFIG["secret"]]
    assert json.loads(BODY) == PAYLOAD


def test_the_headers_are_those_of_that_message() -> None:
    headers = dict(re.findall(r"^([\w-]+): (.*)$", TEXT, re.MULTILINE))
    wanted = signatures([CONFIG["secret"]], PAYLOAD["delivery_id"], int(headers["webhook-timestamp"]), BODY)
    assert headers["webhook-signature"] == wanted
    assert headers["webhook-id"] == PAYLOAD["delivery_id"]
    assert headers["Authorization"] == CONFIG["headers"]["Authorization"]


def test_every_fault_is_explained() -> None:
    table = TEXT.partition("| It says |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([^`]+)`", table, re.MULTILINE) == [
        Fault.SECRET,
        Fault.HEADER,
        Fault.BODY,
        Fault.SIGNATURE,
        Fault.TIMESTAMP,
    ]
    assert set(Fault) == set(re.findall(r"^\| `([^`]+)`", table, re.MULTILINE))


def test_the_steps_of_a_rotation_leave_nobody_out() -> None:
    """Whoever has the old secret verifies until it ends, whoever has the new one from the beginning."""
    old, new = CONFIG["secret"], BEGIN["config"]["secret"]
    assert BEGIN["config"]["previous_secret"] == old

    def fits(config: dict[str, Any], secret: str) -> int:
        signed = signatures(WebhookConfig.model_validate(config).signing_secrets, "id", 1, BODY)
        return verify(secret, Signed("id", "1", signed, BODY), 1).matched

    during = {**CONFIG, **BEGIN["config"]}
    after = {name: value for name, value in {**during, **END["config"]}.items() if value is not None}
    assert [fits(config, old) for config in (CONFIG, during, after)] == [1, 2, 0]
    assert [fits(config, new) for config in (CONFIG, during, after)] == [0, 1, 1]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_the_command_makes_the_integration(database: Database, tmp_path: Path) -> None:
    with database.superuser() as connection:
        connection.execute("INSERT INTO tenants (tenant_id) VALUES ('tenant-a')")
    done = shell(ADD, tmp_path, PULSE_DATABASE_URL=database.url, PULSE_SECRET_KEY=database.secret_key)
    assert done.returncode == 0, done.stdout + done.stderr
    with database.superuser() as connection:
        rows = connection.execute("SELECT type, name, config->>'url', secrets IS NOT NULL FROM integrations").fetchall()
    assert rows == [("webhook", "on call", CONFIG["url"], True)]


def test_the_check_on_the_command_line_says_what_the_page_says(tmp_path: Path) -> None:
    stamp = int(time.time())
    headers = {"ID": PAYLOAD["delivery_id"], "TIMESTAMP": str(stamp)}
    headers["SIGNATURE"] = signatures([BEGIN["config"]["secret"], CONFIG["secret"]], headers["ID"], stamp, BODY)
    file = tmp_path / "body"
    file.write_bytes(BODY)
    done = shell(VERIFY, tmp_path, **headers)
    assert (done.returncode, done.stdout[:29]) == (0, "verified: signature 2 of 2 is"), done.stderr
    file.write_bytes(BODY + b"\n")
    done = shell(VERIFY, tmp_path, **headers)
    assert done.returncode == 1
    assert "(the body was changed)" in done.stdout


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The page's receiver: where it listens, and the file that it writes to."""
    (source,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)
    tmp_path.joinpath("receiver.py").write_text(source)
    (port,) = free_ports(1)
    output = tmp_path / "output"
    with output.open("wb") as file:
        running = subprocess.Popen(
            [sys.executable, "receiver.py"],
            cwd=tmp_path,
            env={**os.environ, "PORT": str(port), "PULSE_WEBHOOK_SECRET": CONFIG["secret"]},
            stdout=file,
            stderr=subprocess.DEVNULL,
        )
    try:
        until_sync(lambda: _listens(port), what="the page's receiver")
        yield f"http://127.0.0.1:{port}/pulse", output
    finally:
        running.terminate()
        running.wait(30)


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


async def test_the_receiver_on_the_page_takes_what_is_genuine_once(receiver: tuple[str, Path]) -> None:
    url, output = receiver
    services = LocalServices()
    genuine, forged = (
        WebhookChannel(WebhookConfig.model_validate({**CONFIG, "url": url, "secret": secret}), services, PluginConfig())
        for secret in (CONFIG["secret"], BEGIN["config"]["secret"])
    )
    try:
        for _ in range(2):
            assert "HTTP 204" in await genuine.send(a_notification())
        with pytest.raises(PermanentFailure, match="HTTP 401"):
            await forged.send(a_notification())
        await genuine.send(a_notification(delivery_id="another", event="CLOSED"))
    finally:
        await services.http.close()
    assert output.read_text().splitlines() == [
        "OPEN pump-7 has been silent for 30 s",
        "CLOSED pump-7 has been silent for 30 s",
    ]
