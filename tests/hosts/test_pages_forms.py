"""Integrations made, changed, tried and deleted on pages, as a browser does it that runs no script."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from pulse_core.config import DEFAULT_PLUGINS
from pulse_core.secrets import SecretBox
from support.admin import Admin, admin_api
from support.batches import judged
from support.browser_forms import Page, filled

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.browsing import Browser, Shown
    from support.database import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "/customer/integrations/webhook/new"
RIGHT = {"name": "on call", "config.url": "https://example.com/hook", "config.secret": SECRET}


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    """With every channel that we have."""
    plugins = {"enabled": [*DEFAULT_PLUGINS, "email", "mqtt_channel", "snmp"]}
    async with admin_api(database, tmp_path, plugins=plugins) as found:
        await found.tenant()
        yield found


async def made(browser: Browser) -> str:
    form = (await browser.go(NEW)).text
    return (await browser.post(NEW, filled(form, **RIGHT))).to


def stored(database: Database) -> Any:
    (row,) = judged(database, "SELECT name, enabled, config, secrets, revision FROM integrations")
    return (*row[:3], SecretBox(database.secret_key).open(row[3]), row[4])


def said_of(shown: Shown, name: str) -> str:
    """What is said to be wrong with a field, where the field itself says it is said."""
    page = Page(shown.text)
    (box,) = [box for box in page.boxes if box.name == name]
    assert box.attrs["aria-invalid"] == "true"
    ids = (box.attrs["aria-describedby"] or "").split()
    (fault,) = [each for each in ids if each.endswith(":fault")]
    return html.unescape(shown.text.partition(f'id="{fault}">')[2].partition("<")[0])


async def test_from_the_empty_form_to_what_is_stored(browser: Browser, database: Database) -> None:
    path = await made(browser)
    name, enabled, config, secrets, _ = stored(database)
    assert (name, enabled, config["url"], secrets) == ("on call", True, RIGHT["config.url"], {"/secret": SECRET})
    page = (await browser.go(path)).text
    assert "on call" in page
    assert SECRET not in page
    assert f'href="{path}"' in (await browser.go("/customer/integrations")).text

    form = (await browser.go(f"{path}/edit")).text
    assert SECRET not in form
    assert "A value is stored" in form
    changed = {"name": "night shift", "config.url": "https://example.com/other", "enabled": None}
    assert (await browser.post(f"{path}/edit", filled(form, **changed))).to == path
    name, enabled, config, secrets, _ = stored(database)
    assert (name, enabled, config["url"], secrets) == (
        "night shift", False, "https://example.com/other", {"/secret": SECRET},
    )  # fmt: skip


async def test_what_is_wrong_stands_beside_the_field_in_the_words_of_the_api(
    admin: Admin, browser: Browser, database: Database
) -> None:
    wrong = {**RIGHT, "name": "", "config.url": "no address"}
    shown = await browser.post(NEW, filled((await browser.go(NEW)).text, **wrong))
    assert shown.status == 422
    assert "<title>Error: " in shown.text
    assert judged(database, "SELECT 1 FROM integrations") == []
    body = {"name": "on call", "config": {"url": "no address", "secret": SECRET}}
    status, refused, _ = await (await admin.customer()).post("/integrations", body)
    assert status == 422
    (fault,) = refused["errors"]
    shown = await browser.post(NEW, filled(shown.text, **{**wrong, "name": "on call"}))
    assert said_of(shown, "config.url") == fault["message"]
    assert 'href="#f-config.url"' in shown.text
    assert 'value="no address"' in shown.text
    assert SECRET not in shown.text
    assert (await browser.post(NEW, filled(shown.text, **RIGHT))).status == 303


async def test_names_are_texts_that_can_be_stored(browser: Browser) -> None:
    form = (await browser.go(NEW)).text
    for name in ("", "x" * 100_000, "a\0b"):
        shown = await browser.post(NEW, filled(form, **{**RIGHT, "name": name}))
        assert shown.status == 422
        assert said_of(shown, "name")


async def test_a_name_that_is_emptied_is_missed(browser: Browser, database: Database) -> None:
    path = await made(browser)
    shown = await browser.post(f"{path}/edit", filled((await browser.go(f"{path}/edit")).text, name=""))
    assert shown.status == 422
    assert said_of(shown, "name")
    assert stored(database)[0] == "on call"


async def test_who_comes_second_is_told_so(browser: Browser, database: Database) -> None:
    path = await made(browser)
    form = (await browser.go(f"{path}/edit")).text
    assert (await browser.post(f"{path}/edit", filled(form, name="first"))).to == path
    second = await browser.post(f"{path}/edit", filled(form, name="second"))
    assert second.status == 412
    assert "Somebody else has changed it" in second.text
    assert stored(database)[0] == "first"


async def test_more_rows_are_shown_and_nothing_is_saved(browser: Browser, database: Database) -> None:
    form = (await browser.go(NEW)).text
    shown = await browser.post(NEW, [*filled(form, **RIGHT), ("~more", "config.headers")])
    assert shown.status == 200
    assert len(Page(shown.text).boxes) > len(Page(form).boxes)
    assert judged(database, "SELECT 1 FROM integrations") == []


async def test_it_is_deleted_by_whoever_says_so_twice(browser: Browser, database: Database) -> None:
    path = await made(browser)
    asked = await browser.go(f"{path}/delete")
    assert "cannot be undone" in asked.text
    assert (await browser.post(f"{path}/delete")).status == 403
    assert (await browser.post(f"{path}/delete", {"csrf_token": asked.token})).status == 422
    assert (await browser.go(path)).status == 200
    said = {"csrf_token": asked.token, "confirm": "yes"}
    assert (await browser.post(f"{path}/delete", said)).to == "/customer/integrations"
    assert (await browser.go(path)).status == 404
    assert judged(database, "SELECT count(*) FROM audit_log WHERE action = 'integration.delete'") == [(1,)]


async def test_a_test_shows_what_happens_as_it_happens(browser: Browser, database: Database) -> None:
    path = await made(browser)
    to = (await browser.post(f"{path}/test", {"csrf_token": (await browser.go(path)).token})).to
    ((delivery_id, cause),) = judged(database, "SELECT delivery_id, cause FROM deliveries")
    assert (to, cause) == (f"/customer/deliveries/{delivery_id}", "test")
    for status, said in (
        ("PENDING", "Queued: the first attempt is"),
        ("SENDING", "Connecting: an attempt is under way"),
        ("DELIVERED", "The test arrived"),
        ("DEAD", "The test did not arrive"),
    ):
        judged(database, "UPDATE deliveries SET status = %s RETURNING true", status)
        shown = (await browser.go(to)).text
        assert "<h1>Test of on call" in shown
        assert said in shown
        assert ("Send another test" in shown) == (status in {"DELIVERED", "DEAD"})


async def test_every_channel_that_is_installed_has_its_form(admin: Admin, browser: Browser) -> None:
    gallery = (await browser.go("/customer/integrations")).text
    types = sorted(admin.client.app.extensions["services"].plugins.channels)
    assert len(types) > 3
    for type_ in types:
        assert f'href="/customer/integrations/{type_}/new"' in gallery
        assert "name" in {
            box.name for box in Page((await browser.go(f"/customer/integrations/{type_}/new")).text).boxes
        }
