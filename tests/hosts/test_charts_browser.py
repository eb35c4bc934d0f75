"""Charts in a real browser: drawn under the strict policy, live, narrowed and widened, whatever metrics are called."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.notices import Kind
from support.batches import judged, register
from support.pages import CHROMIUM, FETCHED, browsing, violations
from support.people import person
from support.site import bare_site, log_in
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from playwright.async_api import Page

    from pulse_server.web.services import Services
    from support.database import Database

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.skipif(not FETCHED, reason="needs what `make` fetches with npm"),
]

EVIL = "<img src=x onerror=document.title='owned'>"
_SAY = """
    INSERT INTO telemetry SELECT 'tenant-a', 'dev-1', now() - n * interval '20 s', n, now(), 'telemetry', 's', n,
        jsonb_build_object('temp', 20 + n, %s::text, n) FROM generate_series(1, 120) n RETURNING true
"""
_SAY_NOW = """
    INSERT INTO telemetry VALUES ('tenant-a', 'dev-1', now(), 0, now(), 'telemetry', 's', 0,
        jsonb_build_object(%s::text, %s::float8)) RETURNING true
"""
_ALERT = """
    INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity, confidence,
        summary, opened_at) VALUES ('tenant-a', gen_random_uuid(), 'dev-1', 's', 'T', 'f', 'OPEN', 4, 1, %s,
        now() - interval '10 minutes') RETURNING true
