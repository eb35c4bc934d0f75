"""The data behind the demo's live page: devices, alerts, deliveries, what the receiver got, and the message rate.

Only for this machine, and only in the demo: it shows every tenant at once.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from quart import Blueprint, Response, current_app, render_template

from pulse_server import runfiles
from pulse_server.web import pages
from pulse_server.web.described import page
from pulse_server.web.entrance import session
from pulse_server.web.home import demand_local
from pulse_server.web.replies import reply
from pulse_server.web.services import Services, services

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

blueprint = Blueprint("live", __name__, url_prefix="/live")

_FRESH_S = 0.5
_RATE_OVER_S = 5.0
_TIMEOUT = aiohttp.ClientTimeout(total=1.5)
_DEVICES, _ALERTS, _DELIVERIES, _WEBHOOKS = 100, 40, 40, 40


@blueprint.get("")
@page
async def show() -> str:
    """The page, also for whoever has logged in."""
    demand_local()
    held = await session.current()
    return await render_template("live.html", who=pages.name_of(held.principal) if held else None)


@blueprint.get("/data.json")
@page
async def data() -> Response:
    """Everything that the live page shows."""
    demand_local()
    view: View = current_app.extensions.setdefault("live", View(services()))
    return reply(await view.look())


class View:
    """Looks at most twice a second, however many look at the page."""

    def __init__(self, held: Services) -> None:
        self._services = held
        self._turn = asyncio.Lock()
        self._seen: dict[str, Any] = {}
        self._seen_at = 0.0
        self._rate = Rate()

    async def look(self) -> dict[str, Any]:
        """What there is to see now."""
        async with self._turn:
            if time.monotonic() - self._seen_at > _FRESH_S:
                self._seen = await self._gather()
                self._seen_at = time.monotonic()
            return self._seen

    async def _gather(self) -> dict[str, Any]:
        overview = self._services.overview
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as http:
            counts, devices, alerts, deliveries = await asyncio.gather(
                overview.counts(),
                overview.devices(limit=_DEVICES),
                overview.alerts(limit=_ALERTS),
                overview.deliveries(limit=_DELIVERIES),
            )
            data_dir = self._services.config.data_dir
            receiver, metrics, roles = await asyncio.gather(
                _receiver(http, data_dir), _metrics(http, data_dir), _roles(http, data_dir)
            )
        return {
            "now": dt.datetime.now(dt.UTC),
            "roles": roles,
            "devices": {"counts": counts["devices"], "items": devices.items},
            "alerts": {"open": sum(counts["alerts"].values()), "items": alerts.items},
            "deliveries": {"counts": counts["deliveries"], "items": [_delivery(each) for each in deliveries.items]},
            "webhooks": receiver,
            "messages": self._rate.of(metrics, time.monotonic()),
        }


class Rate:
    """Turns counters into messages a second, over the last few seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, float, float]] = deque()

    def of(self, totals: Mapping[str, float], now_s: float) -> dict[str, float]:
        """The rates now; a counter that began anew (another process) begins a new count."""
        accepted, rejected = totals["accepted"], totals["rejected"]
        if self._samples and (accepted < self._samples[-1][1] or rejected < self._samples[-1][2]):
            self._samples.clear()
        self._samples.append((now_s, accepted, rejected))
        while len(self._samples) > 2 and self._samples[1][0] <= now_s - _RATE_OVER_S:  # noqa: PLR2004 - two ends
            self._samples.popleft()
        since_s, accepted_then, rejected_then = self._samples[0]
        seconds = max(now_s - since_s, 0.001)
        return {
            "accepted_per_s": (accepted - accepted_then) / seconds,
            "rejected_per_s": (rejected - rejected_then) / seconds,
        }


def _delivery(item: dict[str, Any]) -> dict[str, Any]:
    tries = item["attempts"]
    last = tries[-1] if tries else None
    return {
        "delivery_id": item["delivery_id"],
        "tenant_id": item["tenant_id"],
        "device_id": item["device_id"],
        "event": item["event"],
        "status": item["status"],
        "integration": f"{item['integration_name']} ({item['integration_type']})",
        "created_at": item["created_at"],
        "attempts": item["attempt_count"],
        "last_error": item["last_error"],
        "last_attempt": f"{last['outcome'].lower()} in {last['duration_ms']} ms" if last else None,
    }


async def _receiver(http: aiohttp.ClientSession, data_dir: Path) -> dict[str, Any]:
    """What the demo's receiver says of itself; its webhooks are data from outside, taken field by field."""
    found = await _json(http, _address(data_dir, "receiver", "http"), "/")
    items = []
    for item in found.get("items", [])[:_WEBHOOKS]:
        payload = item.get("payload") if isinstance(item.get("payload"), dict) else {}
        items.append(
            {
                "webhook_id": item.get("webhook_id"),
                "received_at": item.get("received_at"),
                "verified": item.get("signature_valid") is True,
                "problem": item.get("problem"),
                **{name: payload.get(name) for name in ("event", "tenant_id", "device_id", "summary")},
            }
        )
    return {"received": found.get("received", 0), "invalid": found.get("invalid", 0), "items": items}


async def _metrics(http: aiohttp.ClientSession, data_dir: Path) -> dict[str, float]:
    text = await _text(http, _address(data_dir, "pipeline", "http"), "/metrics")
    totals = {"pulse_readings_committed": 0.0, "pulse_messages_rejected": 0.0}
    for family in text_string_to_metric_families(text):
        if family.name in totals:
            totals[family.name] = sum(sample.value for sample in family.samples if sample.name.endswith("_total"))
    return {"accepted": totals["pulse_readings_committed"], "rejected": totals["pulse_messages_rejected"]}


async def _roles(http: aiohttp.ClientSession, data_dir: Path) -> list[dict[str, Any]]:
    found = [{"name": "web", "state": "ready"}]
    for name, address in (("pipeline", "http"), ("deliver", "health")):
        said = await _json(http, _address(data_dir, name, address), "/readyz")
        found.append({"name": name, "state": str(said.get("status", "not running"))})
    return sorted(found, key=lambda role: role["name"])


def _address(data_dir: Path, name: str, key: str) -> str | None:
    facts = runfiles.lookup(data_dir, name)
    return facts["addresses"].get(key) if facts else None


async def _json(http: aiohttp.ClientSession, base: str | None, path: str) -> dict[str, Any]:
    if base is None:
        return {}
    try:
        async with http.get(base + path) as answer:
            found = await answer.json(content_type=None)
            return found if isinstance(found, dict) else {}
    except (aiohttp.ClientError, TimeoutError, ValueError):
        return {}


async def _text(http: aiohttp.ClientSession, base: str | None, path: str) -> str:
    if base is None:
        return ""
    try:
        async with http.get(base + path) as answer:
            return await answer.text()
    except (aiohttp.ClientError, TimeoutError):
        return ""
