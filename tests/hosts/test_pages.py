"""The pages of customers: who sees which, that every text on them stays text, and that programs get what they did."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pulse_core.principal import Role
from pulse_server.web.entrance import csrf
from support import two_tenants
from support.admin import Admin, admin_api
from support.batches import judged
from support.browser_forms import EVIL, Page
from support.browsing import Browser, at_browser
from support.people import person
from support.rights import OURS, THEIRS
from support.two_tenants import an_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

PATHS = [
    "/customer/dashboard",
    "/customer/devices",
    "/customer/devices/d",
    "/customer/devices/d/connections",
    "/customer/devices/d/events",
    "/customer/metrics",
    "/customer/devices/d/commands",
    "/customer/alerts",
    f"/customer/alerts/{an_id(OURS)}",
    "/customer/integrations",
    f"/customer/integrations/{an_id(OURS)}",
    f"/customer/alerts/{an_id(OURS)}/trace",
    "/customer/integration-routes",
    f"/customer/integration-routes/{an_id(OURS)}",
    "/customer/deliveries",
    f"/customer/deliveries/{an_id(OURS)}",
    "/customer/telemetry/exports",
    f"/customer/deliveries/{an_id(OURS)}/batch",
    "/customer/settings",
]
WORDLESS = {"/customer/dashboard", f"/customer/deliveries/{an_id(OURS)}/batch", "/customer/settings"}
"""On these stands no text that somebody wrote."""
EVENTS = """
    INSERT INTO device_connections (tenant_id, connection_id, device_id, source, protocol, client_id, detail, event,
        connected_at, disconnected_at)
    SELECT tenant_id, gen_random_uuid(), device_id, %(evil)s::text, %(evil)s::text, client_id, detail,
        unnest(ARRAY['REFUSED', 'WILL']), now(), now()
    FROM device_connections
