"""pulse-slack as a stranger's distribution: built, installed beside the product, and used through its door alone."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.product import Product
from support.tree import ROOT
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = ROOT / "contrib/pulse-slack"
BUNDLED = ("http", "mqtt", "heartbeat", "webhook", "postgres")
SECRET = "T0AAAA/B0BBBB/xoxs3cr3tw0rd"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pulse-slack is installed: built from a copy of its sources alone, with pip, without a network."""
    copy = tmp_path_factory.mktemp("sources") / "pulse-slack"
    shutil.copytree(SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__", "dist"))
    target = tmp_path_factory.mktemp("site")
    alone = ["--no-deps", "--no-build-isolation", "--no-index", "--no-input", "--disable-pip-version-check"]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", *alone, "--target", str(target), str(copy)],
        check=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PIP_CONFIG_FILE": os.devnull, "PIP_ROOT_USER_ACTION": "ignore"},
    )
    return target


def pulse(folder: Path, *arguments: str, site: Path | None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the ``pulse`` command in an empty folder, with or without the distribution."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PULSE_", "PYTHONPATH"))}
    return subprocess.run(
        [str(Path(sys.executable).with_name("pulse")), *arguments],
        cwd=folder,
        env={**clean, **({"PYTHONPATH": str(site)} if site else {}), **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def enabling(*names: str) -> dict[str, str]:
    return {"PULSE_PLUGINS__ENABLED": json.dumps([*BUNDLED, *names])}


def slack_in(answer: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert answer.returncode == 0, answer.stderr
    found: dict[str, Any] = next(each for each in json.loads(answer.stdout) if each["name"] == "slack")
    return found


def test_it_is_one_short_module_that_imports_the_api_alone(site: Path) -> None:
    (module,) = site.glob("*.py")
    source = module.read_text()
    assert len(source.splitlines()) <= 40
    imported = {
        name
        for node in ast.walk(ast.parse(source))
        for name in (
            [node.module]
            if isinstance(node, ast.ImportFrom)
            else [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else []
        )
    }
    assert imported == {"pulse_core.api"}


def test_pulse_plugins_shows_it_with_version_and_distribution(site: Path, tmp_path: Path) -> None:
    slack = slack_in(pulse(tmp_path, "plugins", "--json", site=site, **enabling("slack")))
    assert slack == {
        "name": "slack",
        "version": "0.1.0",
        "distribution": "pulse-slack",
        "summary": 'Slack: alerts as messages in a channel, through a Slack "incoming webhook".',
        "contributes": ["channel slack"],
        "status": "enabled",
        "error": "",
    }
    table = pulse(tmp_path, "plugins", site=site, COLUMNS="200", **enabling("slack"))
    (line,) = [line for line in table.stdout.splitlines() if "pulse-slack" in line]
    assert line.split()[:3] == ["slack", "0.1.0", "pulse-slack"]
    assert "enabled" in line


def test_installed_but_not_enabled_it_is_disabled(site: Path, tmp_path: Path) -> None:
    slack = slack_in(pulse(tmp_path, "plugins", "--json", site=site))
    assert (slack["status"], slack["contributes"], slack["distribution"]) == ("disabled", [], "pulse-slack")


def test_enabled_but_not_installed_it_is_told(tmp_path: Path) -> None:
    slack = slack_in(pulse(tmp_path, "plugins", "--json", site=None, **enabling("slack")))
    assert slack["status"] == "load error"
    assert "install its distribution" in slack["error"]


def test_a_wrong_setting_is_told(site: Path, tmp_path: Path) -> None:
    wrong = {"PULSE_PLUGINS__SLACK__CHANEL": "x"}
    slack = slack_in(pulse(tmp_path, "plugins", "--json", site=site, **enabling("slack"), **wrong))
    assert slack["status"] == "config error"
    assert "plugins.slack.chanel: there is no such key" in slack["error"]


def test_its_form_is_in_the_reference(site: Path, tmp_path: Path) -> None:
    assert pulse(tmp_path, "docs", "--into", "made", site=site, **enabling("slack")).returncode == 0
    page = tmp_path.joinpath("made/plugins.md").read_text()
    assert "| `webhook_url` | secret text | *required* | The address that Slack gave you" in page


def test_its_own_tests_pass_where_it_is_installed(site: Path) -> None:
    tested = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, str(SOURCE / "tests")],
        cwd=site,
        env={**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert tested.returncode == 0, tested.stdout


class FakeSlack:
    """What answers at hooks.slack.com: records messages, says ``ok``."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.paths: set[str] = set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.paths.add(self.path)
                outer.texts.append(json.loads(body)["text"])
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/services/{SECRET}"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    fake = FakeSlack()
    yield fake
    fake.close()


@pytest.fixture
def product(site: Path, tmp_path: Path) -> Iterator[Product]:
    running = Product(tmp_path / "product", extra_path=site, more_plugins=["slack"])
    running.start()
    yield running
    running.stop()


def speak(product: Product, token: str) -> int:
    request = urllib.request.Request(
        f"http://127.0.0.1:{product.http_port}/ingest/v1/tenant/tenant-a/device/pump-7/heartbeat",
        b'{"site_id": "site-1"}',
        {"X-Provision-Token": token, "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return int(answer.status)


def activate(product: Product) -> str:
    """Register the device pump-7, which is stale after a second, and return its token."""
    product.admin("tenants", {"tenant_id": "tenant-a"})
    product.admin(
        "devices", {"tenant_id": "tenant-a", "device_id": "pump-7", "site_id": "site-1", "stale_after_s": 1.0}
    )
    code = product.admin("devices/tenant-a/pump-7/activate-code", {}, method="POST")["code"]
    request = urllib.request.Request(
        f"http://127.0.0.1:{product.web_port}/api/device/activate",
        json.dumps({"code": code}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return str(json.load(answer)["token"])


@pytest.mark.slow
def test_an_alert_reaches_slack_through_the_whole_product(product: Product, slack: FakeSlack) -> None:
    token = activate(product)
    config = {"webhook_url": slack.url, "mention": "<!here>"}
    made = product.admin("integrations", {"tenant_id": "tenant-a", "type": "slack", "name": "ops", "config": config})
    product.admin(
        "integration-routes",
        {"tenant_id": "tenant-a", "integration_id": made["integration_id"], "deliver_on": ["OPEN", "CLOSED"]},
    )
    assert SECRET not in json.dumps(made) + json.dumps(product.admin("integrations", tenant_id="tenant-a"))

    assert speak(product, token) == 202
    until_sync(lambda: slack.texts, what="the silence in Slack")
    assert speak(product, token) == 202
    until_sync(lambda: len(slack.texts) >= 2, what="the recovery in Slack")
    assert slack.texts[0].startswith(":rotating_light: MAJOR OPEN: pump-7 has been silent")
    assert slack.texts[0].endswith("(pump-7 at site-1) <!here>")
    assert slack.texts[1].startswith(":white_check_mark: MAJOR CLOSED")
    assert slack.paths == {f"/services/{SECRET}"}
    until_sync(lambda: statuses(product) >= {"DELIVERED"}, what="a recorded delivery")
    assert SECRET not in product.log()


def statuses(product: Product) -> set[str]:
    return {item["status"] for item in product.pages("deliveries", tenant_id="tenant-a")}
