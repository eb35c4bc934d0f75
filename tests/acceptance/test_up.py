"""``pulse up`` as its operator meets it: a message's whole way, crashes, and the end of everything."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pulse_server.exits import DO_NOT_RESTART
from support import mqtt311
from support.product import Product, free_ports, status_of
from support.waiting import until_sync
from support.webhook_receiver import receiving

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database, PostgresServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = {"site_id": "site-1", "metrics": {"temp_c": 21.5}}


def post(url: str, body: Any, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json", **headers}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def activated(product: Product, device_id: str) -> str:
    """A device registered, given a code, and activated at the port where devices are."""
    product.admin("devices", {"tenant_id": "tenant-a", "device_id": device_id, "site_id": "site-1"})
    code = product.admin(f"devices/tenant-a/{device_id}/activate-code", method="POST")["code"]
    status, granted = post(f"http://127.0.0.1:{product.http_port}/api/device/activate", {"code": code})
    assert (status, granted["device_id"]) == (200, device_id)
    status, _ = post(f"http://127.0.0.1:{product.web_port}/api/device/activate", {"code": code})
    assert status == 404, "a code works once"
    return str(granted["token"])


def ingest(product: Product, device_id: str, token: str) -> int:
    url = f"http://127.0.0.1:{product.http_port}/ingest/v1/tenant/tenant-a/device/{device_id}/telemetry"
    return post(url, BODY, **{"X-Provision-Token": token})[0]


async def publish(product: Product, device_id: str, token: str) -> bytes:
    address = f"mqtt://127.0.0.1:{product.mqtt_port}"
    async with mqtt311.logged_in(address, f"tenant-a/{device_id}", token, device_id) as client:
        client.write(mqtt311.publish(f"tenant/tenant-a/device/{device_id}/telemetry", json.dumps(BODY).encode()))
        return await client.read()


def gone(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    _, alive = psutil.wait_procs(processes, timeout=within_s)
    return alive


async def test_from_a_devices_message_to_a_signed_webhook(product: Product) -> None:
    with receiving(SECRET) as receiver:
        product.admin("tenants", {"tenant_id": "tenant-a", "stale_after_s": 1})
        wanted = {"tenant_id": "tenant-a", "type": "webhook", "name": "on call"}
        config = {"url": receiver.url, "secret": SECRET}
        integration = product.admin("integrations", {**wanted, "config": config})
        route = {"tenant_id": "tenant-a", "integration_id": integration["integration_id"]}
        product.admin("integration-routes", {**route, "deliver_on": ["OPEN", "CLOSED"]})
        token = activated(product, "dev-1")
        assert ingest(product, "dev-1", token) == 202
        assert await publish(product, "dev-1", token) == mqtt311.puback(1)
        readings = product.admin("devices/tenant-a/dev-1/telemetry")["items"]
        assert [each["metrics"] for each in readings] == [BODY["metrics"]] * 2, "acknowledged is stored"

        until_sync(lambda: receiver.got, what="the webhook about the silent device")
        (alert,) = product.admin("alerts", tenant_id="tenant-a")["items"]
        assert (alert["alert_type"], alert["status"], alert["severity"]) == ("NO_HEARTBEAT", "OPEN", 4)
        told = receiver.got[0]
        assert (told["event"], told["alert_id"], told["device_id"]) == ("OPEN", alert["alert_id"], "dev-1")
        assert product.admin("devices/tenant-a/dev-1")["status"] == "STALE"

        assert ingest(product, "dev-1", token) == 202
        until_sync(lambda: any(each["event"] == "CLOSED" for each in receiver.got), what="the all-clear")
        delivered = until_sync(lambda: _delivered(product, 2), what="two recorded deliveries")
        assert all(each["attempts"][0]["outcome"] == "DELIVERED" for each in delivered)
        assert {told["delivery_id"] for told in receiver.got} >= {each["delivery_id"] for each in delivered}
        assert receiver.refused == 0

        product.admin("devices/tenant-a/dev-1/revoke", method="POST")
        until_sync(lambda: ingest(product, "dev-1", token) == 401, within_s=5, what="the revocation")


def _delivered(product: Product, count: int) -> list[dict[str, Any]]:
    found = [each for each in product.admin("deliveries")["items"] if each["status"] == "DELIVERED"]
    return found if len(found) >= count else []


def test_sigterm_ends_everything_in_time(product: Product) -> None:
    for port in (product.web_port, product.http_port):
        assert status_of(f"http://127.0.0.1:{port}/readyz") == 200
        assert status_of(f"http://127.0.0.1:{port}/healthz") == 200
    everything = product.everything()
    assert len(everything) >= 5, "the supervisor, three roles and PostgreSQL"
    assert product.stop() == 0
    assert gone(everything, 0) == []
    assert "Traceback" not in product.log()
    assert list((product.data_dir / "run").glob("*.json")) == []


def test_kill_9_of_the_supervisor_leaves_nothing_running(product: Product) -> None:
    everything = product.everything()
    everything[0].kill()
    assert gone(everything, 10) == []


def test_a_killed_role_comes_back_and_it_is_said(product: Product) -> None:
    for name in ("pipeline", "deliver", "web"):
        before = product.process(name).pid
        product.kill(name)
        until_sync(lambda name=name, before=before: product.process(name).pid != before, what=f"another {name}")  # type: ignore[misc]
        assert f"{name} ended (killed by SIGKILL)" in product.log()
    until_sync(product.ready, what="readiness")
    until_sync(lambda: status_of(f"http://127.0.0.1:{product.web_port}/readyz") == 200, what="the web role")


def test_while_the_database_is_away_nobody_is_ready_and_nothing_is_accepted(product: Product) -> None:
    product.admin("tenants", {"tenant_id": "tenant-a"})
    token = activated(product, "dev-1")
    postmaster = product.process("postgres")
    postmaster.suspend()
    for backend in postmaster.children(recursive=True):
        backend.suspend()
    try:
        until_sync(lambda: not product.ready(), what="a pipeline that is not ready")
        assert status_of(f"http://127.0.0.1:{product.web_port}/readyz", 10) == 503
        assert status_of(f"http://127.0.0.1:{product.http_port}/healthz") == 200
    finally:
        for process in (*postmaster.children(recursive=True), postmaster):
            process.resume()
    until_sync(lambda: ingest(product, "dev-1", token) == 202, what="messages to be accepted again")
    until_sync(product.ready, what="readiness")


def run_pulse(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PULSE_")}
    return subprocess.run(
        [sys.executable, "-m", "pulse_server", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**inherited, "COLUMNS": "200", **environment},
    )


def anywhere(tmp_path: Path, **more: str) -> dict[str, str]:
    names = ("PULSE_WEB__PORT", "PULSE_DEVICE_HTTP__PORT", "PULSE_METRICS_DELIVER__PORT")
    return {**dict.fromkeys(names, "0"), "PULSE_DATA_DIR": str(tmp_path / "data"), **more}


def test_in_production_a_taken_port_is_a_clear_error(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_pulse("up", **anywhere(tmp_path, PULSE_WEB__PORT=port))
    assert done.returncode == DO_NOT_RESTART
    assert f"web: cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_plugins_taken_port_is_a_clear_error_too(tmp_path: Path) -> None:
    before = set(psutil.Process().children(recursive=True))  # a server for other tests may be there already
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run_pulse("up", **anywhere(tmp_path, PULSE_PLUGINS__MQTT__PORT=port))
    assert done.returncode == DO_NOT_RESTART
    assert port in done.stderr
    assert "Traceback" not in done.stderr
    left = set(psutil.Process().children(recursive=True)) - before
    data_dir = str(tmp_path)
    assert not [process for process in left if "postgres" in process.name() and data_dir in " ".join(process.cmdline())]


@pytest.mark.parametrize("command", [["up"], ["run", "--role", "web"], ["run", "--role", "all"]])
def test_a_database_that_was_never_migrated_is_refused(
    postgres: PostgresServer, tmp_path: Path, command: list[str]
) -> None:
    database = postgres.empty()
    try:
        done = run_pulse(
            *command,
            **anywhere(tmp_path, PULSE_DATABASE_URL=database.url, PULSE_SECRET_KEY=database.secret_key),
        )
    finally:
        database.drop()
    assert done.returncode == DO_NOT_RESTART
    assert "run `pulse migrate`" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_newer_schema_is_refused(database: Database, tmp_path: Path) -> None:
    with database.superuser() as connection:
        connection.execute(
            "INSERT INTO _yoyo_migrations (migration_hash, migration_id, applied_at_utc)"
            " VALUES ('x', '9999_future', now())"
        )
    done = run_pulse("up", **anywhere(tmp_path, PULSE_DATABASE_URL=database.url, PULSE_SECRET_KEY=database.secret_key))
    assert done.returncode == DO_NOT_RESTART
    assert "9999_future" in done.stderr


def test_all_roles_fit_into_one_process(database: Database, tmp_path: Path) -> None:
    environment = anywhere(tmp_path, PULSE_DATABASE_URL=database.url, PULSE_SECRET_KEY=database.secret_key)
    environment["PULSE_PLUGINS__MQTT__PORT"] = str(free_ports(1)[0])
    with subprocess.Popen(
        [sys.executable, "-m", "pulse_server", "run", "--role", "all"],
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        run = tmp_path / "data" / "run"
        until_sync(lambda: len(list(run.glob("*.json"))) == 3 or process.poll() is not None, what="three roles")
        addresses = {path.stem: json.loads(path.read_text())["addresses"] for path in run.glob("*.json")}
        assert set(addresses) == {"pipeline", "deliver", "web"}
        for role, name in (("pipeline", "http"), ("deliver", "health"), ("web", "http")):
            assert status_of(f"{addresses[role][name]}/readyz") == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr is not None
        lines = process.stderr.read().splitlines()
    assert all(re.match(r'\{".*"role": ?"all"', line) or '"role"' in line for line in lines), lines
    for line in lines:
        assert json.loads(line)["pid"] == process.pid
        assert database.secret_key not in line


@pytest.mark.slow
def test_the_demo_shows_a_verified_webhook_within_two_minutes(tmp_path: Path) -> None:
    """As ``make up`` on a clean clone, and once more over the same data."""
    for start in ("first", "second"):
        process = subprocess.Popen(
            [sys.executable, "-m", "pulse_server", "up", "--demo"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("PULSE_")},
        )
        assert process.stdout is not None
        everything = [psutil.Process(process.pid)]
        try:
            said = ""
            for line in process.stdout:
                said += line
                if "first webhook" in line:
                    break
            assert "every signature verified" in said, said
            everything += everything[0].children(recursive=True)
            assert len(everything) >= 7, "PostgreSQL, three roles, the receiver, the devices, and the supervisor"
            _check_the_live_page(said)
            _check_a_command(said)
        finally:
            os.killpg(process.pid, signal.SIGINT)
            code = process.wait(60)
        assert (start, code) == (start, 0), process.stdout.read()
        process.stdout.close()
        assert gone(everything, 5) == []


def _check_the_live_page(said: str) -> None:
    found = re.search(r"Look here: (http://localhost:\d+)/", said)
    assert found, said
    base = found[1]
    with urllib.request.urlopen(f"{base}/", timeout=30) as page:
        assert b"OpsConductor-Pulse" in page.read()
        policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    with urllib.request.urlopen(f"{base}/live/data.json", timeout=30) as answer:
        data = json.load(answer)
    assert sum(data["devices"]["counts"].values()) == 51
    assert data["devices"]["counts"]["ONLINE"] >= 30
    assert data["webhooks"]["items"][0]["verified"] is True
    assert {role["state"] for role in data["roles"]} == {"ready"}
    foreign = urllib.request.Request(f"{base}/live/data.json", headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(foreign, timeout=30)


def _check_a_command(said: str) -> None:
    """As the demo says it: a device is told what to do, and a moment later has done it."""
    found = re.search(r"Bearer (\S+)' -H \S+ \S+ (http\S+/customer)(/devices/\S+/commands) -d '(.*)'", said)
    assert found, said
    token = {"Authorization": f"Bearer {found[1]}"}
    status, made = post(found[2] + found[3], json.loads(found[4]), **token)
    assert status == 201, made

    def done() -> bool:
        request = urllib.request.Request(f"{found[2]}/commands/{made['command_id']}", headers=token)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return bool(json.load(answer)["status"] == "ACKNOWLEDGED")

    until_sync(done, what="a simulated device to do as it was told")


def test_a_closed_terminal_ends_everything_in_order(tmp_path: Path) -> None:
    """Nobody is left to read, and writing fails: the stop goes on."""
    ours, theirs = os.openpty()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PULSE_")}
    environment |= anywhere(tmp_path, PULSE_MODE="dev", PULSE_PLUGINS__MQTT__PORT="0", TERM="xterm")
    process = subprocess.Popen(
        [sys.executable, "-m", "pulse_server", "up"],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
        env=environment,
    )
    os.close(theirs)
    reading = threading.Thread(target=_drain, args=(ours,), daemon=True)
    reading.start()
    try:
        until_sync((tmp_path / "data" / "run" / "up.json").exists, within_s=60, what="pulse up")
        everything = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        os.kill(process.pid, signal.SIGHUP)
        os.close(ours)
        assert process.wait(40) == 0
        assert gone(everything, 5) == []
    finally:
        process.kill()
        process.wait()


def _drain(handle: int) -> None:
    """Read until the terminal is closed, by either side."""
    with suppress(OSError):
        while os.read(handle, 4096):
            pass
