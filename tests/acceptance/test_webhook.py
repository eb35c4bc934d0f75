"""A webhook in the running product: what arrives at its receiver, and what the receiver's answer does."""

from __future__ import annotations

import json
import re
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from support.tree import ROOT
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.product import Product

SECRET, OLD_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUJD" * 10


class Recorder:
    """Keeps every request, and answers as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.status = 204
        recorder = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                recorder.requests.append((dict(self.headers.items()), body))
                self.send_response(recorder.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    made = Recorder()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def falls_silent(product: Product, name: str) -> None:
    ((tenant, device, site, token),) = product.add_devices("tenant-a", 1, prefix=name)
    url = f"http://127.0.0.1:{product.http_port}/ingest/v1/tenant/{tenant}/device/{device}/telemetry"
    headers = {"X-Provision-Token": token, "Content-Type": "application/json"}
    body = json.dumps({"site_id": site, "metrics": {"v": 1}}).encode()
    with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=30) as answer:
        assert answer.status == 202


def told(product: Product, recorder: Recorder, name: str) -> tuple[dict[str, str], bytes]:
    """Let a device fall silent, and return the request about it."""
    falls_silent(product, name)

    def find() -> tuple[dict[str, str], bytes] | None:
        return next((each for each in recorder.requests if f"{name}-000000".encode() in each[1]), None)

    found: tuple[dict[str, str], bytes] = until_sync(find, what=f"the webhook about {name}")
    return found


def verifies(secret: str, request: tuple[dict[str, str], bytes]) -> bool:
    headers, body = request
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def test_a_customer_replaces_the_secret_step_by_step(product: Product, recorder: Recorder) -> None:
    """The page's steps, over the customer API of the running product."""
    page = (ROOT / "docs/how-to/webhook.md").read_text()
    config, _, begin, end = (
        json.loads(block) for block in re.findall(r"^ *```json\n(.*?)^ *```$", page, re.DOTALL | re.MULTILINE)
    )
    old, new = config["secret"], begin["config"]["secret"]
    product.admin("tenants", {"tenant_id": "tenant-a", "stale_after_s": 1})
    config["url"] = f"http://127.0.0.1:{recorder.server.server_port}/hook"
    made = product.admin("integrations", {"tenant_id": "tenant-a", "type": "webhook", "name": "x", "config": config})
    product.admin("integration-routes", {"tenant_id": "tenant-a", "integration_id": made["integration_id"]})
    minted = product.pulse("tokens", "add", "--tenant", "tenant-a", "--role", "customer_admin", "--name", "test")

    def patch(body: dict[str, Any]) -> str:
        url = f"http://127.0.0.1:{product.web_port}/customer/integrations/{made['integration_id']}"
        headers = {"Authorization": f"Bearer {minted.stdout.strip()}", "Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="PATCH")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    before = told(product, recorder, "before")
    answers = patch(begin)
    during = told(product, recorder, "during")
    answers += patch(end)
    after = told(product, recorder, "after")
    assert [verifies(old, each) for each in (before, during, after)] == [True, True, False]
    assert [verifies(new, each) for each in (before, during, after)] == [False, True, True]
    assert after[0]["Authorization"] == config["headers"]["Authorization"], "what was not mentioned stays"
    assert old not in answers + product.log()
    assert new not in answers + product.log()


def dead(product: Product) -> list[dict[str, Any]]:
    return list(product.pages("deliveries", status="DEAD"))


def test_headers_two_signatures_and_410(product: Product, recorder: Recorder) -> None:
    product.admin("tenants", {"tenant_id": "tenant-a", "stale_after_s": 1})
    config = {
        "url": f"http://127.0.0.1:{recorder.server.server_port}/hook",
        "secret": SECRET,
        "previous_secret": OLD_SECRET,
        "headers": {"Authorization": "Bearer t0k3n", "X-Team": "night"},
    }
    made = product.admin("integrations", {"tenant_id": "tenant-a", "type": "webhook", "name": "x", "config": config})
    product.admin("integration-routes", {"tenant_id": "tenant-a", "integration_id": made["integration_id"]})

    falls_silent(product, "first")
    until_sync(lambda: recorder.requests, what="the first webhook")
    headers, body = recorder.requests[0]
    assert (headers["Authorization"], headers["X-Team"]) == ("Bearer t0k3n", "night")
    assert len(headers["webhook-signature"].split()) == 2
    for secret in (SECRET, OLD_SECRET):
        assert Webhook(secret).verify(body, headers)["delivery_id"] == headers["webhook-id"]

    recorder.status = 410
    falls_silent(product, "second")
    until_sync(lambda: dead(product), what="the dead letter")
    (shown,) = product.pages("integrations")
    assert not shown["enabled"]
    assert shown["disabled_reason"].startswith("HTTP 410 from 127.0.0.1")
    arrived = len(recorder.requests)
    falls_silent(product, "third")
    until_sync(lambda: "third" in json.dumps(list(product.pages("alerts"))), what="the third alert")
    assert len(recorder.requests) == arrived, "nothing is sent to who said never again"
