"""The pages of operators: who sees which, that every text on them stays text, and what each look leaves in the log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import asyncpg
import psycopg
import pytest
import pytest_asyncio

from pulse_core.principal import Role
from support import two_tenants
from support.admin import Admin, admin_api
from support.batches import judged
from support.browser_forms import EVIL, Page
from support.browsing import Browser, at_browser
from support.guards import admin_api_over
from support.rights import OURS, THEIRS
from support.two_tenants import an_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

PATHS = [
    "/operator/dashboard",
    "/operator/devices",
    f"/operator/tenants/{OURS}/devices",
    f"/operator/tenants/{OURS}/devices/d",
    "/operator/alerts",
    "/operator/deliveries",
    "/operator/integrations",
    "/operator/ledger",
]
ADMINS = [
    "/operator/tenants",
    f"/operator/tenants/{OURS}",
    "/operator/tenants/~new",
    f"/operator/tenants/{OURS}/edit",
    f"/operator/tenants/{OURS}/suspend",
    f"/operator/tenants/{OURS}/remove",
]
FOR_PEOPLE_ALONE = ADMINS[2:]
WITHOUT = {"/operator/ledger", "/operator/tenants/~new", f"/operator/tenants/{OURS}/edit"}
"""Nobody's text stands on them, but in boxes."""
LIES = (
    "UPDATE tenants SET name = %(evil)s::text",
    "UPDATE devices SET name = %(evil)s::text, labels = jsonb_build_object('n', %(evil)s::text)",
    "UPDATE alerts SET summary = %(evil)s::text, details = jsonb_build_object(%(evil)s::text, %(evil)s::text)",
    "UPDATE integrations SET name = %(evil)s::text, config = jsonb_build_object('url', %(evil)s::text)",
    "UPDATE breakers SET last_error = %(evil)s::text",
    "UPDATE deliveries SET last_error = %(evil)s::text",
    "UPDATE delivery_attempts SET detail = %(evil)s::text, address = %(evil)s::text",
    "UPDATE telemetry SET metrics = jsonb_build_object(%(evil)s::text, %(evil)s::text)",
)


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    two_tenants.fill(database)
    async with admin_api(database, tmp_path) as found:
        yield found


@pytest.fixture
async def browser(admin: Admin, database: Database) -> Browser:
    return await at_browser(admin, database, Role.OPERATOR_ADMIN)


@pytest.mark.parametrize("role", [Role.OPERATOR, Role.OPERATOR_ADMIN])
async def test_operators_see_them_and_each_look_is_written_down(admin: Admin, database: Database, role: Role) -> None:
    browser = await at_browser(admin, database, role)
    assert (await browser.go("/")).to == "/operator/dashboard"
    for path in PATHS + (ADMINS if role is Role.OPERATOR_ADMIN else []):
        with database.superuser() as hand:
            hand.execute("TRUNCATE audit_log")
        shown = await browser.go(path)
        assert (shown.status, shown.headers["Content-Type"]) == (200, "text/html; charset=utf-8"), path
        assert path in FOR_PEOPLE_ALONE or "Accept" in shown.headers["Vary"], path
        page = Page(shown.text)
        current = [each["href"] for tag, each in page.elements if tag == "a" and each.get("aria-current") == "page"]
        assert len(current) == 1, path
        assert all("src" in each for tag, each in page.elements if tag == "script")
        assert not [each for _, each in page.elements if "style" in each or any(name.startswith("on") for name in each)]
        assert [tag for tag, _ in page.elements].count("h1") == 1, path
        noted = judged(database, "SELECT resource, actor FROM audit_log WHERE action = 'operator.access'")
        assert noted == [(f"GET {path}", f"user:{role}")]


async def test_an_operator_finds_no_link_that_would_be_refused(admin: Admin, database: Database) -> None:
    browser = await at_browser(admin, database, Role.OPERATOR)
    followed = set()
    for path in PATHS:
        elements = Page((await browser.go(path)).text).elements
        assert {each["action"] for tag, each in elements if tag == "form" and each.get("method") == "post"} == {
            "/logout"
        }
        followed |= {str(each["href"]) for tag, each in elements if tag == "a" and "href" in each}
    for link in sorted(each for each in followed if each.startswith("/operator/")):
        assert (await browser.go(link)).status == 200, link


async def test_what_is_for_operator_admins_is_not_for_operators(admin: Admin, database: Database) -> None:
    browser = await at_browser(admin, database, Role.OPERATOR)
    for path in ADMINS:
        assert (await browser.go(path)).status == 403, path


@pytest.mark.parametrize("role", [Role.CUSTOMER_VIEWER, Role.CUSTOMER_ADMIN])
async def test_customers_belong_elsewhere(admin: Admin, database: Database, role: Role) -> None:
    browser = await at_browser(admin, database, role)
    for path in PATHS + ADMINS:
        shown = await browser.go(path)
        assert (shown.status, "<h1>Forbidden</h1>" in shown.text) == (403, True), path
        assert THEIRS not in shown.text


