"""The OpenAPI document: valid, whole, telling the rights that guards demand, and true of what stands beside Quart."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jsonschema_rs
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from quart import Response

from pulse_core.api import Channel, IntegrationConfig
from pulse_server.activation import PATH, ActivationApp
from pulse_server.health import Health
from pulse_server.web import Front
from pulse_server.web.described import description_of
from pulse_server.web.openapi import channels
from pulse_server.web.openapi.document import document_of
from pulse_server.web.openapi.names import operation_id
from pulse_server.web.openapi.provider import Undescribed
from support import asgi
from support.openapi import an_app, contract
from support.rights import ASKING, EVERYBODY, KEY_HOLDERS, RIGHTS, Always, Route, routes

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY_CHANNEL = ("email", "mqtt_channel", "snmp")
PAGES = {
    "/", "/live", "/live/data.json", "/docs", "/docs/assets/<name>", "/static/<path:filename>",
    "/assets/<version>/<name>",
    "/login", "/login/<provider>", "/callback",
    "/customer/integration-routes/new", "/customer/integration-routes/<uuid:route_id>/edit",
    "/customer/integration-routes/<uuid:route_id>/delete",
    "/customer/devices/new", "/customer/devices/<device_id>/edit", "/customer/devices/<device_id>/commands/new",
    "/customer/metrics/<metric>/edit", "/customer/metrics/<metric>/delete",
    "/customer/integrations/<channel:type_>/new", "/customer/integrations/<uuid:integration_id>/edit",
    "/customer/integrations/<uuid:integration_id>/delete",
    "/customer/telemetry/exports/new", "/customer/telemetry/exports/<uuid:export_id>/end",
    "/profile", "/profile/password", "/profile/theme",
    *(f"/{side}/{path}" for side in ("customer", "operator") for path in (
        "api-tokens/new", "api-tokens/<uuid:token_id>/revoke", "users/new", "users/<uuid:user_id>/edit",
        "users/<uuid:user_id>/password", "users/<uuid:user_id>/disable", "users/<uuid:user_id>/enable",
        "users/<uuid:user_id>/remove",
    )),
    "/operator/tenants/~new", "/operator/tenants/<tenant_id>/edit", "/operator/tenants/<tenant_id>/suspend",
    "/operator/tenants/<tenant_id>/resume", "/operator/tenants/<tenant_id>/remove",
}  # fmt: skip
BESIDE = {"/healthz", "/readyz", "/metrics", PATH}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return document_of(an_app(*EVERY_CHANNEL))


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method != "servers":
                yield method.upper(), path, operation


def of_pages(route: Route) -> bool:
    return route.rule in PAGES or str(route) in ASKING


def templated(rule: str) -> str:
    return re.sub(r"<(?:\w+:)?(\w+?)_?>", r"{\1}", rule)


def test_it_is_valid(document: dict[str, Any]) -> None:
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []
    assert document["openapi"].startswith("3.1.")


def test_every_schema_is_one(document: dict[str, Any]) -> None:
    for name in document["components"]["schemas"]:
        whole = {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
        jsonschema_rs.Draft202012Validator(whole)


def test_its_names_are_fit_for_classes_and_methods(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names))
    assert [name for name in names if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)] == []
    schemas = [name for name in document["components"]["schemas"] if not name.partition("_config")[1]]
    assert [name for name in schemas if not re.fullmatch(r"[A-Z][A-Za-z0-9]+", name)] == []


def test_it_tells_of_every_route_and_of_nothing_else(document: dict[str, Any]) -> None:
    told = {f"{method} {path}" for method, path, _ in operations(document) if path not in BESIDE}
    there = {f"{route.method} {templated(route.rule)}" for route in routes(an_app()) if not of_pages(route)}
    assert {each for each in told if "/ingest/" not in each} == there
    assert {path for _, path, _ in operations(document)} >= BESIDE


def test_pages_alone_are_left_out() -> None:
    app = an_app()
    silent = {
        rule.rule for rule in app.url_map.iter_rules() if description_of(app.view_functions[rule.endpoint]) is None
    }
    assert silent - {each.partition(" ")[2] for each in ASKING} <= PAGES


def test_a_route_that_says_nothing_of_itself_is_found() -> None:
    app = an_app()
    app.add_url_rule("/customer/secret-handshake", "handshake", Response)
    with pytest.raises(Undescribed, match="secret-handshake"):
        document_of(app)


def test_it_tells_the_rights_that_the_guards_demand(document: dict[str, Any]) -> None:
    told = {f"{method} {path}": operation for method, path, operation in operations(document)}
    for route in routes(an_app()):
        if of_pages(route):
            continue
        operation, rights = told[f"{route.method} {templated(route.rule)}"], RIGHTS[str(route)]
        if rights is EVERYBODY or isinstance(rights, Always):
            expected: Any = ([], None)
        elif rights is KEY_HOLDERS:
            expected = ([{"adminKey": []}], None)
        else:
            session = ["session"] if route.method == "GET" else ["session", "sessionToken"]
            expected = ([{"bearer": []}, {name: [] for name in session}], sorted(rights))
        roles = operation.get("x-roles")
        assert (operation["security"], roles and sorted(roles)) == expected, str(route)


def test_every_operation_can_be_read(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        where = f"{method} {path}"
        assert len(operation["summary"]) >= 8, where
        assert operation["tags"], where
        assert any(status.startswith("2") for status in operation["responses"]), where
        assert set(re.findall(r"{(\w+)}", path)) == {
            each["name"] for each in operation["parameters"] if each["in"] == "path"
        }, where
        for status, answer in operation["responses"].items():
            assert (status >= "400") == ("$ref" in answer) or path in BESIDE or "/ingest/" in path, (where, status)
    text = json.dumps(document)
    assert ":class:" not in text
    assert "``" not in text


def test_links_lead_from_what_is_made_to_what_can_be_done_with_it(document: dict[str, Any]) -> None:
    made = document["paths"]["/customer/integrations"]["post"]["responses"]["201"]["links"]
    assert made["patch_customer_integration"]["parameters"] == {"integration_id": "$response.body#/integration_id"}
    assert {"get_customer_integration", "delete_customer_integration", "post_customer_integration_test"} <= made.keys()
    assert made["post_customer_integration_routes"]["requestBody"] == {
        "integration_id": "$response.body#/integration_id"
    }
    listed = document["paths"]["/customer/alerts"]["get"]["responses"]["200"]["links"]
    assert listed["get_customer_alert"]["parameters"] == {"alert_id": "$response.body#/items/0/alert_id"}
    tenant = document["paths"]["/operator/tenants"]["post"]["responses"]["201"]["links"]["delete_operator_tenant"]
    assert tenant["parameters"] == {"tenant_id": "$response.body#/tenant_id", "confirm": "$response.body#/tenant_id"}


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("GET", "/customer/deliveries", "get_customer_deliveries"),
        ("GET", "/customer/deliveries/{delivery_id}", "get_customer_delivery"),
        ("POST", "/customer/integrations/{type}", "post_customer_integrations_of_type"),
        ("PATCH", "/customer/integrations/{type}/{integration_id}", "patch_customer_integration_of_type"),
        ("GET", "/api/admin/devices/{tenant_id}/{device_id}", "get_admin_device"),
        ("GET", "/operator/tenants/{tenant_id}/devices", "get_operator_tenant_devices"),
    ],
)
def test_an_operation_is_called_after_its_path(method: str, path: str, name: str) -> None:
    assert operation_id(method, path) == name


class Hours(IntegrationConfig):
    """When."""

    begin: int = 8


class OddConfig(IntegrationConfig):
    """A stranger's."""

    by_day: dict[str, Hours]
    ref: str = "#/$defs/Hours"


