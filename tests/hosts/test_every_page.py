"""Every page in a real browser, for everybody: nothing that axe calls grave, nothing refused, nothing too wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from support.chromium import CHROMIUM
from support.every_page import NOBODY, VISITORS
from support.inhabited import BROKEN, World, inhabited
from support.looking import ALL_FOUR, AXE, ONCE_EACH, Visitor, chromium, visiting
from support.pages import FETCHED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from playwright.async_api import Browser

    from support.database import PostgresServer

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.skipif(not FETCHED, reason="needs what `make` fetches with npm"),
    pytest.mark.skipif(not AXE.is_file(), reason="needs axe-core, which `make` fetches with npm"),
]

OF_OTHERS = ("/docs",)
"""Swagger UI: its markup is not ours. Its policy and its width are looked at in test_docs_page.py."""
ERRORS = {
    "/customer/devices/nothing-is-called-so": (404, "customer_admin"),
    "/customer/devices?status=NONSENSE": (422, "customer_admin"),
    "/operator/plugins": (403, "customer_viewer"),
    BROKEN: (500, NOBODY),
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    database = postgres.fresh()
    async with inhabited(database, tmp_path_factory.mktemp("data")) as found:
        yield found
    database.drop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


async def test_every_route_for_browsers_is_visited(world: World) -> None:
    assert world.found.silent == [], "say in support/every_page.py what they are to be asked for"
    assert {name: len(paths) > 3 for name, paths in world.found.pages.items()} == dict.fromkeys(VISITORS, True)


def ways(world: World, name: str, path: str) -> Sequence[tuple[str, int]]:
    """One page of each route is looked at most closely, as whoever may do most with it sees it."""
    before = {each for other in VISITORS[: VISITORS.index(name)] for each in world.found.pages[other]}
    return ALL_FOUR if path in world.found.few[name] and path not in before else ONCE_EACH


@pytest.mark.parametrize("name", VISITORS)
async def test_nothing_is_wrong_with_any_page(world: World, browser: Browser, name: str) -> None:
    wrong = {}
    async with visiting(browser, world.url) as visitor:
        if name != NOBODY:
            await visitor.log_in(name)
        for path in world.found.pages[name]:
            found = await visitor.open(path)
            if path not in OF_OTHERS:
                found += await visitor.look(ways(world, name, path))
            wrong[path] = found
    assert {path: found for path, found in wrong.items() if found} == {}


async def test_nothing_is_wrong_with_pages_that_say_what_went_wrong(world: World, browser: Browser) -> None:
    wrong = {}
    for path, (status, name) in ERRORS.items():
        async with visiting(browser, world.url) as visitor:
            if name != NOBODY:
                await visitor.log_in(name)
            wrong[path] = [*await visitor.open(path, status), *await visitor.look()]
    async with visiting(browser, world.url, extra_http_headers={"Authorization": "Bearer nobody"}) as visitor:
        wrong["401"] = [*await visitor.open("/customer/dashboard", 401), *await visitor.look()]
    async with visiting(browser, world.url) as visitor:
        await visitor.log_in("customer_viewer")
        await visitor.page.get_by_role("button", name="Log out").click()
        await visitor.page.wait_for_load_state()
        wrong["logged out"] = await visitor.look()
    assert {path: found for path, found in wrong.items() if found} == {}


BAD = """() => {
    document.documentElement.lang = "";
    document.title = "";
    const main = document.getElementById("main");
    main.innerHTML = "<h1>One</h1><h1>Two</h1><h4>Four</h4><img src='/static/pulse.svg'><p class='x'>pale</p>"
        + "<pre class='w'>" + "x".repeat(400) + "</pre><form><input></form>";
    main.querySelector(".x").style.cssText = "color: #ddd; background: #fff";
    const inline = document.createElement("script");
    inline.textContent = "1";
    document.body.append(inline);
    main.querySelector(".w").style.cssText = "overflow: visible; width: max-content";
}"""


async def test_what_is_wrong_is_seen(world: World, browser: Browser) -> None:
    """The control: a page with a bit of everything wrong."""
    async with visiting(browser, world.url) as visitor:
        assert await visitor.open("/login") == []
        await visitor.page.evaluate(BAD)
        found = "\n".join(await visitor.look())
        assert await Visitor(visitor.page, world.url).open("/nothing-there") != []
    for sign in ("2 h1", "h4 after h1", "no language", "title ", "refused by the policy: script-src"):
        assert sign in found
    for sign in ("light, 1280 px: ", "dark, 375 px: "):
        assert f"{sign}color-contrast" in found
    assert "image-alt" in found
    assert "light, 1280 px: label" in found
    assert "375 px: " in found
    assert "px wide: <pre" in found
