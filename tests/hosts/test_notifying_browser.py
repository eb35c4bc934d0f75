"""Who is told of what, in a real browser: a channel that only this test installs, routes, deliveries, replays."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.clock import SystemClock
from pulse_core.config import DEFAULT_PLUGINS, load_config
from pulse_core.delivery import Channels, DeliveryEngine
from pulse_core.notices import Board, Kind
from pulse_core.plugins import load_plugins
from pulse_core.secrets import SecretBox
from pulse_postgres.delivery.outbox import PostgresDeliveries
from pulse_postgres.notices import Teller
from pulse_postgres.pool import open_pool
from pulse_server.services import Lender
from support.batches import integrate, judged
from support.delivering import running
from support.distributions import Workshop
from support.pages import CHROMIUM, FETCHED, browsing, violations
from support.people import person
from support.site import hearing, log_in
from support.told import a_delivery, an_alert

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pulse_core.config import Config
    from pulse_core.plugin_set import Plugins
    from pulse_server.web.services import Services
    from support.database import Database

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium"),
    pytest.mark.skipif(not FETCHED, reason="needs what `make` fetches with npm"),
]

SECRET = "the key of the siren"
SHAPE = "link => [link.className, ...[...link.querySelectorAll('*')].map(each => `${each.tagName} ${each.className}`)]"
EVIL = "<img src=x onerror=document.title='owned'>{{ 7 * 7 }}"
SIREN = '''
"""Sounds a siren on the roof."""
import asyncio
from enum import StrEnum
from pulse_core.api import Channel, Field, IntegrationConfig, PermanentFailure, SecretStr, hookimpl

class Tone(StrEnum):
    LOW = "low"
    HIGH = "high"
    WAIL = "wail"
    YELP = "yelp"

class SirenConfig(IntegrationConfig):
    tone: Tone
    """Which tone."""
    seconds: int = Field(5, ge=1, le=60)
    """For how long."""
    key: SecretStr
    zones: list[str] = Field(default=[], max_length=3)

class Siren(Channel[SirenConfig]):
    name = "siren"
    integration_type = SirenConfig
    gate = asyncio.Event()
    heard = []

    async def send(self, notification):
        await self.gate.wait()
        self.heard.append((self.integration.tone.value, self.integration.seconds,
                           self.integration.key.get_secret_value(), list(self.integration.zones)))
        if self.integration.seconds == 13:
            raise PermanentFailure("EVIL")
        return "EVIL"

@hookimpl
def pulse_register_channels():
    return [Siren]
'''.replace("EVIL", EVIL)


@asynccontextmanager
async def site(
    database: Database, config: Config, plugins: Plugins, *, delivers: bool = True
) -> AsyncIterator[tuple[str, Services]]:
    """The application with a tenant and its admin, ada, and a delivery engine with the same plugins."""
    judged(database, "INSERT INTO tenants (tenant_id) VALUES ('tenant-a') RETURNING true")
    person(database)
    async with AsyncExitStack() as stack:
        found = await stack.enter_async_context(hearing(database, config, plugins))
        if delivers:
            await stack.enter_async_context(delivering(database, config, plugins))
        yield found


@asynccontextmanager
async def delivering(database: Database, config: Config, plugins: Plugins) -> AsyncIterator[None]:
    """The deliver role's engine, which tells what becomes of deliveries."""
    lender, board, dsn = Lender(config), Board(), database.dsn("pulse_deliver")
    pool = await open_pool(dsn, name="test", max_size=4)
    teller = asyncio.create_task(Teller(pool, board).run())
    channels = Channels(plugins.channels, plugins.config_of, SecretBox(database.secret_key), lender.to)
    store = PostgresDeliveries(pool, dsn, board)
    try:
        async with running(DeliveryEngine(store, channels, config.delivery, clock=SystemClock())):
            yield
    finally:
        teller.cancel()
        await lender.close()
        await pool.close()


@pytest.fixture
def siren(tmp_path: Path) -> Any:
    """The channel as somebody else's distribution; its module is loaded by :func:`installed`."""
    workshop = Workshop(tmp_path / "distributions")
    workshop.install("pulse-siren", {"siren": SIREN})
    yield
    workshop.close()


