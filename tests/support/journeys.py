"""People at real browsers and devices at real sockets, for journeys through the product as it is run."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.error
import urllib.request
from contextlib import asynccontextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING, Any

from playwright.async_api import expect

from pulse_accounts.development import PASSWORD
from support import mqtt311
from support.pages import browsing
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from playwright.async_api import Locator, Page

    from support.product import Product

WITHIN_S = 20.0
"""So long a page may take to show something: a busy machine's, not what we aim at."""
expect.set_options(timeout=WITHIN_S * 1000)
_TELL_VIOLATIONS = """
    document.addEventListener("securitypolicyviolation",
        e => window.violated(`${e.violatedDirective} ${e.blockedURI}`));
"""
_APPEARS = """([selector, text]) => new Promise(done => {
    const look = () => {
        if ([...document.querySelectorAll(selector)].some(each => each.textContent.includes(text))) done(true);
    };
    const all = { childList: true, subtree: true, characterData: true };
    new MutationObserver(look).observe(document.documentElement, all);
    look();
})"""


class Person:
    """Somebody at a browser. What the browser complains of must be what was expected, when they leave."""

    def __init__(self, page: Page, url: str, complaints: list[str]) -> None:
        self.page = page
        self.url = url
        self.complaints = complaints

    async def log_in(self, name: str, password: str = PASSWORD) -> None:
        await self.page.goto(f"{self.url}/login")
        await self.page.get_by_label("Name").fill(name)
        await self.page.get_by_label("Password").fill(password)
        await self.press("Log in")
        await self.is_at("Dashboard")

    async def go(self, title: str) -> None:
        """By the navigation, to a page that is called the same."""
        await self.places.get_by_role("link", name=title, exact=True).click()
        await self.is_at(title)

    @property
    def places(self) -> Locator:
        return self.page.get_by_role("navigation", name="Pages")

    async def follow(self, name: str) -> None:
        await self.page.get_by_role("main").get_by_role("link", name=name, exact=True).first.click()

    async def press(self, name: str) -> None:
        await self.page.get_by_role("button", name=name, exact=True).click()

    async def fill(self, values: Mapping[str, str]) -> None:
        """Boxes, by their labels."""
        for label, value in values.items():
            await self.box(label).fill(value)

    def box(self, label: str) -> Locator:
        """The first box of this label, whether it says that it is needed or not."""
        labelled = self.page.get_by_role("main").get_by_label
        return labelled(label, exact=True).or_(labelled(f"{label} (required)", exact=True)).first

    async def is_at(self, heading: str) -> None:
        await expect(self.page.get_by_role("heading", level=1)).to_contain_text(heading)

    async def sees(self, text: str, within: str = "main") -> None:
        """Wait until the text stands in ``within``, a selector."""
        await expect(self.page.locator(within).filter(has_text=text).first).to_be_visible()

    async def listens(self) -> None:
        """Wait until the page is told of what changes: from now on it must keep up by itself."""
        await self.page.get_by_text("Updates by itself").wait_for()

    async def until_shown(self, selector: str, text: str, since: float) -> float:
        """Wait for the page, as it is, to show the text there; how long after ``since`` that was (s)."""
        async with asyncio.timeout(WITHIN_S):
            await self.page.evaluate(_APPEARS, [selector, text])
        return time.monotonic() - since

    async def was_refused(self, status: int) -> None:
        """The console tells of the one page that was answered with this status: as it should."""
        await until(lambda: self.complaints, what="a word in the console")
        assert [f"status of {status} " in each for each in self.complaints] == [True], self.complaints
        self.complaints.clear()

    async def forges(self, path: str, **form: str) -> int:
        """What a form of nobody's is answered that carries the session and its token."""
        held = await self.page.request.get(f"{self.url}/api/auth/status", headers={"Accept": "application/json"})
        token = (await held.json())["session"]["csrf_token"]
        answer = await self.page.request.post(
            f"{self.url}{path}",
            form={"csrf_token": token, **form},
            headers={"Accept": "text/html", "Origin": self.url},
            max_redirects=0,
        )
        return answer.status