class Odd(Channel[OddConfig]):
    name = "odd"
    integration_type = OddConfig

    async def send(self, notification: Any) -> None: ...


def test_a_strangers_channel_keeps_it_valid(document: dict[str, Any]) -> None:
    whole = json.loads(json.dumps(document))
    channels.add(whole, SimpleNamespace(channels={"odd": Odd}))  # type: ignore[arg-type]
    assert [error.message for error in OpenAPIV31SpecValidator(whole).iter_errors()] == []
    body = {"$ref": "#/components/schemas/IntegrationFields", "components": whole["components"]}
    fits = jsonschema_rs.Draft202012Validator(body).is_valid
    assert fits({"name": "n", "config": {"by_day": {"mon": {"begin": 9}}}})
    assert not fits({"name": "n", "config": {"by_day": {"mon": {"begin": "nine"}}}})
    assert not fits({"name": "n", "config": {"url": "https://example.com"}})
    assert whole["components"]["schemas"]["odd_config"]["properties"]["ref"]["default"] == "#/$defs/Hours"


async def test_what_is_answered_before_quart_is_as_it_says() -> None:
    health = Health("web")
    front = Front(an_app(), health, ActivationApp())
    before = contract().checked
    for path in ("/healthz", "/readyz", "/metrics"):
        assert await asgi.call(front, path, method="GET") is not None
    health.release("start")
    ready = await asgi.call(front, "/readyz", method="GET")
    assert ready is not None
    assert ready.status == 200
    for body in (b"{", b"{}", b'{"code": "x"}'):
        await asgi.post(front, PATH, body)
    await asgi.post(front, PATH, b"", {})
    assert contract().checked == before + 7


def test_an_answer_that_it_does_not_allow_is_seen() -> None:
    allowed = json.dumps({"status": "ok", "role": "web"}).encode()
    contract().check("GET", "/healthz", 200, "application/json", allowed)
    for status, kind, body in (
        (202, "application/json", allowed),
        (200, "text/html", allowed),
        (200, "application/json", b'{"status": "ok"}'),
        (200, "application/json", b'{"status": "ok", "role": "web", "password": "x"}'),
        (200, "application/json", b'{"status": "fine", "role": "web"}'),
    ):
        with pytest.raises(AssertionError):
            contract().check("GET", "/healthz", status, kind, body)