"""
FORMS = [
    "/customer/devices/new",
    "/customer/devices/d/edit",
    "/customer/devices/d/commands/new",
    "/customer/metrics/d/edit",
    "/customer/metrics/d/delete",
    "/customer/devices/d/activate-code",
    "/customer/devices/d/rotate-token",
    "/customer/devices/d/revoke",
    "/customer/integrations/webhook/new",
    f"/customer/integrations/{an_id(OURS)}/edit",
    f"/customer/integrations/{an_id(OURS)}/delete",
    "/customer/telemetry/exports/new",
    "/customer/telemetry/exports/new?device=d",
    "/customer/integration-routes/new",
    f"/customer/integration-routes/{an_id(OURS)}/edit",
    f"/customer/integration-routes/{an_id(OURS)}/delete",
]


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    two_tenants.fill(database)
    async with admin_api(database, tmp_path) as found:
        yield found


@pytest.fixture
async def browser(admin: Admin, database: Database) -> Browser:
    return await at_browser(admin, database, Role.CUSTOMER_ADMIN)


@pytest.mark.parametrize("role", [Role.CUSTOMER_VIEWER, Role.CUSTOMER_ADMIN])
async def test_whoever_belongs_to_the_tenant_sees_its_pages(admin: Admin, database: Database, role: Role) -> None:
    browser = await at_browser(admin, database, role)
    assert (await browser.go("/")).to == "/customer/dashboard"
    for path in PATHS:
        shown = await browser.go(path)
        assert (shown.status, shown.headers["Content-Type"]) == (200, "text/html; charset=utf-8"), path
        assert "Accept" in shown.headers["Vary"]
        assert "script-src 'self';" in shown.headers["Content-Security-Policy"]
        assert THEIRS not in shown.text
        page = Page(shown.text)
        current = [each["href"] for tag, each in page.elements if tag == "a" and each.get("aria-current") == "page"]
        assert current == [path if path.endswith("/exports") else "/".join(path.split("/")[:3])]
        assert all("src" in each for tag, each in page.elements if tag == "script")
        assert not [each for _, each in page.elements if "style" in each or any(name.startswith("on") for name in each)]


async def test_a_viewer_sees_nothing_to_press_that_would_be_refused(admin: Admin, database: Database) -> None:
    browser = await at_browser(admin, database, Role.CUSTOMER_VIEWER)
    for path in PATHS:
        elements = Page((await browser.go(path)).text).elements
        targets = {each["action"] for tag, each in elements if tag == "form" and each.get("method") == "post"}
        assert targets == {"/logout"}, path
        for link in {each["href"] for tag, each in elements if tag == "a" and "href" in each}:
            assert link is not None
            if link.startswith("/customer/"):
                assert (await browser.go(link)).status == 200, link
    for path in FORMS:
        shown = await browser.go(path)
        assert (shown.status, "<h1>Forbidden</h1>" in shown.text) == (403, True)


async def test_operators_belong_elsewhere(admin: Admin, database: Database) -> None:
    browser = await at_browser(admin, database, Role.OPERATOR_ADMIN)
    assert (await browser.go("/")).to == "/operator/dashboard"
    for path in PATHS + FORMS:
        shown = await browser.go(path)
        assert (shown.status, "<h1>Forbidden</h1>" in shown.text) == (403, True), path


async def test_another_tenants_page_is_not_there(browser: Browser) -> None:
    for kind in ("alerts", "integrations", "integration-routes", "deliveries"):
        pages = [await browser.go(f"/customer/{kind}/{each}") for each in (an_id(THEIRS), uuid.uuid4())]
        assert [page.status for page in pages] == [404, 404]
        theirs, nobodys = (page.text.partition('<p class="small">')[0] for page in pages)
        assert theirs == nobodys
    for end in ("edit", "commands/new", "activate-code", "rotate-token", "revoke", "connections", "commands"):
        assert (await browser.go(f"/customer/devices/theirs/{end}")).status == 404
    for end in ("edit", "delete"):
        for kind in ("integrations", "integration-routes"):
            assert (await browser.go(f"/customer/{kind}/{an_id(THEIRS)}/{end}")).status == 404
    for bad in ("/customer/devices/x", "/customer/devices/%3Cscript%3E", "/customer/integrations/nothing/new"):
        shown = await browser.go(bad)
        assert shown.status == 404
        assert "<h1>Not Found</h1>" in shown.text
        assert "<script>" not in shown.text


async def test_every_text_stays_text(browser: Browser, database: Database) -> None:
    for what in (
        "UPDATE devices SET name = %(evil)s::text, labels = jsonb_build_object('n', %(evil)s::text)",
        "UPDATE alerts SET summary = %(evil)s::text, details = jsonb_build_object(%(evil)s::text, %(evil)s::text)",
        "UPDATE alert_changes SET note = %(evil)s::text, actor = %(evil)s::text",
        "UPDATE integrations SET name = %(evil)s::text, config = jsonb_build_object('url', %(evil)s::text)",
        "UPDATE device_connections SET client_id = %(evil)s::text, address = %(evil)s::text, detail = %(evil)s::text",
        EVENTS,
        "UPDATE device_commands SET payload = to_json(%(evil)s::text)",
        "UPDATE metric_catalogue SET unit = %(evil)s::text, description = %(evil)s::text, updated_by = %(evil)s::text",
        "UPDATE telemetry SET msg_type = 'event', metrics = jsonb_build_object(%(evil)s::text, %(evil)s::text)",
        "UPDATE breakers SET last_error = %(evil)s::text",
        "UPDATE integration_routes SET name = %(evil)s::text, alert_types = ARRAY[%(evil)s::text]",
        "UPDATE telemetry_exports SET devices = ARRAY[%(evil)s::text], metrics = ARRAY[%(evil)s::text]",
        "UPDATE telemetry_exports SET sites = devices, created_by = %(evil)s::text",
        "UPDATE telemetry_exports SET error = %(evil)s::text, status = 'FAILED', place = to_jsonb(%(evil)s::text)",
        "UPDATE deliveries SET last_error = %(evil)s::text, route_id = delivery_id, status = 'DEAD'",
        "UPDATE deliveries SET notification = jsonb_build_object('device_id', %(evil)s::text)",
        "UPDATE delivery_attempts SET detail = %(evil)s::text, receipt = %(evil)s::text, address = %(evil)s::text",
    ):
        with database.superuser() as hand:
            hand.execute(what, {"evil": EVIL})
    for path in PATHS + FORMS:
        page = Page((await browser.go(path)).text)
        assert not [each for tag, each in page.elements if tag == "img" and each.get("src") == "x"], path
        assert all("src" in each for tag, each in page.elements if tag == "script"), path
        assert "49" not in "".join(page.texts).split()
    for path in set(PATHS) - WORDLESS:
        assert EVIL in "".join(Page((await browser.go(path)).text).texts), path


async def test_what_is_asked_for_stands_in_the_address(browser: Browser, database: Database) -> None:
    with database.superuser() as hand:
        for number in range(3):
            hand.execute(
                "INSERT INTO devices (tenant_id, device_id, site_id) VALUES (%s, %s, 's')", (OURS, f"many-{number}")
            )
    assert (await browser.go("/customer/devices?search=&status=&label=")).status == 200, "as a browser sends a form"
    found = (await browser.go("/customer/devices?search=MANY&status=&sort=-device_id&limit=2")).text
    assert [each for each in ("many-0", "many-1", "many-2") if f"/devices/{each}" in found] == ["many-1", "many-2"]
    (onward,) = [each["href"] for tag, each in Page(found).elements if each.get("rel") == "next"]
    assert onward is not None
    assert "search=MANY&sort=-device_id&limit=2&cursor=" in onward
    assert "/devices/many-0" in (await browser.go(onward)).text
    assert "/devices/d&#34;" not in (await browser.go("/customer/devices?label=label:value")).text
    assert "No device is like that" in (await browser.go("/customer/devices?search=nothing")).text
    assert (await browser.go("/customer/devices?status=wrong")).status == 422
    blank = await browser.go("/customer/devices?status=", Accept="application/json")
    assert blank.status == 422, "for programs an empty status is none"
    assert "No alert is like that" in (await browser.go("/customer/alerts?status=CLOSED")).text


async def test_an_alert_is_acknowledged_and_closed_by_forms(browser: Browser, database: Database) -> None:
    path = f"/customer/alerts/{an_id(OURS)}"
    for deed, status in (("acknowledge", "ACKNOWLEDGED"), ("close", "CLOSED")):
        shown = await browser.go(path)
        assert f'action="{path}/{deed}"' in shown.text
        assert (await browser.post(f"{path}/{deed}")).status == 403, "without the token"
        assert (await browser.post(f"{path}/{deed}", {csrf.FIELD: shown.token, "note": "ours"})).to == path
        look = "SELECT status FROM alerts WHERE tenant_id = %s"
        assert judged(database, look, OURS) == [(status,)]
    assert 'class="note">ours<' in (await browser.go(path)).text
    assert (await browser.post(f"{path}/acknowledge", {csrf.FIELD: shown.token})).status == 409
    long = {csrf.FIELD: shown.token, "note": "x" * 1001}
    assert (await browser.post(f"{path}/close", long)).status == 422
    assert (await browser.post(f"{path}/close", {**long, "note": "\0"})).status == 422


async def test_programs_get_what_they_did(admin: Admin, browser: Browser) -> None:
    program = await admin.customer(OURS)
    for path in PATHS:
        for accept in ("*/*", "application/json", "application/json, text/html;q=0.5"):
            status, body, headers = await program.get(path.removeprefix("/customer"), headers={"Accept": accept})
            assert (status, headers["Content-Type"], "Accept" in headers["Vary"]) == (200, "application/json", True)
            assert isinstance(body, dict)
    tag: Any = (await browser.go(PATHS[2], Accept="application/json")).headers["ETag"]
    assert (await browser.go(PATHS[2], Accept="application/json", If_None_Match=tag)).status == 304
    assert (await browser.go(PATHS[2], If_None_Match=tag)).status == 200, "a page is no JSON"


async def test_a_new_tenant_is_told_where_to_begin(admin: Admin, database: Database) -> None:
    await admin.tenant("tenant-new")
    person(database, "new", Role.CUSTOMER_ADMIN, "tenant-new")
    browser = Browser(admin.client.app)
    await browser.log_in("new")
    for path, said in {
        "dashboard": "Begin here",
        "devices": "no device yet",
        "alerts": "no alert yet",
        "integrations": "Nobody is told",
    }.items():
        assert said in (await browser.go(f"/customer/{path}")).text