def installed(data_dir: Path, *more: str) -> tuple[Config, Plugins]:
    """Our plugins and ``more``."""
    config = load_config(
        None, mode="dev", data_dir=data_dir, plugins={"enabled": [*DEFAULT_PLUGINS, *more]}, limits=UNLIMITED
    )
    return config, load_plugins(config)


UNLIMITED = {"writes_per_s": 0, "address_writes_per_s": 0, "failures_per_minute": 0}


async def test_a_strangers_channel_has_its_card_its_form_and_its_test(
    siren: None, database: Database, tmp_path: Path
) -> None:
    config, plugins = installed(tmp_path, "siren")
    channel: Any = plugins.channels["siren"]
    complaints: list[str] = []
    async with site(database, config, plugins) as (url, _), browsing(complaints) as page:
        await log_in(page, url)
        await page.goto(f"{url}/customer/integrations")
        ours = page.get_by_role("link", name="webhook")
        theirs = page.get_by_role("link", name="siren")
        shapes = [await each.evaluate(SHAPE) for each in (ours, theirs)]
        assert shapes[0] == shapes[1], "nobody sees who wrote it"
        await theirs.click()

        assert await page.get_by_label("Tone").locator("option").all_inner_texts() == [
            "choose …", "low", "high", "wail", "yelp",
        ]  # fmt: skip
        await page.get_by_label("Name (required)").fill("roof")
        await page.get_by_label("Seconds").fill("61")
        await page.get_by_role("button", name="Add", exact=True).click()
        await page.get_by_role("heading", name="Please correct these 3").wait_for()
        for label in ("Tone", "Seconds", "Key"):
            assert await page.get_by_label(label).get_attribute("aria-invalid") == "true", label
        complaints.clear()  # the console tells of the status 422
        await page.get_by_label("Tone").select_option("wail")
        await page.get_by_label("Seconds").fill("7")
        await page.get_by_label("Key").fill(SECRET)
        await page.get_by_label("Zones").fill("north\nroof")
        await page.get_by_role("button", name="Add", exact=True).click()
        await page.get_by_role("heading", name="roof").wait_for()
        assert SECRET not in await page.content()
        assert judged(database, "SELECT config FROM integrations") == [
            ({"tone": "wail", "seconds": 7, "key": "********", "zones": ["north", "roof"]},)
        ]

        await page.get_by_role("button", name="Send a test").click()
        await page.get_by_text("Connecting: an attempt is under way").first.wait_for()
        channel.gate.set()
        await page.get_by_text("The test arrived.").wait_for()
        assert await page.get_by_text(EVIL, exact=True).is_visible()
        assert channel.heard == [("wail", 7, SECRET, ["north", "roof"])]
        await page.get_by_role("link", name="roof").first.click()
        assert await page.locator("meter").get_attribute("value") == "1"
        assert await page.title() != "owned"
        assert await violations(page) == []
    assert complaints == []


async def test_a_secret_stays_until_another_is_typed(siren: None, database: Database, tmp_path: Path) -> None:
    config, plugins = installed(tmp_path, "siren")
    channel: Any = plugins.channels["siren"]
    channel.gate.set()
    complaints: list[str] = []
    async with site(database, config, plugins) as (url, _), browsing(complaints) as page:
        await log_in(page, url)
        await page.goto(f"{url}/customer/integrations/siren/new")
        await page.get_by_label("Name (required)").fill("roof")
        await page.get_by_label("Tone").select_option("low")
        await page.get_by_label("Key").fill(SECRET)
        await page.get_by_role("button", name="Add", exact=True).click()
        await page.get_by_role("heading", name="roof").wait_for()
        await page.get_by_role("link", name="Change").click()
        await page.get_by_role("button", name="Key: Replace the stored value").wait_for()
        assert SECRET not in await page.content()
        await page.get_by_label("Seconds").fill("13")
        await page.get_by_role("button", name="Save").click()
        await page.get_by_role("heading", name="roof").wait_for()
        await page.get_by_role("button", name="Send a test").click()
        await page.get_by_text("The test did not arrive.").wait_for()
        assert channel.heard == [("low", 13, SECRET, [])], "its secret stayed"

        await page.get_by_role("link", name="roof").first.click()
        await page.get_by_role("link", name="Change").click()
        await page.get_by_role("button", name="Key: Replace the stored value").press("Enter")
        assert await page.evaluate("document.activeElement.type") == "password"
        await page.keyboard.type("another key")
        await page.get_by_role("button", name="Save").click()
        await page.get_by_role("button", name="Send a test").click()
        await page.get_by_text("The test did not arrive.").wait_for()
        assert channel.heard[-1][2] == "another key"
        assert await violations(page) == []
    assert complaints == []