@asynccontextmanager
async def somebody(product: Product, *, width: int = 1280, theme: str = "light") -> AsyncIterator[Person]:
    """A person with a browser of their own, who is not logged in yet."""
    complaints: list[str] = []
    async with browsing(complaints, width=width, theme=theme) as page:
        page.set_default_timeout(WITHIN_S * 1000)
        await page.expose_function("violated", lambda told: complaints.append(told))  # noqa: PLW0108 - it takes no method
        await page.add_init_script(_TELL_VIOLATIONS)
        yield Person(page, f"http://localhost:{product.web_port}", complaints)
    assert complaints == []


class Device:
    """A device that was registered: it has its code, or its token."""

    def __init__(self, product: Product, tenant_id: str, device_id: str, site_id: str) -> None:
        self.tenant_id = tenant_id
        self.device_id = device_id
        self.token = ""
        self._site_id = site_id
        self._mqtt = f"mqtt://127.0.0.1:{product.mqtt_port}"
        self._http = f"http://127.0.0.1:{product.http_port}"
        self._topic = f"tenant/{tenant_id}/device/{device_id}/telemetry"

    def activate(self, code: str) -> int:
        """Trade the code for the token; the status."""
        status, granted = post(f"{self._http}/api/device/activate", {"code": code})
        if status == 200:
            assert (granted["tenant_id"], granted["device_id"]) == (self.tenant_id, self.device_id)
            self.token = str(granted["token"])
        return status

    def say(self, *, token: str | None = None, **metrics: float) -> int:
        """Send a reading over HTTP; the status."""
        return post(
            f"{self._http}/ingest/v1/{self._topic}", self._body(metrics), self.token if token is None else token
        )[0]

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Talking]:
        """It over MQTT, logged in."""
        username = f"{self.tenant_id}/{self.device_id}"
        async with mqtt311.logged_in(self._mqtt, username, self.token, self.device_id) as client:
            yield Talking(client, self._topic, self._body)

    def _body(self, metrics: dict[str, float]) -> dict[str, Any]:
        return {"site_id": self._site_id, "metrics": metrics}


class Talking:
    """A device's connection."""

    def __init__(self, client: mqtt311.Client, topic: str, body: Any) -> None:
        self._client = client
        self._topic = topic
        self._body = body
        self._ids = count(1)

    async def publish(self, **metrics: float) -> float:
        """Send a reading with QoS 1; the time of its PUBACK (monotonic)."""
        packet_id = next(self._ids)
        payload = json.dumps(self._body(metrics)).encode()
        self._client.write(mqtt311.publish(self._topic, payload, packet_id=packet_id))
        assert await self._client.read() == mqtt311.puback(packet_id)
        return time.monotonic()

    @asynccontextmanager
    async def at_work(self, every_s: float, **metrics: float) -> AsyncIterator[None]:
        """It sends the same again and again, and falls silent at the end."""
        silent = asyncio.Event()

        async def work() -> None:
            while not silent.is_set():
                await self.publish(**metrics)
                with suppress(TimeoutError):
                    async with asyncio.timeout(every_s):
                        await silent.wait()

        working = asyncio.create_task(work())
        try:
            yield
        finally:
            silent.set()
            await working


def registered(product: Product, tenant_id: str, device_id: str, **more: Any) -> Device:
    """A device that somebody registered and activated before."""
    made = Device(product, tenant_id, device_id, "site-1")
    product.admin("devices", {"tenant_id": tenant_id, "device_id": device_id, "site_id": "site-1", **more})
    assert made.activate(product.admin(f"devices/{tenant_id}/{device_id}/activate-code", method="POST")["code"]) == 200
    return made


def post(url: str, body: Any, token: str = "") -> tuple[int, Any]:
    """POST as a device does."""
    headers = {"Content-Type": "application/json", **({"X-Provision-Token": token} if token else {})}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method="POST")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
