"""The running product, driven by nothing but a client that is built from its own OpenAPI document at run time."""

from __future__ import annotations

import json
import urllib.request
from typing import TYPE_CHECKING, Any

import aiopenapi3
import httpx2
import pytest

from support.product import ADMIN_KEY, Product
from support.waiting import until_sync
from support.webhook_receiver import Receiver, receiving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SITE, DEVICE = "site-1", "pump:1"


class Client:
    """Every operation is a method of the same name. Each answer is parsed by the models made of the document."""

    def __init__(self, document: dict[str, Any], url: str, **credentials: str) -> None:
        self._api = aiopenapi3.OpenAPI(url, document, session_factory=httpx2.Client, use_operation_tags=False)
        self._api.authenticate(**credentials)

    def __call__(self, operation: str, body: Any = None, **parameters: Any) -> Any:
        return getattr(self._api._, operation)(data=body, parameters=parameters)

    def as_somebody(self, **credentials: str) -> None:
        self._api.authenticate(None)
        self._api.authenticate(**credentials)


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    running = Product(tmp_path / "product", more_plugins=["accounts"])
    with running.arranged() as connection:  # the development users are those of tenants that are there
        connection.execute("INSERT INTO tenants (tenant_id) VALUES ('tenant-a')")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def client(product: Product) -> Client:
    url = f"http://127.0.0.1:{product.web_port}/openapi.json"
    with urllib.request.urlopen(url, timeout=30) as answer:
        return Client(json.load(answer), url)


def login(client: Client, username: str) -> None:
    granted = client("post_auth_token", {"username": username, "password": "test123"})
    client.as_somebody(bearer=granted.access_token)


def refusal(client: Client, operation: str, body: Any = None, **parameters: Any) -> dict[str, Any]:
    """The problem details that an operation is answered with."""
    with pytest.raises(aiopenapi3.errors.HTTPClientError) as refused:
        client(operation, body, **parameters)
    problem: dict[str, Any] = json.loads(refused.value.data)
    assert refused.value.status_code == problem["status"]
    return problem


def provisioned(client: Client) -> str:
    """A device of tenant-a, registered and activated; its token."""
    client.as_somebody(adminKey=ADMIN_KEY)
    wanted = {"tenant_id": "tenant-a", "device_id": DEVICE, "site_id": SITE, "stale_after_s": 2}
    made = client("post_admin_devices", wanted)
    assert (made.status, made.activated, made.revoked_at) == ("UNKNOWN", False, None)
    code = client("post_admin_device_activate_code", tenant_id="tenant-a", device_id=DEVICE)
    granted = client("post_device_activate", {"code": code.code})
    assert granted.device_id == DEVICE
    return str(granted.token)


def says_something(client: Client, token: str) -> None:
    client.as_somebody(deviceToken=token)
    message = {"site_id": SITE, "metrics": {"celsius": 21.5, "open": True, "state": "ok"}, "seq": 1}
    answer = client("post_message", message, tenant_id="tenant-a", device_id=DEVICE, msg_type="telemetry")
    assert answer.status == "accepted"
    batch = {"messages": [{**message, "seq": 2, "provision_token": token, **named(DEVICE)}, {**message, **named("no")}]}
    batch["messages"][1]["provision_token"] = "of nobody"
    answer = client("post_batch", batch)
    assert [(each.status, each.reason) for each in answer.results] == [
        ("accepted", None),
        ("rejected", "UNAUTHORIZED"),
    ]


def named(device_id: str) -> dict[str, Any]:
    return {"tenant_id": "tenant-a", "device_id": device_id, "msg_type": "telemetry"}


def told_to(client: Client, receiver: Receiver) -> tuple[Any, Any]:
    """An integration that leads to the receiver, and a route for everything."""
    kinds = client("get_customer_channel_types").items
    assert [each.name for each in kinds] == ["webhook"]
    wanted = {"name": "on call", "config": {"url": receiver.url, "secret": SECRET}}
    integration = client("post_customer_integrations_of_type", wanted, type="webhook")
    assert integration.has_secrets
    assert SECRET not in integration.model_dump_json()
    tried = client("post_customer_integration_test", integration_id=integration.integration_id)
    assert (tried.status, tried.cause, len(tried.attempts)) == ("DELIVERED", "test", 1)
    route = client(
        "post_customer_integration_routes",
        {
            "integration_id": str(integration.integration_id),
            "severities": ["MAJOR", 5],
            "deliver_on": ["OPEN", "ACKNOWLEDGED"],
        },
    )
    assert route.severities == [4, 5]
    return integration, route


