"""The small parts of the host: run files, the secret key, the throttle, problems, health, ports."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, ValidationError

from pulse_core.config import Config, Listen, WebConfig, load_config
from pulse_core.errors import ConfigError
from pulse_server import health as health_module
from pulse_server import ports, problems, runfiles
from pulse_server.device_http import DeviceRouter
from pulse_server.health import Health
from pulse_server.logging_setup import mask_secrets
from pulse_server.secret_key import secret_key
from pulse_server.serving import bind, is_free, url_of
from pulse_server.throttle import Throttle

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_file_is_private_and_forgotten_with_its_process(tmp_path: Path) -> None:
    runfiles.publish(tmp_path, "web", addresses={"http": "http://127.0.0.1:1"})
    path = tmp_path / "run" / "web.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert runfiles.lookup(tmp_path, "web") == {"pid": os.getpid(), "addresses": {"http": "http://127.0.0.1:1"}}
    path.write_text(json.dumps({"pid": 2**22 + 1}))
    assert runfiles.lookup(tmp_path, "web") is None
    path.write_text("{half")
    assert runfiles.lookup(tmp_path, "web") is None
    runfiles.withdraw(tmp_path, "web")
    runfiles.withdraw(tmp_path, "web")
    assert not path.exists()


def test_the_secret_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path / "new")
    made = secret_key(config)
    path = tmp_path / "new" / "secret.key"
    assert len(made) == 64
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert secret_key(config) == made
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        secret_key(config)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(ConfigError, match="32 characters"):
        secret_key(config)


@pytest.mark.parametrize("weak", ["x" * 40, "change-me-" * 4, "this is a default secret key, really"])
def test_production_refuses_a_secret_key_that_can_be_guessed(weak: str) -> None:
    with pytest.raises(ConfigError, match="guessed"):
        secret_key(load_config(mode="prod", secret_key=weak))
    assert secret_key(load_config(mode="dev", secret_key=weak)) == weak


def test_the_throttle_bounds_an_address_and_spares_the_others() -> None:
    throttle = Throttle(per_minute=6, burst=3)
    assert [throttle.wait_s("192.0.2.1", 0.0) for _ in range(3)] == [0, 0, 0]
    assert throttle.wait_s("192.0.2.1", 0.0) == pytest.approx(10)
    assert throttle.wait_s("192.0.2.2", 0.0) == 0
    assert throttle.wait_s("192.0.2.1", 10.0) == 0
    assert throttle.wait_s("192.0.2.1", 10.0) > 0


def test_a_network_of_ipv6_addresses_is_one_caller() -> None:
    throttle = Throttle(per_minute=6, burst=1)
    assert throttle.wait_s("2001:db8::1", 0.0) == 0
    assert throttle.wait_s("2001:db8::ffff", 0.0) > 0
    assert throttle.wait_s("2001:db8:0:1::1", 0.0) == 0
    assert throttle.wait_s("::ffff:192.0.2.1", 0.0) == 0
    assert throttle.wait_s("192.0.2.1", 0.0) > 0


def test_the_throttle_forgets_who_came_long_ago() -> None:
    throttle = Throttle(per_minute=6, burst=1)
    for number in range(20_001):
        throttle.wait_s(f"host-{number}", 0.0)
    assert throttle.wait_s("host-0", 0.0) == 0
    assert throttle.wait_s("host-20000", 0.0) > 0


def test_field_errors_never_repeat_a_value() -> None:
    class Model(BaseModel):
        password: int

    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"password": "hunter2"})
    told = problems.field_errors(caught.value, ["config"])
    assert told[0]["field"] == "config.password"
    assert "hunter2" not in json.dumps(told)


def test_secrets_never_reach_a_log_line() -> None:
    event = mask_secrets(
        None, "info", {"event": "x", "admin_key": "k", "Token": "t", "database_url": "u", "device": "d"}
    )
    assert event == {
        "event": "x",
        "admin_key": "********",
        "Token": "********",
        "database_url": "********",
        "device": "d",
    }


async def call(app: Any, path: str, method: str = "GET") -> tuple[int, dict[str, str], bytes]:
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    await app({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], headers, b"".join(part.get("body", b"") for part in sent[1:])


async def test_health_says_why_it_is_not_ready() -> None:
    health = Health("web")
    status, _, body = await call(health.app, "/readyz")
    assert (status, json.loads(body)["reasons"]) == (503, {"start": "starting"})
    health.release("start")
    answers: list[str | None] = ["the database does not answer", None]

    async def check() -> str | None:
        return answers.pop(0)

    health.add("database", check)
    status, _, body = await call(health.app, "/readyz")
    assert (status, json.loads(body)["reasons"]) == (503, {"database": "the database does not answer"})
    status, headers, body = await call(health.app, "/readyz")
    assert (status, json.loads(body)["status"]) == (200, "ready")
    assert headers["content-type"] == "application/json"
    assert (await call(health.app, "/healthz"))[0] == 200
    assert b'pulse_ready{role="web"} 1.0' in (await call(health.app, "/metrics"))[2]
    assert (await call(health.app, "/healthz", "POST"))[0] == 405


async def test_a_check_that_hangs_or_breaks_makes_us_not_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "PATIENCE_S", 0.01)
    health = Health("web")
    health.release("start")

    async def hangs() -> str | None:
        await asyncio.Event().wait()
        return None

    async def breaks() -> str | None:
        raise ConfigError("broken")

    health.add("hangs", hangs)
    health.add("breaks", breaks)
    assert await health.reasons() == {"hangs": "no answer within 0.01 s", "breaks": "broken"}


async def test_the_device_port_hands_over_by_whole_path_segments() -> None:
    seen: list[str] = []

    def app(name: str) -> Any:
        async def record(scope: Any, _receive: Any, send: Any) -> None:
            seen.append(f"{name} {scope['path']}")
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

        return record

    router = DeviceRouter(Health("pipeline"))
    status, headers, _ = await call(router, "/ingest/v1/batch")
    assert (status, headers["retry-after"]) == (503, "1")
    router.open([("/ingest", app("all")), ("/ingest/v2", app("v2"))])
    for path in ("/ingest/v1/batch", "/ingest/v2/x", "/ingest"):
        assert (await call(router, path))[0] == 204
    assert seen == ["all /ingest/v1/batch", "v2 /ingest/v2/x", "all /ingest"]
    assert (await call(router, "/ingestion"))[0] == 404
    assert (await call(router, "/"))[0] == 404
    assert (await call(router, "/healthz"))[0] == 200


def test_a_taken_port_is_an_error_in_production_and_moves_in_the_demo() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        listen = WebConfig(port=port, trusted_proxies=("192.0.2.0/24",))
        assert not is_free(listen)
        config = Config(web=listen, device_http=Listen(port=0), metrics_deliver=Listen(port=0))
        with pytest.raises(ConfigError, match=f"web: cannot listen on 127.0.0.1:{port}"):
            ports.demand_free(config)
        moved = ports.moved(config).web
        assert (moved.port > port, moved.trusted_proxies) == (True, listen.trusted_proxies)
        same = config.model_copy(update={"device_http": listen, "metrics_deliver": listen})
        chosen = ports.moved(same)
        assert len({chosen.web.port, chosen.device_http.port, chosen.metrics_deliver.port}) == 3


def test_a_socket_on_every_address_is_shown_as_loopback() -> None:
    sock = bind(Listen(host="0.0.0.0", port=0), "x")
    try:
        assert url_of(sock) == f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        sock.close()


@pytest.mark.parametrize("role", ["pipeline", "deliver", "web"])
def test_a_roles_process_carries_nothing_that_it_does_not_use(role: str) -> None:
    """Idle memory is part of the contract: the migrator, the launcher and the other roles' libraries stay out."""
    foreign = {"psycopg", "yoyo", "pulse_server.embedded.launcher", "pulse_server.demo"}
    foreign |= {"pipeline": {"quart"}, "deliver": {"quart"}, "web": set()}[role]
    code = f"import sys, pulse_server.cli.run, pulse_server.roles.{role}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert foreign & set(done.stdout.split()) == set()
