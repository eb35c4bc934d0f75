"""Pages on which tenants are made, changed, suspended, resumed and removed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.principal import Role
from pulse_postgres.tenants import Tenants
from pulse_server.web.entrance import csrf
from support.batches import judged
from support.browser_forms import Page
from support.browsing import Browser, Shown, at_browser

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.admin import Admin
    from support.database import Database

HERE = "/operator/tenants/tenant-a"
SETTLED = "UPDATE tenants SET status = 'SUSPENDED', suspended_at = now() - interval '11 s' RETURNING true"


@pytest.fixture
async def browser(admin: Admin, database: Database) -> Browser:
    return await at_browser(admin, database, Role.OPERATOR_ADMIN, "boss")


async def send(browser: Browser, path: str, filled: dict[str, str | None] | None = None) -> Shown:
    """Open a page with a form, fill it in and send it."""
    shown = await browser.go(path)
    assert shown.status == 200, shown.text
    fields = Page(shown.text.partition("<main")[2]).sent(filled)
    return await browser.post(path, list(fields.items(multi=True)))


async def token(browser: Browser) -> str:
    return (await browser.go("/operator/tenants")).token


def tenants(database: Database) -> list[Any]:
    return judged(database, "SELECT tenant_id, name, stale_after_s, status FROM tenants ORDER BY 1")


async def test_a_tenant_is_made(browser: Browser, database: Database) -> None:
    made = await send(browser, "/operator/tenants/~new", {"tenant_id": "new", "name": "New one", "stale_after_s": "90"})
    assert made.to == "/operator/tenants/new"
    assert tenants(database) == [("new", "New one", 90.0, "ACTIVE"), ("tenant-a", "", None, "ACTIVE")]
    shown = (await browser.go("/operator/tenants/new")).text
    assert "Added." in shown
    assert "New one" in shown
    actors = judged(database, "SELECT actor FROM audit_log WHERE action = 'tenant.create' AND tenant_id = 'new'")
    assert actors == [("user:boss",)]


@pytest.mark.parametrize(
    ("filled", "status", "said"),
    [
        ({"tenant_id": "tenant-a"}, 409, "there is a tenant"),
        ({"tenant_id": "a b"}, 422, "tenant_id"),
        ({"tenant_id": ""}, 422, "correct this"),
        ({"tenant_id": "~new"}, 422, "correct this"),
        ({"tenant_id": "new", "stale_after_s": "0"}, 422, "correct this"),
        ({"tenant_id": "new", "stale_after_s": "soon"}, 422, "correct this"),
    ],
)
async def test_what_cannot_be_made_is_told_beside_its_field(
    browser: Browser, database: Database, filled: dict[str, str | None], status: int, said: str
) -> None:
    before = tenants(database)
    page = await browser.go("/operator/tenants/~new")
    shown = await browser.post("/operator/tenants/~new", {csrf.FIELD: page.token, "name": "kept", **filled})
    assert (shown.status, said in shown.text, 'value="kept"' in shown.text) == (status, True, True), shown.text
    assert tenants(database) == before


async def test_it_is_chosen_whether_a_disconnect_is_stale_at_once(browser: Browser, database: Database) -> None:
    look = "SELECT stale_on_disconnect FROM tenants WHERE tenant_id = 'tenant-a'"
    assert (await send(browser, f"{HERE}/edit", {"name": "Us"})).to == HERE
    assert (judged(database, look), "as soon as" in (await browser.go(HERE)).text) == ([("never",)], False)
    for choice, said in (
        ("lost", "or as soon as its connection is lost"),
        ("always", "as soon as it has disconnected"),
    ):
        assert (await send(browser, f"{HERE}/edit", {"stale_on_disconnect": choice})).to == HERE
        assert judged(database, look) == [(choice,)]
        assert said in (await browser.go(HERE)).text
    assert (await send(browser, f"{HERE}/edit", {"name": "We"})).to == HERE
    assert judged(database, look) == [("always",)], "the form shows what is chosen"


async def test_a_tenant_is_renamed_unless_somebody_was_faster(browser: Browser, database: Database) -> None:
    assert (await send(browser, f"{HERE}/edit", {"name": "Us", "stale_after_s": "30"})).to == HERE
    assert (await send(browser, f"{HERE}/edit", {"stale_after_s": ""})).to == HERE
    assert tenants(database) == [("tenant-a", "Us", None, "ACTIVE")]
    page = await browser.go(f"{HERE}/edit")
    judged(database, "UPDATE tenants SET name = 'Them' RETURNING true")
    fields = Page(page.text.partition("<main")[2]).sent({"name": "Late"})
    late = await browser.post(f"{HERE}/edit", list(fields.items(multi=True)))
    assert (late.status, "Somebody else has changed it" in late.text) == (412, True)
    assert tenants(database) == [("tenant-a", "Them", None, "ACTIVE")]
    assert (await browser.post(f"{HERE}/edit", {csrf.FIELD: await token(browser), "name": "x"})).status == 422


async def test_a_tenant_is_suspended_and_resumed(admin: Admin, browser: Browser, database: Database) -> None:
    customer = await admin.customer()
    assert (await browser.post(f"{HERE}/suspend", {csrf.FIELD: await token(browser)})).status == 422, "not confirmed"
    assert (await send(browser, f"{HERE}/suspend")).to == HERE
    shown = await browser.go(HERE)
    assert "Suspended." in shown.text
    assert "It is shut out" in shown.text
    assert (await customer.get("/devices"))[0] == 401
    assert (await browser.post(f"{HERE}/resume", {csrf.FIELD: shown.token, "confirm": "yes"})).to == HERE
    assert tenants(database) == [("tenant-a", "", None, "ACTIVE")]
    assert (await customer.get("/devices"))[0] == 200


async def test_a_tenant_is_removed_once_its_id_is_typed(browser: Browser, database: Database) -> None:
    assert "First suspend it" in (await browser.go(f"{HERE}/remove")).text
    early = {csrf.FIELD: await token(browser), "confirm": "tenant-a"}
    assert (await browser.post(f"{HERE}/remove", early)).status == 409
    assert "came to nothing: suspend the tenant first" in (await browser.go(f"{HERE}/remove")).text
    judged(database, SETTLED)
    for wrong in ("", "tenant-b", "TENANT-A"):
        shown = await send(browser, f"{HERE}/remove", {"confirm": wrong})
        assert (shown.status, "That is not its id." in shown.text) == (422, True)
    assert len(tenants(database)) == 1
    assert (await send(browser, f"{HERE}/remove", {"confirm": "tenant-a"})).to == "/operator/tenants"
    assert tenants(database) == []
    assert "Removed, with everything" in (await browser.go("/operator/tenants")).text
    assert "tenant-a is removed" in (await browser.go(f"{HERE}/remove")).text
    assert (await browser.go(HERE)).status == 404


async def test_a_removal_that_takes_long_shows_how_far_it_is(
    browser: Browser, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged(database, SETTLED)
    go_on, remove = asyncio.Event(), Tenants.remove

    async def slow(tenants: Tenants, tenant_id: str, *, told: Callable[[int, int, int], None], **more: Any) -> int:
        told(3, 9, 1234)
        await go_on.wait()
        return await remove(tenants, tenant_id, told=told, **more)

    monkeypatch.setattr(Tenants, "remove", slow)
    monkeypatch.setattr("pulse_server.web.operator.tenant_forms._WAIT_S", 0.01)
    assert (await send(browser, f"{HERE}/remove", {"confirm": "tenant-a"})).to == f"{HERE}/remove"
    assert "It is being removed" in (await browser.go(HERE)).text
    shown = await browser.go(f"{HERE}/remove")
    assert "3 of 9 days" in shown.text
    (bar,) = [each for tag, each in Page(shown.text).elements if tag == "progress"]
    assert (bar["value"], bar["max"]) == ("3", "9")
    again = {csrf.FIELD: shown.token, "confirm": "tenant-a"}
    assert (await browser.post(f"{HERE}/remove", again)).to == f"{HERE}/remove", "it runs once"
    go_on.set()
    removal = browser.client.app.extensions["services"].removals.of("tenant-a")
    await asyncio.wait_for(removal.task, 30)
    assert "tenant-a is removed" in (await browser.go(f"{HERE}/remove", HX_Request="true")).text
    assert len(judged(database, "SELECT FROM audit_log WHERE action = 'tenant.remove'")) == 1


async def test_a_tenant_may_be_called_as_a_page_would_be(admin: Admin, browser: Browser) -> None:
    for name in ("new", "edit", "devices", "remove"):
        await admin.tenant(name)
        shown = await browser.go(f"/operator/tenants/{name}")
        assert (shown.status, f"<code>{name}</code>" in shown.text) == (200, True)
