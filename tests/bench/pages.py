"""What a person waits for while readings come in: a page's answer, its first load, a reading that shows itself."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from bench.figures import Bench, Figure, Fleet, Meter, percentile, say
from bench.lists import TENANT, dress
from pulse_core.principal import Role
from pulse_server.web.navigation import NAVIGATION
from support import mqtt311
from support.looking import Visitor, chromium, visiting
from support.people import hashed

if TYPE_CHECKING:
    import psycopg
    from playwright.async_api import Browser

    from support.product import Device, Product

RATE: Final = 1000
AIM_SERVER_MS, AIM_LOAD_S, AIM_FIRST_KB, AIM_SHOWN_S = 50, 1.0, 250, 1.0
USERS: Final = {Role.CUSTOMER_ADMIN: "ada", Role.OPERATOR_ADMIN: "olga"}
LOADED: Final = ("/customer/dashboard", "/customer/devices", "/customer/alerts")
"""Besides a device's: the pages that are loaded with nothing in the browser's cache."""

_ALERTS = """
    INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity, confidence,
        summary, opened_at, acknowledged_at, closed_at)
    SELECT %(tenant)s, md5('alert ' || n)::uuid, %(tenant)s || '-' || lpad((n * 7 %% %(devices)s)::text, 6, '0'), 's-1',
        'NO_HEARTBEAT', 'f-' || n, (ARRAY['OPEN', 'ACKNOWLEDGED', 'CLOSED'])[1 + n %% 3], 1 + n %% 5, 0.9,
        'silent for 45 s', now() - n * interval '20 s', now() - n * interval '19 s',
        CASE WHEN n %% 3 = 2 THEN now() - n * interval '18 s' END
    FROM generate_series(0, %(alerts)s - 1) AS n
"""
_CHANGES = """
    INSERT INTO alert_changes (tenant_id, alert_id, event, changed_at)
    SELECT tenant_id, alert_id, 'OPEN', opened_at FROM alerts
"""
_INTEGRATION = """
    INSERT INTO integrations (tenant_id, integration_id, type, name, config)
    VALUES (%(tenant)s, md5('integration')::uuid, 'webhook', 'on call', '{"url": "https://hooks.example.com/x"}')
"""
_DELIVERIES = """
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, alert_id, event, cause, status, notification,
        created_at, due_at, finished_at, last_error)
    SELECT tenant_id, md5(alert_id::text)::uuid, md5('integration')::uuid, alert_id, 'OPEN', 'alert',
        CASE WHEN severity = 5 THEN 'DEAD' ELSE 'DELIVERED' END, '{}', opened_at, opened_at, opened_at,
        CASE WHEN severity = 5 THEN 'no answer' END
    FROM alerts
"""
_OPERATOR = """
    INSERT INTO users (tenant_id, username, role, password_hash, created_by) VALUES ('', 'olga', %s, %s, 'bench')