async def test_every_text_stays_text(browser: Browser, database: Database) -> None:
    for what in LIES:
        with database.superuser() as hand:
            hand.execute(what, {"evil": EVIL})
    for path in PATHS + ADMINS:
        shown = await browser.go(path)
        page = Page(shown.text)
        assert not [each for tag, each in page.elements if tag == "img" and each.get("src") == "x"], path
        assert all("src" in each for tag, each in page.elements if tag == "script"), path
        assert "49" not in "".join(page.texts).split(), path
        if path not in WITHOUT:
            assert EVIL in "".join(page.texts), path


async def test_lists_are_narrowed_to_a_tenant_in_the_address(browser: Browser) -> None:
    for path in ("devices", "alerts", "deliveries", "integrations"):
        both, one = (
            (await browser.go(f"/operator/{path}")).text,
            await browser.go(f"/operator/{path}?tenant_id={OURS}&sort="),
        )
        assert f"/operator/tenants/{THEIRS}" in both, path
        assert (one.status, f"/operator/tenants/{THEIRS}" in one.text) == (200, False), path
        assert f'name="tenant_id" value="{OURS}"' in one.text
        nothing = (await browser.go(f"/operator/{path}?tenant_id=nobody")).text
        assert "is like that" in nothing
        wrong = await browser.go(f"/operator/{path}?tenant_id=%3Cscript%3E")
        assert (wrong.status, "<script>" in wrong.text) == (422, False)


async def test_a_device_of_another_tenant_has_the_same_id(browser: Browser, database: Database) -> None:
    judged(database, "UPDATE devices SET name = 'theirs' WHERE tenant_id = %s RETURNING true", THEIRS)
    assert "<h1>d <" in (await browser.go(f"/operator/tenants/{OURS}/devices/d")).text
    assert "<h1>theirs <" in (await browser.go(f"/operator/tenants/{THEIRS}/devices/d")).text
    assert (await browser.go("/operator/tenants/nobody/devices/d")).status == 404
    assert (await browser.go("/operator/tenants/nobody/devices")).status == 404


async def test_a_masked_secret_stays_masked(browser: Browser, database: Database) -> None:
    secret = '{"url": "https://x.example/", "secret": "********"}'
    judged(
        database,
        "UPDATE integrations SET config = %s::jsonb, secrets = 'sealed' WHERE integration_id = %s RETURNING true",
        secret,
        an_id(OURS),
    )
    shown = (await browser.go("/operator/integrations")).text
    assert "https://x.example/" in shown
    assert "sealed" not in shown


async def test_the_dashboard_leads_to_what_is_wrong(browser: Browser, database: Database) -> None:
    judged(database, "UPDATE alerts SET severity = 5 WHERE tenant_id = %s RETURNING true", THEIRS)
    judged(database, "UPDATE deliveries SET status = 'DEAD' RETURNING true")
    shown = (await browser.go("/operator/dashboard?limit=1")).text
    assert f'href="/operator/tenants/{THEIRS}"' in shown, "the worst one"
    assert f'href="/operator/tenants/{OURS}"' not in shown
    links = [str(each["href"]) for tag, each in Page(shown).elements if tag == "a"]
    for path in (
        f"/operator/alerts?severity=CRITICAL&tenant_id={THEIRS}",
        f"/operator/deliveries?status=DEAD&tenant_id={THEIRS}",
        f"/operator/tenants/{THEIRS}/devices?status=ONLINE",
    ):
        assert path in links, links
        found = (await browser.go(path)).text
        assert "is like that" not in found, path
    (onward,) = [each["href"] for tag, each in Page(shown).elements if each.get("rel") == "next"]
    assert f'href="/operator/tenants/{OURS}"' in (await browser.go(str(onward))).text
    assert (await browser.go("/operator/dashboard?cursor=wrong")).status == 422


async def test_what_everybody_looks_at_is_counted_once(browser: Browser, database: Database) -> None:
    first = (await browser.go("/operator/dashboard", Accept="application/json")).json()
    judged(database, "INSERT INTO tenants (tenant_id) VALUES ('late') RETURNING true")
    assert (await browser.go("/operator/dashboard", Accept="application/json")).json() == first


class Counting(asyncpg.Connection):
    """A connection that counts what it is asked."""

    asked: ClassVar[int] = 0

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        type(self).asked += 1
        return await super().fetch(query, *args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        type(self).asked += 1
        return await super().fetchrow(query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        type(self).asked += 1
        return await super().fetchval(query, *args, **options)


async def test_no_page_asks_more_of_a_hundred_tenants(database: Database, tmp_path: Path) -> None:
    two_tenants.fill(database)

    async def look() -> dict[str, int]:
        found = {}
        async with admin_api_over(Counting, database, tmp_path) as admin:
            operator = await admin.operator(Role.OPERATOR_ADMIN)
            for path in [*PATHS[:-1], *ADMINS[:2]]:  # the ledger asks for examples of what differs
                Counting.asked = 0
                response = await operator.client.get(path, headers={**operator.headers, "Accept": "text/html"})
                assert response.status_code == 200, path
                found[path] = Counting.asked
        return found

    of_two = await look()
    with psycopg.connect(database.url, autocommit=True, cursor_factory=psycopg.ClientCursor) as hand:
        two_tenants.fill_by(hand, [f"tenant-{number:02}" for number in range(100)])
    assert await look() == of_two
