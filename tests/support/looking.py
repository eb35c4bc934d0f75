"""What somebody who looks at a page in a real browser may find wrong with it: with any eyes, on any screen."""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

from playwright.async_api import TimeoutError as TooLong
from playwright.async_api import async_playwright

from support.chromium import CHROMIUM
from support.people import PASSWORD
from support.tree import ROOT
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from playwright.async_api import Browser, Page, Request

AXE: Final = ROOT / "frontend/node_modules/axe-core/axe.min.js"
"""Fetched by ``make`` with npm."""
_WIDE_PX: Final = 1280
_TAGS: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_OF_LOOKS: Final = ["color-contrast", "link-in-text-block", "target-size"]
"""Rules that look at colours and sizes: the only ones that a theme or a width can break by itself."""
ONCE_EACH: Final = (("light", 1280), ("dark", 375))
"""Each theme and each width: here axe tries all of its rules."""
ALL_FOUR: Final = (*ONCE_EACH, ("dark", 1280), ("light", 375))
_GRAVE: Final = ("serious", "critical")

_WATCH = """
    window.violations = [];
    document.addEventListener("securitypolicyviolation",
        e => window.violations.push(`${e.violatedDirective} ${e.blockedURI}`));
"""
_BASICS = """() => {
    const found = [];
    const levels = [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")].map(one => Number(one.tagName[1]));
    const firsts = levels.filter(level => level === 1).length;
    if (firsts !== 1) found.push(`${firsts} h1`);
    levels.forEach((level, at) => {
        if (level > (levels[at - 1] ?? 0) + 1) found.push(`h${level} after h${levels[at - 1] ?? 0}`);
    });
    if (document.documentElement.lang !== "en") found.push("no language");
    if (document.title.replace("OpsConductor-Pulse", "").trim().length < 3) found.push(`title ${document.title}`);
    return [...found, ...window.violations.map(one => `refused by the policy: ${one}`)];
}"""
_FOLLOWED_MS = 5000
_TOO_WIDE = """() => {
    const wide = document.documentElement.scrollWidth;
    if (wide <= innerWidth) return [];
    const scrolls = one => one && (getComputedStyle(one).overflowX !== "visible" || scrolls(one.parentElement));
    const who = [...document.body.querySelectorAll("*")]
        .filter(one => one.getBoundingClientRect().right > innerWidth + 1 && !scrolls(one.parentElement))
        .map(one => `<${one.tagName.toLowerCase()} class="${one.className}">`);
    return [`${wide} px wide: ${who.slice(-3).join(" ")}`];
}"""
_JUDGE = """async ([tags, rules]) => {
    const only = rules ? { type: "rule", values: rules } : { type: "tag", values: tags };
    const how = { runOnly: only, resultTypes: ["violations"], selectors: false, iframes: false, preload: false };
    const { violations } = await axe.run(document, how);
    const where = one => one.nodes.slice(0, 3).map(node => node.html.slice(0, 160)).join(" | ");
    return violations.map(one => [one.impact, `${one.id}: ${where(one)}`]);
}"""


class Visitor:
    """A page of a browser, and what its console complained of."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self._asked: set[Request] = set()
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        page.on("request", self._begin)
        page.on("requestfinished", self._end)
        page.on("requestfailed", self._end)

    async def log_in(self, name: str) -> None:
        """Through the form, as a person does."""
        await self.page.goto(f"{self.url}/login")
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_label("Password").fill(PASSWORD)
        await self.page.get_by_role("button", name="Log in").click()
        await self.page.wait_for_url(lambda url: not url.endswith("/login"), wait_until="commit")

    async def log_in_with(self, cookies: Mapping[str, str]) -> None:
        """Take over a session."""
        await self.page.context.add_cookies(
            [
                {"name": name, "value": value, "url": self.url.replace("http:", "https:"), "secure": True}
                for name, value in cookies.items()
            ]
        )

    async def open(self, path: str, status: int = 200) -> list[str]:
        """Go there, wait until nothing is loading any more, and say what is wrong without looking closer."""
        self.complaints.clear()
        self._asked.clear()
        answer = await self.page.goto(self.url + path, wait_until="load")
        assert answer is not None
        await until(lambda: not self._asked, within_s=15, what=f"{path}: the end of loading")
        complaints = [each for each in self.complaints if status == 200 or f"status of {status}" not in each]
        found = [] if answer.status == status else [f"answered {answer.status}"]
        found += [f"led on to {answer.url}"] if answer.request.redirected_from else []
        return [*found, *complaints]

    async def look(self, ways: Sequence[tuple[str, int]] = ALL_FOUR) -> list[str]:
        """What is wrong with the page that is open, in some themes and widths."""
        if not await self.page.evaluate("typeof axe === 'object'"):
            await self.page.evaluate(AXE.read_text())
        found = list(await self.page.evaluate(_BASICS))
        for theme, width in ways:
            await self.page.emulate_media(color_scheme="dark" if theme == "dark" else "light", reduced_motion="reduce")
            await self.page.set_viewport_size({"width": width, "height": 900})
            rules = None if (theme, width) in ONCE_EACH else _OF_LOOKS
            wrong = [*await self.too_wide(), *await self._judged(rules)]
            found += [f"{theme}, {width} px: {each}" for each in wrong]
        return found

    async def too_wide(self) -> list[str]:
        """What sticks out of the window, if it can be scrolled sideways, and stays so: charts follow in a moment."""
        with suppress(TooLong):
            await self.page.wait_for_function(f"() => !({_TOO_WIDE})().length", timeout=_FOLLOWED_MS)
        found: list[str] = await self.page.evaluate(_TOO_WIDE)
        return found

    async def _judged(self, rules: Sequence[str] | None) -> list[str]:
        """What axe calls serious or critical; by some rules, or by all of the standard."""
        said: list[list[str]] = await self.page.evaluate(_JUDGE, [_TAGS, rules])
        return [what for impact, what in said if impact in _GRAVE]

    def _begin(self, asked: Request) -> None:
        if asked.resource_type != "eventsource":
            self._asked.add(asked)

    def _end(self, asked: Request) -> None:
        self._asked.discard(asked)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """One browser for all."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visiting(browser: Browser, url: str, **context: Any) -> AsyncIterator[Visitor]:
    """Somebody with cookies of their own."""
    made = await browser.new_context(viewport={"width": _WIDE_PX, "height": 900}, **context)
    try:
        page = await made.new_page()
        await page.add_init_script(_WATCH)
        yield Visitor(page, url)
    finally:
        await made.close()