"""
# How much of a picture has about a colour, between two parts of its width: a line's edges are faint.
_INK = """([chart, colour, from, to]) => {
    const canvas = document.querySelector(`figure[data-chart="${chart}"] canvas`);
    if (canvas === null) return 0;
    const left = Math.round(canvas.width * from);
    const width = Math.round(canvas.width * to) - left;
    const found = canvas.getContext("2d").getImageData(left, 0, width, canvas.height).data;
    let count = 0;
    for (let i = 0; i < found.length; i += 4)
        if (found[i + 3] > 127 && colour.every((each, n) => Math.abs(found[i + n] - each) < 5)) count += 1;
    return count;
}"""
LIGHT, DARK = [15, 107, 92], [99, 205, 182]
BOUND, EVENT = [125, 79, 0], [28, 90, 140]
"""In the light theme."""


@asynccontextmanager
async def site(database: Database, data_dir: Path) -> AsyncIterator[tuple[str, Services]]:
    """The application with a device that said something for 40 minutes; it hears what the database tells."""
    register(database, "tenant-a/dev-1")
    with database.superuser() as hand:
        hand.execute("SELECT ensure_telemetry_day((now() - n * interval '1 day')::date) FROM generate_series(-1, 1) n")
    judged(database, _SAY, EVIL)
    judged(database, _ALERT, EVIL)
    person(database)
    async with bare_site(database, data_dir) as found:
        yield found


def said(page: Page, chart: str) -> Any:
    return page.locator(f'figure[data-chart="{chart}"] [data-said]')


async def look_closer(page: Page) -> None:
    """Point at a chart, then drag over a tenth of it."""
    over = page.locator('figure[data-chart="temp"] .u-over')
    await over.scroll_into_view_if_needed()
    box = await over.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.95, box["y"] + 40)
    await page.locator('figure[data-chart="temp"] .chart-tip', has_text=f"major: {EVIL}").wait_for(state="attached")
    await page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 50)
    await page.mouse.up()


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (375, "dark")])
async def test_charts_live(database: Database, tmp_path: Path, width: int, theme: str) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, services), browsing(complaints, width=width, theme=theme) as page:
        await log_in(page, url)
        await page.goto(f"{url}/customer/devices/dev-1?range=1h")
        await page.get_by_text("Updates by itself").wait_for()
        await page.wait_for_selector('figure[data-chart="temp"][data-drawn="120"] canvas')
        assert await page.locator("figure[data-chart]").count() == 2
        assert await page.locator("main img").count() == 0
        assert await page.evaluate("document.documentElement.scrollWidth") <= width

        await said(page, "temp").get_by_text("latest 21,").wait_for()
        for value in (777.25, 778.5, 779.75):  # what is read every 15 s by itself would be too late for the last
            began = time.monotonic()
            judged(database, _SAY_NOW, "temp", value)
            services.board.note("tenant-a", Kind.DEVICES, ["dev-1"])
            await said(page, "temp").get_by_text(f"latest {value}, lowest 21, highest {value}").wait_for()
            assert time.monotonic() - began < 4, "1 s on a machine that has time"

        judged(database, "DELETE FROM telemetry WHERE key_hash = 0 RETURNING true")
        await page.get_by_text("an alert", exact=True).wait_for()
        judged(database, _SAY_NOW, "<b>new</b>", 5)
        services.board.note("tenant-a", Kind.DEVICES, ["dev-1"])
        await page.get_by_text("<b>new</b>", exact=True).first.wait_for()
        assert await page.locator("main figure b").count() == 0

        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "bucket=" in request.url else None)
        services.board.note("tenant-a", Kind.DEVICES, ["another"])
        services.board.note("tenant-a", Kind.ROUTES, None)
        await look_closer(page)
        await page.get_by_role("button", name="Show the whole time").wait_for()
        await page.wait_for_function(
            "() => Number(document.querySelector('figure[data-chart=temp]').dataset.drawn) < 40"
        )
        assert "bucket=1&" in f"{asked[-1]}&", "finer than 10 s"
        await page.get_by_role("button", name="Show the whole time").click()
        await page.wait_for_function(
            "() => Number(document.querySelector('figure[data-chart=temp]').dataset.drawn) > 100"
        )
        assert await page.title() == "dev-1 · OpsConductor-Pulse"
        assert await violations(page) == []
    assert complaints == []


@pytest.mark.parametrize("left", [[120], [119, 120]])
async def test_a_value_that_no_line_leads_to_is_a_point(database: Database, tmp_path: Path, left: list[int]) -> None:
    """The newest make a line; what came long before is drawn, too, as is the very first value of all."""
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, _), browsing(complaints) as page:
        judged(database, "DELETE FROM telemetry WHERE seq > 60 AND seq <> ALL(%s) RETURNING true", left)
        judged(database, _SAY_NOW, "first", 5)
        await log_in(page, url)
        await page.goto(f"{url}/customer/devices/dev-1?range=6h")
        await eventually(lambda: page.evaluate(_INK, ["first", LIGHT, 0.5, 1]), what="the first value")
        await eventually(lambda: page.evaluate(_INK, ["temp", LIGHT, 0.94, 1]), what="the line")
        await eventually(lambda: page.evaluate(_INK, ["temp", LIGHT, 0, 0.94]), what="the values long before")
    assert complaints == []


async def test_colours_follow_the_theme(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, _), browsing(complaints) as page:
        await log_in(page, url)
        await page.wait_for_selector('figure[data-chart="messages"][data-drawn="1441"] canvas')
        await page.goto(f"{url}/customer/devices/dev-1")
        await page.wait_for_selector('figure[data-chart="temp"][data-drawn="120"] canvas')
        await eventually(lambda: page.evaluate(_INK, ["temp", LIGHT, 0, 1]), what="a line in light")
        await page.emulate_media(color_scheme="dark")
        await eventually(lambda: page.evaluate(_INK, ["temp", DARK, 0, 1]), what="a line in dark")
        await page.evaluate("document.documentElement.dataset.theme = 'light'")
        await eventually(lambda: page.evaluate(_INK, ["temp", LIGHT, 0, 1]), what="a line in light again")
        assert await violations(page) == []
    assert complaints == []


async def test_without_scripts_it_can_be_read(database: Database, tmp_path: Path) -> None:
    async with site(database, tmp_path) as (url, _), browsing([]) as page:
        await log_in(page, url)
        assert page.context.browser is not None
        held = await page.context.storage_state()
        plain = await page.context.browser.new_context(java_script_enabled=False, storage_state=held)
        bare = await plain.new_page()
        await bare.goto(f"{url}/customer/devices/dev-1")
        figure = bare.locator('figure[data-chart="temp"]')
        await figure.get_by_text("lowest 21, highest 140").wait_for()
        await figure.get_by_text("As a table").click()
        await figure.get_by_role("cell", name="21", exact=True).wait_for()
        await plain.close()


async def test_ranges_and_events_are_drawn_behind_the_numbers(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    async with site(database, tmp_path) as (url, services), browsing(complaints) as page:
        judged(
            database,
            "INSERT INTO metric_catalogue (tenant_id, name, unit, high, updated_by)"
            " VALUES ('tenant-a', 'temp', %s, 100, 'x') RETURNING true",
            EVIL,
        )
        await log_in(page, url)
        await page.goto(f"{url}/customer/devices/dev-1?range=1h")
        await page.get_by_text("Updates by itself").wait_for()
        await page.wait_for_selector('figure[data-chart="temp"][data-drawn="120"] canvas')
        assert await page.locator('figure[data-chart="temp"] .chart-range').inner_text() == f"range at most 100 {EVIL}"
        await eventually(lambda: page.evaluate(_INK, ["temp", BOUND, 0.2, 0.7]), what="the bound")
        assert await page.evaluate(_INK, [EVIL, BOUND, 0.2, 0.7]) == 0, "nothing is said of the other"
        assert await page.evaluate(_INK, ["temp", EVENT, 0, 1]) == 0

        judged(
            database,
            "INSERT INTO telemetry VALUES ('tenant-a', 'dev-1', now() - interval '20 min', -1, now(), 'event', 's', 0,"
            " jsonb_build_object('what', %s::text)) RETURNING true",
            EVIL,
        )
        services.board.note("tenant-a", Kind.DEVICES, ["dev-1"])
        await page.locator("[data-event-at]").get_by_text(f"what: {EVIL}").wait_for()
        services.board.note("tenant-a", Kind.DEVICES, ["dev-1"])

        await eventually(lambda: page.evaluate(_INK, ["temp", EVENT, 0.4, 0.9]), what="the event")
        assert await violations(page) == []
    assert complaints == []
