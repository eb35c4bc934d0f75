"""Other people's packages under our Content-Security-Policy, in a real browser: they work, and nothing is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from quart import Response, render_template_string

from support.pages import CHROMIUM, FETCHED, browsing, closed_app, serving, violations

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.skipif(not FETCHED, reason="needs what `make` fetches with npm"),
]

PAGE = """<!doctype html><html lang="en"{% if theme %} data-theme="{{ theme }}"{% endif %}>
<head><meta charset="utf-8"><title>t</title><link rel="icon" href="{{ asset('pulse.svg') }}">
{% import "assets.html" as assets with context %}{{ assets.head() }}{{ assets.charts() }}
<script src="/trial.js" defer></script></head>
<body><main>{{ assets.notice() }}
<button id="ask" hx-get="/part" hx-target="#part">Ask</button><div id="part"></div>
<select id="choice"><option>one</option></select><label><input type="checkbox" checked> yes</label>
<label><input type="radio" name="r" checked> one</label><input type="search" id="q"><input type="date">
<input type="time"><input aria-invalid="true"><input aria-invalid="false"><details open><summary>s</summary>d</details>
<p aria-busy="true">wait</p><div id="chart"></div></main></body></html>"""

TRIAL = """
const chart = new uPlot({width: 400, height: 200, scales: {x: {time: true}},
    series: [{}, {stroke: "red", label: "<img src=x onerror=document.title='owned'>"}]},
    [[1, 2, 3], [3, 1, 2]], document.getElementById("chart"));
chart.setCursor({left: 100, top: 50});
chart.setScale("x", {min: 1, max: 2});
document.title = "drawn";
"""


@pytest.mark.parametrize(("scheme", "theme"), [("light", "dark"), ("dark", "light"), ("dark", "")])
async def test_they_work_and_nothing_is_refused(tmp_path: Path, scheme: str, theme: str) -> None:
    app = closed_app(tmp_path)

    @app.get("/trial")
    async def trial() -> str:
        return await render_template_string(PAGE, theme=theme)

    @app.get("/trial.js")
    async def script() -> Response:
        return Response(TRIAL, content_type="text/javascript")

    @app.get("/part")
    async def part() -> str:
        return '<p id="told">told</p><script>document.title = "owned"</script><b hx-on:click="document.title = 1">x</b>'

    complaints: list[str] = []
    async with serving(app) as url, browsing(complaints, theme=scheme) as page:
        await page.goto(f"{url}/trial", wait_until="networkidle")
        await page.click("#ask")
        await page.wait_for_selector("#told")
        await page.click("#part b")
        await page.wait_for_selector("#chart canvas")
        assert await page.title() == "drawn"
        assert await page.locator("#chart img").count() == 0
        assert await page.locator("style").count() == 0
        ground = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        shown_dark = (theme or scheme) == "dark"
        assert (sum(map(int, ground.removeprefix("rgb(").rstrip(")").split(", "))) < 200) is shown_dark, ground
        arrow = await page.evaluate("getComputedStyle(document.getElementById('choice')).backgroundImage")
        assert arrow.startswith(f'url("{url}/assets/')
        assert (await page.request.get(arrow.removeprefix('url("').removesuffix('")'))).ok
        assert await violations(page) == []
    assert complaints == ["htmx:evalDisallowedError"]  # of the part that asked for it