def test_a_customers_program(product: Product, client: Client) -> None:
    token = provisioned(client)
    login(client, "customer1")
    assert client("get_auth_status").role == "customer_admin"
    with receiving(SECRET) as receiver:
        integration, route = told_to(client, receiver)
        says_something(client, token)
        login(client, "customer1")
        device = client("get_customer_device", device_id=DEVICE)
        assert (device.tenant_id, device.status) == ("tenant-a", "ONLINE")
        assert device.model_dump(mode="json")["latest"]["celsius"]["value"] == 21.5
        readings = client("get_customer_device_telemetry", device_id=DEVICE, limit=1)
        assert (len(readings.items), bool(readings.next)) == (1, True)
        alert = until_sync(lambda: open_alert(client), what="an alert about a device that fell silent")
        assert (alert.alert_type, alert.severity, alert.severity_name) == ("NO_HEARTBEAT", 4, "MAJOR")
        acknowledged = client("post_customer_alert_acknowledge", {"note": "on it"}, alert_id=alert.alert_id)
        assert [each.event for each in acknowledged.changes] == ["OPEN", "ACKNOWLEDGED"]
        until_sync(lambda: delivered(client, alert.alert_id) == {"OPEN", "ACKNOWLEDGED"}, what="both deliveries")
    trace = client("get_customer_alert_trace", alert_id=alert.alert_id)
    assert [each.routes[0].matched for each in trace.changes] == [True, True]
    assert trace.changes[0].routes[0].deliveries[0].integration_name == "on call"
    changed_and_removed(client, integration, route)


def open_alert(client: Client) -> Any:
    return next(iter(client("get_customer_alerts", status="OPEN", device_id=DEVICE).items), None)


def delivered(client: Client, alert_id: Any) -> set[str]:
    found = client("get_customer_deliveries", alert_id=alert_id, status="DELIVERED").items
    return {str(each.event) for each in found}


def changed_and_removed(client: Client, integration: Any, route: Any) -> None:
    changed = client("patch_customer_integration", {"name": "elsewhere"}, integration_id=integration.integration_id)
    assert (changed.name, changed.has_secrets) == ("elsewhere", True)
    quiet = client("patch_customer_integration_route", {"enabled": False}, route_id=route.route_id)
    assert (quiet.enabled, quiet.severities) == (False, [4, 5])
    client("delete_customer_integration_route", route_id=route.route_id)
    client("delete_customer_integration", integration_id=integration.integration_id)
    assert client("get_customer_integrations").items == []
    assert refusal(client, "get_customer_integration_route", route_id=route.route_id)["status"] == 404


def test_an_operators_program(product: Product, client: Client) -> None:
    login(client, "admin1")
    made = client("post_operator_tenants", {"tenant_id": "acme", "name": "Acme"})
    assert (made.tenant_id, made.status) == ("acme", "ACTIVE")
    assert client("get_operator_tenant", tenant_id="acme").suspended_at is None
    assert client("get_operator_tenant_devices", tenant_id="acme").items == []
    assert client("post_operator_settings", {"RATE_LIMIT_BURST": 30}).RATE_LIMIT_BURST == 30
    lines = client("get_operator_audit_log", tenant_id="acme").items
    assert {"tenant.create", "operator.access"} <= {each.action for each in lines}
    assert {each.actor for each in lines} == {"user:admin1"}
    assert refusal(client, "post_operator_tenants", {"tenant_id": "acme"})["status"] == 409
    wrong = refusal(client, "post_operator_settings", {"RATE_LIMIT_BURST": 0})
    assert [each["field"] for each in wrong["errors"]] == ["RATE_LIMIT_BURST"]
