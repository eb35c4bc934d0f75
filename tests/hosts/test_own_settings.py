"""When a tenant's devices are STALE, as its own admins choose it: over the API, by page, and known to the pipeline."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

import asyncpg
import pytest

from pulse_core.device_connections import STALE_ON
from pulse_core.principal import Role
from pulse_core.records import DeviceKey
from pulse_postgres.connections import TenantPool
from pulse_postgres.pool import open_pool
from pulse_postgres.registry import PostgresRegistry
from pulse_server.web.entrance import csrf
from support.batches import judged
from support.browser_forms import Page
from support.browsing import Browser, at_browser

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from support.admin import Admin, Caller
    from support.database import Database

PATH = "/customer/settings"
UNCHOSEN = {"stale_after_s": None, "stale_on_disconnect": "never", "revision": 1}
WRONG: list[Any] = [
    {"stale_after_s": 0}, {"stale_after_s": -1}, {"stale_after_s": "60"}, {"stale_after_s": 31 * 86400 + 1},
    {"stale_on_disconnect": "sometimes"}, {"stale_on_disconnect": None}, {"stale_on_disconnect": ["lost"]},
    {"name": "Ours"}, {"status": "SUSPENDED"}, {"tenant_id": "tenant-b", "stale_after_s": 5},
]  # fmt: skip
IN_WORDS = [
    (None, "never", "as long without a message as the platform says", "Only silence counts"),
    (0.5, "lost", "after 0.5 s without a message", "as soon as its last connection is lost"),
    (3600, "always", "after 3600 s without a message", "also when it said good-bye"),
]


def tenants(database: Database) -> list[Any]:
    return judged(database, "SELECT tenant_id, stale_after_s, stale_on_disconnect, revision FROM tenants ORDER BY 1")


def audited(database: Database) -> list[Any]:
    look = "SELECT actor, tenant_id, resource, details FROM audit_log WHERE action = 'tenant.change' ORDER BY at"
    return judged(database, look)


async def test_an_admin_chooses_and_a_viewer_reads(admin: Admin, customer: Caller, database: Database) -> None:
    await admin.tenant("tenant-b")
    assert (await customer.get("/settings"))[:2] == (200, UNCHOSEN)
    status, chosen, headers = await customer.patch("/settings", {"stale_after_s": 0.7, "stale_on_disconnect": "lost"})
    assert (status, headers["ETag"]) == (200, '"2"')
    assert chosen == {"stale_after_s": 0.7, "stale_on_disconnect": "lost", "revision": 2}
    viewer = await admin.customer("tenant-a", Role.CUSTOMER_VIEWER)
    assert (await viewer.get("/settings"))[1] == chosen
    assert (await viewer.patch("/settings", {"stale_after_s": 9}))[0] == 403
    assert (await customer.patch("/settings", {"stale_after_s": 0.7}))[1] == chosen, "nothing is changed by that"
    assert (await customer.patch("/settings", {"stale_after_s": None}))[1] == {
        **chosen,
        "stale_after_s": None,
        "revision": 3,
    }
    assert tenants(database) == [("tenant-a", None, "lost", 3), ("tenant-b", None, "never", 1)]
    lines = audited(database)
    assert {line[1:3] for line in lines} == {("tenant-a", "tenant-a")}
    assert [line[3] for line in lines] == [
        {"stale_after_s": {"old": None, "new": 0.7}, "stale_on_disconnect": {"old": "never", "new": "lost"}},
        {},
        {"stale_after_s": {"old": 0.7, "new": None}},
    ]


async def test_whoever_chose_meanwhile_is_not_overruled(customer: Caller) -> None:
    """Also where only what a disconnect does was chosen."""
    seen = (await customer.get("/settings"))[2]["ETag"]
    assert (await customer.patch("/settings", {"stale_on_disconnect": "lost"}, headers={"If-Match": seen}))[0] == 200
    assert (await customer.patch("/settings", {"stale_on_disconnect": "always"}, headers={"If-Match": seen}))[0] == 412
    assert (await customer.get("/settings"))[1]["stale_on_disconnect"] == "lost"


async def test_what_cannot_be_chosen(customer: Caller, database: Database) -> None:
    for wrong in WRONG:
        status, body, _ = await customer.patch("/settings", wrong)
        assert (status, bool(body["errors"])) == (422, True), wrong
    status, body, _ = await customer.call("PATCH", "/settings", headers={"Content-Type": "application/json"}, data=b"{")
    assert status == 400, body
    assert (tenants(database), audited(database)) == ([("tenant-a", None, "never", 1)], [])


async def test_the_role_reaches_two_columns_of_its_own_tenant(database: Database) -> None:
    judged(database, "INSERT INTO tenants (tenant_id) VALUES ('tenant-a'), ('tenant-b') RETURNING true")
    pool = await open_pool(database.dsn("pulse_web"), name="test", max_size=1)
    ours = TenantPool(pool, "tenant-a")
    assert await ours.execute("UPDATE tenants SET stale_after_s = 5") == "UPDATE 1"
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await ours.execute("UPDATE tenants SET status = 'SUSPENDED'")
    await pool.close()
    assert [line[:2] for line in tenants(database)] == [("tenant-a", 5.0), ("tenant-b", None)]


async def test_the_pipeline_hears_of_it(admin: Admin, customer: Caller, database: Database) -> None:
    await admin.device()
    pool = await open_pool(database.dsn("pulse_pipeline"), name="test")
    registry = PostgresRegistry(pool, database.dsn("pulse_pipeline"))
    heard = cast("AsyncGenerator[DeviceKey | str | None]", registry.changes())
    assert await anext(heard) is None
    await customer.patch("/settings", {"stale_after_s": 60, "stale_on_disconnect": "always"})
    assert await asyncio.wait_for(anext(heard), 30) == "tenant-a"
    (device,) = await registry.load()
    await heard.aclose()
    await pool.close()
    assert (device.key, device.stale_after_s) == (DeviceKey("tenant-a", "dev-1"), 60)
    assert device.stale_on == STALE_ON["always"]


async def save(browser: Browser, filled: dict[str, str | None]) -> Any:
    fields = Page((await browser.go(PATH)).text.partition("<main")[2]).sent(filled)
    return await browser.post(PATH, list(fields.items(multi=True)))


async def test_on_the_page_too(browser: Browser, database: Database) -> None:
    assert (await save(browser, {"stale_after_s": "90.5", "stale_on_disconnect": "lost"})).to == PATH
    shown = (await browser.go(PATH)).text
    assert "Saved." in shown
    sent = Page(shown.partition("<main")[2]).sent()
    assert (sent["stale_after_s"], sent["stale_on_disconnect"], sent["revision"]) == ("90.5", "lost", "2")
    assert tenants(database) == [("tenant-a", 90.5, "lost", 2)]
    assert [line[0] for line in audited(database)] == ["user:ada"]
    for wrong in ("0", "soon"):
        refused = await save(browser, {"stale_after_s": wrong, "stale_on_disconnect": "always"})
        assert (refused.status, "Please correct this" in refused.text) == (422, True)
        assert f'value="{wrong}"' in refused.text
    assert (await browser.post(PATH, {csrf.FIELD: (await browser.go(PATH)).token})).status == 422, "not our form"
    assert (await save(browser, {"stale_after_s": "60"})).to == PATH
    assert 'value="60"' in (await browser.go(PATH)).text
    assert (await save(browser, {"stale_after_s": ""})).to == PATH
    assert tenants(database) == [("tenant-a", None, "lost", 4)]


async def test_a_form_that_somebody_overtook_is_not_saved(browser: Browser, database: Database) -> None:
    page = (await browser.go(PATH)).text
    judged(database, "UPDATE tenants SET stale_on_disconnect = 'always' RETURNING true")
    fields = Page(page.partition("<main")[2]).sent({"stale_after_s": "5"})
    late = await browser.post(PATH, list(fields.items(multi=True)))
    assert (late.status, "Somebody else has changed it" in late.text) == (412, True)
    assert tenants(database) == [("tenant-a", None, "always", 2)]


async def test_a_viewer_reads_it_in_words(admin: Admin, database: Database) -> None:
    viewer = await at_browser(admin, database, Role.CUSTOMER_VIEWER)
    choose = "UPDATE tenants SET (stale_after_s, stale_on_disconnect) = (%s, %s) RETURNING true"
    for after_s, choice, silence, disconnects in IN_WORDS:
        judged(database, choose, after_s, choice)
        page = await viewer.go(PATH)
        assert (page.status, silence in page.text, disconnects in page.text) == (200, True, True), choice
        assert "<select" not in page.text
    assert (await viewer.post(PATH, {csrf.FIELD: page.token, "revision": "1"})).status == 403