"""
_WEIGHT = """() => {
    const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")];
    const [page] = performance.getEntriesByType("navigation");
    return [page.loadEventEnd - page.startTime, all.reduce((sum, one) => sum + one.transferSize, 0),
        page.transferSize, page.decodedBodySize];
}"""


@dataclass(frozen=True)
class Scale:
    """How much there is."""

    devices: int = 100_000
    alerts: int = 10_000
    rate: int = RATE
    asked: int = 100
    loaded: int = 5
    shown: int = 20


SMALL: Final = Scale(devices=1000, alerts=100, rate=50, asked=5, loaded=1, shown=3)


def pages(bench: Bench) -> list[Figure]:
    """Every page of the navigation with 100,000 devices, 10,000 alerts and 1,000 msg/s coming in; loads in Chromium."""
    scale = SMALL if bench.small else Scale()
    with bench.product(Fleet(TENANT, scale.devices), more_plugins=["accounts"]) as (product, (crowd,)):
        with product.superuser() as hand:
            furnish(hand, scale)
        load = bench.start_load(
            way="mqtt", port=product.mqtt_port, devices=crowd[:200], rate=scale.rate, seconds=3600, warmup_s=1.0
        )
        try:
            load.connected()
            return asyncio.run(_measured(product, crowd[len(crowd) // 2], scale))
        finally:
            load.kill()


def furnish(hand: psycopg.Connection[Any], scale: Scale) -> None:
    """Put alerts, what was sent of them, and people there."""
    values = {"tenant": TENANT, "devices": scale.devices, "alerts": scale.alerts}
    hand.execute(_INTEGRATION, values)
    hand.execute(_ALERTS, values)
    hand.execute(_CHANGES)
    hand.execute(_DELIVERIES)
    hand.execute(_OPERATOR, (str(Role.OPERATOR_ADMIN), hashed()))
    dress(hand)


async def _measured(product: Product, device: Device, scale: Scale) -> list[Figure]:
    figures = []
    url = f"http://localhost:{product.web_port}"
    async with chromium() as browser:
        for role, name in USERS.items():
            async with visiting(browser, url) as visitor:
                await visitor.log_in(name)
                cookies = {each["name"]: each["value"] for each in await visitor.page.context.cookies()}
                paths = [place.path for group in NAVIGATION[role] for place in group.places]
                if role.of_a_tenant:
                    paths += [f"/customer/devices/{device[1]}", "/customer/integrations/webhook/new"]
                    say("pages: a reading shows itself")
                    shown_s = await _shown_s(product, visitor, device, scale.shown)
            say(f"pages: asking as {role}")
            figures += await asyncio.to_thread(_answered, product, cookies, paths, scale)
            if role.of_a_tenant:
                say("pages: loading")
                loads = [f"/customer/devices/{device[1]}", *LOADED]
                figures += [await _loaded(browser, url, cookies, path, scale.loaded) for path in loads]
    return [*figures, _shown_figure(shown_s)]


def _answered(product: Product, cookies: dict[str, str], paths: list[str], scale: Scale) -> list[Figure]:
    """How long the server takes for each page; what is no page yet is left out."""
    connection = http.client.HTTPConnection("localhost", product.web_port, timeout=60)
    headers = {"Accept": "text/html", "Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
    figures = []
    for path in paths:
        took = []
        with Meter(product, "web") as spent:
            for _ in range(scale.asked):
                began = time.perf_counter()
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                body = answer.read()
                took.append(1000 * (time.perf_counter() - began))
                assert answer.status == 200, (path, answer.status, body[:500])
        if "text/html" in answer.headers["Content-Type"]:
            figures.append(_answer_figure(path, took, 1000 * spent.role_s / len(took)))
    connection.close()
    return figures


def _answer_figure(path: str, took: list[float], cpu_ms: float) -> Figure:
    p50, p95 = percentile(took, 0.5), percentile(took, 0.95)
    return Figure(
        f"{_named(path)}: GET → page read",
        f"p50 {p50:.0f} ms, p95 {p95:.0f} ms; CPU of web {cpu_ms:.1f} ms",
        f"p95 ≤ {AIM_SERVER_MS} ms",
        p95 <= AIM_SERVER_MS,
    )


def _named(path: str) -> str:
    return "/customer/devices/…" if path.startswith("/customer/devices/") else path


async def _loaded(browser: Browser, url: str, cookies: dict[str, str], path: str, times: int) -> Figure:
    """A browser that has never been here: until the page has loaded with all that it loads."""
    took, weights = [], []
    for _ in range(times):
        async with visiting(browser, url) as visitor:
            await visitor.log_in_with(cookies)
            assert await visitor.open(path) == []
            load_ms, wire, page_wire, page_size = await visitor.page.evaluate(_WEIGHT)
            took.append(load_ms / 1000)
            weights.append((wire / 1000, page_wire / 1000, page_size / 1000))
    load_s, (wire_kb, page_kb, size_kb) = percentile(took, 0.5), max(weights)
    return Figure(
        f"{_named(path)}: first load in Chromium",
        f"{load_s:.2f} s; {wire_kb:.0f} KB sent, the page itself {page_kb:.0f} KB for {size_kb:.0f} KB",
        f"≤ {AIM_LOAD_S:.0f} s, ≤ {AIM_FIRST_KB} KB",
        load_s <= AIM_LOAD_S and wire_kb <= AIM_FIRST_KB,
    )


async def _shown_s(product: Product, visitor: Visitor, device: Device, times: int) -> list[float]:
    """From a reading's PUBACK until it stands on its device's page, again and again."""
    tenant, device_id, site, token = device
    took = []
    await visitor.open(f"/customer/devices/{device_id}")
    await visitor.page.get_by_text("Updates by itself").wait_for()
    address = f"mqtt://127.0.0.1:{product.mqtt_port}"
    async with mqtt311.logged_in(address, f"{tenant}/{device_id}", token) as client:
        for number in range(times):
            value = 70_000 + number
            body = json.dumps({"site_id": site, "metrics": {"seen": value}}).encode()
            client.write(mqtt311.publish(f"tenant/{tenant}/device/{device_id}/telemetry", body, 1, 1 + number))
            assert await client.read() == mqtt311.puback(1 + number)
            began = time.perf_counter()
            await visitor.page.get_by_text(str(value), exact=True).first.wait_for(state="attached")
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.3 + 0.05 * number)  # not always at the same distance from the last refresh
    return took


def _shown_figure(took: list[float]) -> Figure:
    p50, p95 = percentile(took, 0.5), percentile(took, 0.95)
    told = f"p50 {p50:.2f} s, p95 {p95:.2f} s"
    return Figure(
        f"PUBACK → shown on the open page of its device ({len(took)} times)",
        told,
        f"p95 ≤ {AIM_SHOWN_S:.0f} s",
        p95 <= AIM_SHOWN_S,
    )