async def test_a_route_tells_what_it_would_have_sent_while_it_is_written(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    async with site(database, *installed(tmp_path)) as (url, _), browsing(complaints, width=375) as page:
        integrate(database)
        an_alert(database, decisions={"OPEN": [], "CLOSED": []})
        await log_in(page, url)
        await page.goto(f"{url}/customer/integration-routes/new")
        preview = page.locator("#preview")
        await preview.get_by_text("1 notification", exact=True).wait_for()
        await page.get_by_label("Closed", exact=True).check()
        await preview.get_by_text("2 notifications", exact=True).wait_for()
        await page.get_by_label("Sites").fill("site-9")
        await preview.get_by_text("0 notifications", exact=True).wait_for()
        await page.get_by_label("Sites").fill("no site")
        await preview.get_by_text("Correct what is wrong").wait_for()
        await page.get_by_label("Sites").fill("")
        await page.get_by_label("Integration (required)").select_option(label="hook (webhook)")
        await preview.get_by_text("2 notifications", exact=True).wait_for()
        assert judged(database, "SELECT count(*) FROM integration_routes") == [(0,)]
        await page.get_by_role("button", name="Add", exact=True).click()
        await page.get_by_text("Every alert → hook, on open and close").wait_for()
        assert await page.evaluate("document.documentElement.scrollWidth") <= 375
        assert await violations(page) == []
    assert complaints == []


async def test_a_replay_of_many_fills_its_bar(database: Database, tmp_path: Path) -> None:
    complaints: list[str] = []
    by_hand = site(database, *installed(tmp_path), delivers=False)
    async with by_hand as (url, services), browsing(complaints) as page:
        hook = integrate(database)
        old = [a_delivery(database, hook, "DEAD") for _ in range(3)]
        await log_in(page, url)
        await page.goto(f"{url}/customer/deliveries?status=DEAD")
        await page.get_by_text("Updates by itself").wait_for()
        await page.locator(f'input[value="{old[0]}"]').check()
        await page.locator(f'input[value="{old[1]}"]').check()
        a_delivery(database, hook, "DEAD", last_error=EVIL)
        services.board.note("tenant-a", Kind.DELIVERIES, None)
        await page.get_by_text(EVIL).wait_for()
        assert await page.get_by_role("button", name="Replay selected (2)").is_visible(), "read anew, still ticked"
        await page.get_by_role("button", name="Replay selected (2)").click()
        await page.get_by_role("button", name="Replay 2", exact=True).click()
        await page.get_by_role("heading", name="Replay of 2 deliveries").wait_for()
        await page.get_by_text("Updates by itself").wait_for()
        for done in (1, 2):
            finish = "UPDATE deliveries SET status = 'DELIVERED' WHERE cause = 'replay' AND caused_by = %s RETURNING 1"
            judged(database, finish, old[done - 1])
            services.board.note("tenant-a", Kind.DELIVERIES, None)
            await page.get_by_text(f"{done} of 2 are finished").wait_for()
            assert await page.locator("progress").evaluate("bar => bar.value") == done
        assert await violations(page) == []
    assert complaints == []


async def test_the_browser_has_no_advice_for_our_forms(database: Database, tmp_path: Path) -> None:
    """Chromium tells in its console when it takes a form for one in which people log in."""
    said: list[str] = []
    plugins = installed(tmp_path, "email", "mqtt_channel", "snmp")
    async with site(database, *plugins) as (url, services), browsing([]) as page:
        await log_in(page, url)
        page.on("console", lambda message: said.append(f"{page.url}: {message.text}"))
        for type_ in services.plugins.channels:
            await page.goto(f"{url}/customer/integrations/{type_}/new", wait_until="networkidle")
            assert await page.locator('input[type="text"]:not([autocomplete="off"])').count() == 0
    assert said == []
