"""A tenant at work is suspended, resumed and removed over the operator API, while another goes on undisturbed."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from support import marks, mqtt311
from support.waiting import until_sync

if TYPE_CHECKING:
    from support.product import Device, Product

GOES = "goes-4c1d8e"
WITHIN_S = 5
"""The promise: so long after a tenant is suspended, nothing of it is let in any more."""


def call(product: Product, token: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{product.web_port}{path}",
        None if body is None else json.dumps(body).encode(),
        {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def minted(product: Product, *arguments: str) -> str:
    said = product.pulse("tokens", "add", "--name", "a test", *arguments)
    found = re.search(r"pulse_[\w-]{43}", said.stdout)
    assert found, said.stderr
    return found[0]


def ingest(product: Product, device: Device) -> int:
    tenant_id, device_id, site_id, token = device
    request = urllib.request.Request(
        f"http://127.0.0.1:{product.http_port}/ingest/v1/tenant/{tenant_id}/device/{device_id}/telemetry",
        json.dumps({"site_id": site_id, "metrics": {"t": 1}}).encode(),
        {"X-Provision-Token": token, "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


async def test_suspended_within_seconds_resumed_and_removed_for_good(product: Product) -> None:
    operator = minted(product, "--role", "operator_admin")
    devices = [product.add_devices(tenant, 1)[0] for tenant in (GOES, "stays")]
    goes, stays = devices
    path = f"/operator/tenants/{GOES}"
    customers = [minted(product, "--role", "customer_admin", "--tenant", device[0]) for device in devices]
    mqtt = f"mqtt://127.0.0.1:{product.mqtt_port}"
    until_sync(lambda: ingest(product, goes) == 202, what="the device to be known")
    async with (
        mqtt311.logged_in(mqtt, f"{GOES}/{goes[1]}", goes[3], "one") as live,
        mqtt311.logged_in(mqtt, f"stays/{stays[1]}", stays[3], "two") as other,
    ):
        assert call(product, operator, "PATCH", path, {"status": "SUSPENDED"})[0] == 200
        assert await live.closed(WITHIN_S) == b""
        other.write(mqtt311.PINGREQ)
        assert await other.read() == mqtt311.PINGRESP
    until_sync(lambda: ingest(product, goes) == 401, within_s=WITHIN_S, what="the door to close")
    assert [ingest(product, stays), *(call(product, each, "GET", "/customer/devices")[0] for each in customers)] == [
        202,
        401,
        200,
    ]

    assert call(product, operator, "PATCH", path, {"status": "ACTIVE"})[0] == 200
    until_sync(lambda: ingest(product, goes) == 202, within_s=WITHIN_S, what="the door to open again")
    assert call(product, customers[0], "GET", "/customer/devices")[0] == 200

    call(product, operator, "PATCH", path, {"status": "SUSPENDED"})
    gone = f"{path}?confirm={GOES}"
    assert call(product, operator, "DELETE", gone)[0] == 409, "what was sent before may still be on its way"
    until_sync(lambda: call(product, operator, "DELETE", gone)[0] == 200, within_s=20, every_s=1, what="the removal")
    with product.superuser() as judge:
        assert set(marks.found(judge, GOES)) == {"audit_log"}, "which keeps its lines"
        assert set(marks.found(judge, "stays")) >= {"devices", "telemetry", "api_tokens"}, "the control"
        assert (ingest(product, goes), ingest(product, stays)) == (401, 202)
        rows = judge.execute("SELECT tenant_id, count(*) FROM telemetry GROUP BY 1").fetchall()
    assert rows == [("stays", 2)]
    assert product.ledger()["balanced"]
