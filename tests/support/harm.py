"""What a text has done to a page, in a real browser and in the HTML alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from support.browser_forms import Page as Html
from support.poison import PRODUCT

if TYPE_CHECKING:
    from playwright.async_api import Page

_GOOD: Final = ("http:", "https:", "mailto:")
_LEADS: Final = ("href", "src", "action", "formaction", "hx-get", "hx-post", "data")
_HARM = """([product, good]) => {
    const found = [];
    if ("owned" in window) found.push("a script ran");
    if (document.title === "OWNED") found.push("the title was changed");
    if (document.querySelector("[data-owned]")) found.push("a text became an element, or an attribute of one");
    if (document.documentElement.textContent.includes(product)) found.push("a template was computed");
    for (const one of document.querySelectorAll("*")) {
        for (const { name } of one.attributes)
            if (/^(on|hx-on)/i.test(name)) found.push(`<${one.localName} ${name}>`);
        for (const name of ["href", "src", "action"]) {
            const to = one.getAttribute(name);
            if (to !== null && !good.includes(new URL(to, document.baseURI).protocol)) found.push(`${name}: ${to}`);
        }
        if (one.localName === "script" && (!one.src || new URL(one.src).origin !== location.origin))
            found.push("a script that is not ours");
    }
    if (document.baseURI !== location.href.split("#")[0]) found.push("another base");
    return [...found, ...window.violations.map(one => `refused by the policy: ${one}`)];
}"""


async def harm(page: Page) -> list[str]:
    """What happened on the page that is open."""
    found: list[str] = await page.evaluate(_HARM, [PRODUCT, _GOOD])
    return found


def harm_in(html: str) -> list[str]:
    """What would happen, as far as HTML tells without a browser."""
    page = Html(html)
    found = []
    for tag, attributes in page.elements:
        names = [name for name in attributes if name == "data-owned" or name.startswith(("on", "hx-on", "style"))]
        leads = {name: (attributes[name] or "").strip().lower() for name in _LEADS if name in attributes}
        found += [f"<{tag} {name}>" for name in names]
        found += [f"{name}: {to}" for name, to in leads.items() if to.startswith(("javascript:", "data:", "//"))]
        if tag == "script" and "src" not in attributes:
            found.append("a script inside the page")
    return found + (["a template was computed"] if PRODUCT in html else [])
