"""Texts that would like to be more stay text, wherever the database, a form or an address brings them from."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from pulse_core.principal import Role
from support import every_page, lived_in, poison, two_tenants
from support.admin import admin_api
from support.browsing import by_cookie
from support.chromium import CHROMIUM
from support.every_page import VISITORS
from support.harm import harm, harm_in
from support.inhabited import World, inhabited
from support.looking import Visitor, chromium, visiting
from support.pages import FETCHED
from support.poison import LONG, NUL, PLACES, ROUNDS, TEXTS, WORDS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Browser, Dialog

    from support.admin import Caller
    from support.database import Database, PostgresServer

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(600)]
without_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
without_assets = pytest.mark.skipif(not FETCHED, reason="needs what `make` fetches with npm")

HARMLESS = {"entities", "template", "unicode", "directions", "control"}
"""Even where somebody believes them to be HTML."""
ASKED = ("search", "label", "status", "site_id", "device_id", "alert_type", "sort", "limit", "cursor", "prefix")
ASKED_ALSO = ("next", "notice", "tenant_id", "since", "until", "metric", "severity", "type", "actor", "q")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def lived(postgres: PostgresServer) -> AsyncIterator[Database]:
    database = postgres.fresh()
    yield database
    database.drop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(lived: Database, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    async with inhabited(lived, tmp_path_factory.mktemp("data")) as found:
        poison.add_odd_devices(lived)
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


async def test_every_column_that_holds_text_is_known(lived: Database) -> None:
    named = [{(table, name) for table, names in these.items() for name in names} for these in (PLACES, WORDS)]
    assert not named[0] & named[1]
    assert named[0] | named[1] == set(poison.columns(lived)), "say in support/poison.py which it is"


@without_chromium
@without_assets
@pytest.mark.parametrize("text", ROUNDS.values(), ids=ROUNDS)
async def test_none_runs_on_any_page(world: World, browser: Browser, lived: Database, text: str) -> None:
    poison.poison(lived, text)
    wrong: dict[str, list[str]] = {}
    for name in VISITORS[::2]:
        async with visited(browser, world.url, wrong) as visitor:
            await visitor.log_in(name)
            odd = [f"/customer/devices/{quote(device_id)}" for device_id in poison.ODD_IDS]
            for path in [*world.found.few[name], *(odd if "customer" in name else [])]:
                wrong[f"{name} {path}"] = [*await visitor.open(path), *await harm(visitor.page)]
                await visitor.page.set_viewport_size({"width": 375, "height": 900})
                wrong[f"{name} {path}"] += await visitor.too_wide()
                await visitor.page.set_viewport_size({"width": 1280, "height": 900})
    assert {path: found for path, found in wrong.items() if found} == {}


@asynccontextmanager
async def visited(browser: Browser, url: str, wrong: dict[str, list[str]]) -> AsyncIterator[Visitor]:
    """Somebody who notes each dialog that opens."""

    async def note(dialog: Dialog) -> None:
        wrong[f"dialog on {visitor.page.url}"] = [dialog.message]
        await dialog.dismiss()

    async with visiting(browser, url) as visitor:
        visitor.page.on("dialog", note)
        yield visitor


@without_chromium
@pytest.mark.parametrize("name", [name for name in TEXTS if name not in HARMLESS])
async def test_what_runs_is_seen(world: World, browser: Browser, name: str) -> None:
    """The control: a page that believes what it is told."""
    async with visiting(browser, world.url) as visitor:
        await visitor.open("/login")
        await visitor.page.evaluate(
            "text => { document.getElementById('main').innerHTML = `<i title=\"${text}\"></i><i title='${text}'></i>"
            "<i title=${text}></i><textarea>${text}</textarea><select><option>${text}</select><!--${text}-->${text}` }",
            TEXTS[name],
        )
        assert await harm(visitor.page) != []
    html = f"<textarea></textarea><b title=\"{TEXTS[name]}\"></b><b title='{TEXTS[name]}'></b><b title={TEXTS[name]}>"
    assert harm_in(html + TEXTS[name]) != []


async def test_none_comes_back_from_an_address(world: World) -> None:
    wrong = {}
    for name in VISITORS:
        browser = world.browsers[name]
        for path in [path for path in world.found.few[name] if path != "/docs"]:
            for asked in (ASKED + ASKED_ALSO) if name == VISITORS[0] else ASKED:
                for text in (ROUNDS["all at once"], ROUNDS["address"]):
                    shown = await browser.go(f"{path}?{asked}={quote(text)}")
                    wrong[path, asked] = harm_in(shown.text) + ([] if shown.status < 500 else [str(shown.status)])
        for text in TEXTS.values():
            shown = await browser.go(f"/customer/{quote(text, safe='')}")
            wrong["a path", text] = harm_in(shown.text) + ([] if shown.status < 500 else [str(shown.status)])
    assert {where: found for where, found in wrong.items() if found} == {}


def deeds(text: str) -> list[tuple[str, str, Any, str]]:
    """What a customer may write: method, path, body, and where the answer has the text."""
    webhook = {"url": "https://hooks.example.com/x", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    route = {"integration_id": str(lived_in.an_id("integration", 0))}
    open_alert = lived_in.an_id("alert", 0)
    return [
        ("PATCH", f"/devices/{lived_in.SHOWN}", {"name": text}, "name"),
        ("PATCH", f"/devices/{lived_in.SHOWN}", {"labels": {"note": text}}, "labels"),
        ("POST", "/integrations/webhook", {"name": text, "config": webhook}, "name"),
        ("PATCH", f"/integrations/{lived_in.an_id('integration', 0)}", {"name": text}, "name"),
        ("POST", "/integration-routes", {**route, "name": text}, "name"),
        ("POST", "/api-tokens", {"name": text, "role": "customer_viewer"}, "name"),
        ("PATCH", f"/users/{lived_in.an_id('user', 0)}", {"email": f"{text}@example.com"}, "email"),
        ("POST", f"/devices/{lived_in.SHOWN}/commands", {"name": "x", "payload": {"note": text}}, "payload"),
        ("POST", f"/alerts/{open_alert}/acknowledge", {"note": text}, ""),
        ("PUT", "/metrics/celsius", {"unit": text}, "unit"),
        ("PUT", "/metrics/battery", {"description": text, "high": 1}, "description"),
    ]


async def test_what_people_may_write_is_kept_as_it_is_or_refused(postgres: PostgresServer, tmp_path: Path) -> None:
    database = postgres.fresh()
    two_tenants.fill(database)
    lived_in.fill(database)
    kept = 0
    async with admin_api(database, tmp_path) as admin:
        customer = await by_cookie(admin.client.app, database, "ada", Role.CUSTOMER_ADMIN, lived_in.TENANT)
        for text in [*TEXTS.values(), NUL, LONG, poison.ADDRESSES]:
            for deed in deeds(text):
                kept += await _kept(customer, text, *deed)
        visitors = await every_page.browsers(admin.client.app, database)
        found = await every_page.pages(visitors)
        for name in (VISITORS[0], VISITORS[2]):
            for path in [path for path in found.few[name] if path != "/docs"]:
                assert harm_in((await visitors[name].go(path)).text) == [], path
    assert kept > 80
    database.drop()


async def _kept(customer: Caller, text: str, method: str, path: str, body: Any, field: str) -> bool:
    """Whether it was taken; then the answer has it, letter by letter."""
    status, answer, _ = await customer.call(method, f"/customer{path}", body)
    if status in {409, 422}:
        return False
    assert status in {200, 201}, (status, path, text, answer)
    assert text != NUL
    if field:
        told = answer[field]["note"] if isinstance(answer[field], dict) else answer[field]
        assert told.strip() in {text.strip(), f"{text}@example.com"}, (path, text)
    return True
