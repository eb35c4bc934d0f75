"""The alerts inbox in a real browser: by keyboard alone, and a selection that outlives the list's being read anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pulse_core.notices import Kind
from support.batches import judged
from support.pages import CHROMIUM, FETCHED, browsing, violations
from support.site import log_in, site
from support.told import an_alert

if TYPE_CHECKING:
    import uuid
    from pathlib import Path

    from playwright.async_api import Page

    from support.database import Database

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.skipif(not FETCHED, reason="needs what `make` fetches with npm"),
]


def opened(database: Database, name: str, age_s: int) -> uuid.UUID:
    alert: uuid.UUID = an_alert(database, status="OPEN")
    with database.superuser() as hand:
        hand.execute(
            "UPDATE alerts SET summary = %s, opened_at = now() - make_interval(secs => %s) WHERE alert_id = %s",
            (name, age_s, alert),
        )
    return alert


async def focused(page: Page) -> str:
    return str(await page.evaluate("document.activeElement.textContent.trim()"))


async def test_alerts_are_acknowledged_by_keyboard_alone(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, services), browsing(complaints) as page:
        first, second, third = (opened(database, f"the {name}", age) for age, name in enumerate(("1st", "2nd", "3rd")))
        await log_in(page, url)
        await page.goto(f"{url}/customer/alerts?status=OPEN")
        await page.get_by_text("Updates by itself").wait_for()
        chosen = page.locator("#chosen")

        for key, at in (("j", "the 1st"), ("j", "the 2nd"), ("k", "the 1st"), ("k", "the 1st")):
            await page.keyboard.press(key)
            assert await focused(page) == at
        await page.keyboard.press("x")
        await page.keyboard.press("j")
        await page.keyboard.press("j")
        await page.keyboard.press("x")
        assert await chosen.text_content() == "2 selected"

        opened(database, "the newest", -1)
        services.board.note("tenant-a", Kind.ALERTS, None)
        await page.get_by_role("link", name="the newest").wait_for()
        assert await chosen.text_content() == "2 selected"
        for alert, ticked in ((first, True), (second, False), (third, True)):
            assert await page.locator(f"#select-{alert}").is_checked() is ticked
        assert await focused(page) == "the 3rd", "whoever was at a row is there still"

        note = page.get_by_label("Note")
        await note.fill("")
        await note.press_sequentially("axjk?")
        assert await note.input_value() == "axjk?", "in a field keys are text"
        assert not await page.get_by_role("dialog").is_visible()

        await page.locator(f"#alert-{first}").focus()
        await page.keyboard.press("Control+a")
        await page.keyboard.press("a")
        await page.get_by_text("2 acknowledged.").wait_for()
        assert page.url == f"{url}/customer/alerts?status=OPEN"
        assert await page.locator(".inbox li").count() == 2
        notes = judged(database, "SELECT alert_id, note FROM alert_changes WHERE event = 'ACKNOWLEDGED'")
        assert dict(notes) == {first: "axjk?", third: "axjk?"}

        await page.keyboard.press("j")
        await page.keyboard.press("o")
        await page.get_by_role("heading", name="the 2nd").wait_for()
        assert await violations(page) == []
    assert complaints == []


async def test_the_help_gives_the_focus_back_and_keys_can_be_switched_off(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, services), browsing(complaints) as page:
        alert = opened(database, "the only one", 5)
        await log_in(page, url)
        await page.goto(f"{url}/customer/alerts")
        await page.get_by_text("Updates by itself").wait_for()
        dialog = page.get_by_role("dialog", name="Keyboard")
        await page.keyboard.press("j")
        await page.keyboard.press("?")
        await dialog.wait_for()
        opened(database, "another", 1)
        services.board.note("tenant-a", Kind.ALERTS, None)
        await page.locator(".row-title", has_text="another").wait_for()
        await page.keyboard.press("x")
        await page.keyboard.press("Escape")
        await dialog.wait_for(state="hidden")
        await page.locator(f"#alert-{alert}:focus").wait_for()
        assert await page.locator("#chosen").text_content() == "Nothing selected", "in the dialog keys do nothing"

        await page.keyboard.press("?")
        await page.get_by_label("Single keys do something").uncheck()
        await page.get_by_role("button", name="Done").click()
        await dialog.wait_for(state="hidden")
        await page.keyboard.press("x")
        await page.keyboard.press("?")
        assert not await dialog.is_visible()
        await page.reload()
        await page.keyboard.press("j")
        assert await page.evaluate("document.activeElement.tagName") == "BODY", "this browser remembers it"

        await page.get_by_role("button", name="Keyboard").click()
        await page.get_by_label("Single keys do something").check()
        await page.keyboard.press("Escape")
        await dialog.wait_for(state="hidden")
        assert await focused(page) == "Keyboard"
        await page.keyboard.press("j")
        assert await focused(page) == "another"

        await page.get_by_label("All on this page").check()
        assert await page.locator("#chosen").text_content() == "2 selected"
        await page.locator(f"#select-{alert}").uncheck()
        assert await page.locator("#all").evaluate("box => box.indeterminate")
        assert await violations(page) == []
    assert complaints == []


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (375, "dark")])
async def test_a_note_that_is_half_typed_stays_and_what_is_over_is_not_offered(
    database: Database, tmp_path: Path, width: int, theme: str
) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, services), browsing(complaints, width=width, theme=theme) as page:
        alert = opened(database, "a very long summary " + "x" * 200, 5)
        await log_in(page, url)
        await page.goto(f"{url}/customer/alerts/{alert}")
        await page.get_by_text("Updates by itself").wait_for()
        await page.get_by_label("Note").press_sequentially("half a se")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        judged(database, "UPDATE alerts SET status = 'ACKNOWLEDGED', acknowledged_at = now() RETURNING true")
        services.board.note("tenant-a", Kind.ALERTS, [str(alert)])
        await page.get_by_role("button", name="Acknowledge").wait_for(state="hidden")
        await page.keyboard.type("ntence")
        await page.get_by_role("button", name="Close").click()
        await page.locator(".note", has_text="half a sentence").wait_for()
        assert await page.get_by_role("button", name="Close").count() == 0
        for path in ("alerts", f"alerts/{alert}/trace"):
            await page.goto(f"{url}/customer/{path}")
            assert await page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert await violations(page) == []
    assert complaints == []
