"""The catalogue of metrics: which there are, what is said of them, and what becomes of values by that."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pulse_core.errors import PermanentFailure
from pulse_core.principal import Role
from pulse_core.records import MsgType, WriteSet
from pulse_postgres.telemetry.store import PostgresTelemetryStore
from pulse_server.web import metrics_seen
from pulse_server.web.metrics import explained
from support.admin import Admin, Caller, admin_api
from support.batches import ALL, S, judged, lane_stores, reading, register, state
from support.browser_forms import EVIL, Page, filled
from support.browsing import at_browser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.browsing import Browser
    from support.database import Database

BOILER = "/customer/devices/boiler"


def said(name: str, ago_s: int, text: str, msg_type: MsgType = MsgType.TELEMETRY) -> Any:
    at_us = time.time_ns() // 1000 - ago_s * S
    return reading(name, ts_us=at_us, received_us=at_us, metrics_json=text, msg_type=msg_type)


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    register(database, "tenant-a/boiler", "tenant-a/tank", "tenant-b/theirs")
    async with lane_stores(database) as stores, admin_api(database, tmp_path) as found:
        lane = await stores.open(0, ALL)
        readings = [
            said("tenant-a/boiler", 60, '{"celsius": 91.5, "bar": 2, "on": true}'),
            said("tenant-a/tank", 50, '{"celsius": 20}'),
            said("tenant-a/tank", 8 * 86400, '{"long_ago": 1}'),
            said("tenant-a/boiler", 40, '{"door": "opened", "by": "<b>Ada</b>"}', MsgType.EVENT),
            said("tenant-a/boiler", 30, '{"door": "closed"}', MsgType.EVENT),
            said("tenant-b/theirs", 20, '{"secret_metric": 1}'),
        ]
        await lane.commit(WriteSet(readings=readings, states=[state("tenant-a/boiler")]))
        await lane.close()
        yield found


@pytest_asyncio.fixture
async def customer(admin: Admin) -> Caller:
    return await admin.customer("tenant-a", Role.CUSTOMER_ADMIN)


@pytest_asyncio.fixture
async def browser(admin: Admin, database: Database) -> Browser:
    return await at_browser(admin, database, Role.CUSTOMER_ADMIN)


async def put(customer: Caller, metric: str, **what: Any) -> tuple[int, Any, Any]:
    return await customer.call("PUT", f"/metrics/{metric}", what)


async def names(customer: Caller, query: str = "") -> list[str]:
    status, body, _ = await customer.get(f"/metrics?{query}")
    assert status == 200, body
    return [each["name"] for each in body["items"]]


async def test_the_list_is_what_devices_sent_and_what_people_said(admin: Admin, customer: Caller) -> None:
    assert (await put(customer, "flow", unit="l/s", high=9))[0] == 200
    _, body, _ = await customer.get("/metrics")
    assert {each["name"]: (each["devices"], each["unit"], each["revision"]) for each in body["items"]} == {
        "bar": (1, "", 0), "by": (1, "", 0), "celsius": (2, "", 0), "door": (1, "", 0), "flow": (0, "l/s", 1),
        "on": (1, "", 0),
    }  # fmt: skip
    assert (await customer.get("/metrics/celsius"))[1]["devices"] == 2
    for nothing in ("secret_metric", "long_ago", "a%20b", "..", "x" * 65):
        assert (await customer.get(f"/metrics/{nothing}"))[0] == 404, nothing
    other = await admin.customer("tenant-b")
    assert await names(other) == ["secret_metric"]
    operator = await admin.operator()
    _, body, _ = await operator.get("/tenants/tenant-a/metrics?search=L/S")
    assert [(each["name"], each["high"]) for each in body["items"]] == [("flow", 9)]
    assert (await operator.get("/tenants/tenant-a/metrics/flow"))[1]["updated_by"].startswith("token:")
    assert (await operator.call("PUT", "/tenants/tenant-a/metrics/flow", {}))[0] == 405


async def test_it_comes_in_any_order_and_in_parts(customer: Caller) -> None:
    await put(customer, "bar", unit="bar", description="At the inlet")
    await put(customer, "celsius", unit="°C")
    assert await names(customer, "search=INLET") == ["bar"]
    assert await names(customer, "described=yes") == ["bar", "celsius"]
    for sort, wanted in {
        "name": ["bar", "by", "celsius", "door", "on"],
        "-name": ["on", "door", "celsius", "by", "bar"],
        "unit": ["bar", "celsius", "by", "door", "on"],
        "-unit": ["celsius", "bar", "on", "door", "by"],
        "devices": ["bar", "by", "door", "on", "celsius"],
        "-devices": ["celsius", "on", "door", "by", "bar"],
        "-updated_at": ["celsius", "bar", "on", "door", "by"],
    }.items():
        assert await names(customer, f"sort={sort}") == wanted, sort
        parts: list[str] = []
        cursor, last = "", ""
        while cursor is not None:
            _, body, _ = await customer.get(f"/metrics?sort={sort}&limit=2" + (f"&cursor={cursor}" if cursor else ""))
            parts += [each["name"] for each in body["items"]]
            cursor = body["next"]
            last = cursor or last
        assert parts == wanted, sort
        assert (await customer.get(f"/metrics?sort=-unit&cursor={last}"))[0] == (200 if sort == "-unit" else 422), sort
    assert (await customer.get("/metrics?sort=unit&cursor=x"))[0] == 422
    assert (await customer.get("/metrics?sort=high"))[0] == 422


@pytest.mark.parametrize(
    "body",
    [
        {"unit": "x" * 33},
        {"unit": "a\nb"},
        {"unit": None},
        {"description": "x" * 501},
        {"low": 2, "high": 1},
        {"low": "2"},
        {"low": True},
        {"low": 1e308},
        {"name": "other"},
    ],
)
async def test_what_cannot_be_said(customer: Caller, database: Database, body: dict[str, Any]) -> None:
    assert (await put(customer, "celsius", **body))[0] == 422
    assert judged(database, "SELECT name FROM metric_catalogue") == []


async def test_what_is_said_replaces_what_was_and_stands_in_the_audit_log(customer: Caller, database: Database) -> None:
    assert (await put(customer, "celsius", unit=" °C ", low=-5, high=90))[1]["unit"] == "°C"
    status, body, headers = await put(customer, "celsius", description="Of the water")
    assert (status, body["unit"], body["low"], body["revision"]) == (200, "", None, 2)
    tag = headers["ETag"]
    assert (await customer.delete("/metrics/celsius", headers={"If-Match": '"1"'}))[0] == 412
    assert (await customer.delete("/metrics/celsius", headers={"If-Match": tag}))[0] == 204
    assert (await customer.delete("/metrics/celsius"))[0] == 404
    first = {"If-Match": '"0"'}
    assert [(await customer.call("PUT", "/metrics/bar", {}, headers=first))[0] for _ in range(2)] == [200, 412]
    lines = judged(
        database, "SELECT action, resource, details FROM audit_log WHERE action LIKE 'metric.%%' ORDER BY at"
    )
    assert [line[:2] for line in lines] == [
        ("metric.describe", "tenant-a/celsius"),
        ("metric.describe", "tenant-a/celsius"),
        ("metric.forget", "tenant-a/celsius"),
        ("metric.describe", "tenant-a/bar"),
    ]
    assert lines[1][2]["unit"] == {"old": "°C", "new": ""}


async def test_no_more_than_can_be_listed(customer: Caller, database: Database) -> None:
    with database.superuser() as hand:
        hand.execute(
            "INSERT INTO metric_catalogue (tenant_id, name, updated_by)"
            " SELECT 'tenant-a', 'm' || n, 'x' FROM generate_series(1, 2000) n"
        )
    status, body, _ = await put(customer, "one_more")
    assert (status, "at most 2000" in body["detail"]) == (422, True)
    assert (await put(customer, "m7", unit="K"))[0] == 200


async def test_latest_values_have_units_and_are_flagged(admin: Admin, customer: Caller, browser: Browser) -> None:
    before = (await customer.get("/devices/boiler"))[1]["latest"]
    assert (before["celsius"]["unit"], before["celsius"]["out_of_range"]) == ("", False)
    await put(customer, "celsius", unit="°C", low=-5, high=90)
    await put(customer, "bar", unit="bar", low=2)
    await put(customer, "on", low=5)
    operator = await admin.operator()
    for answer in (await customer.get("/devices/boiler"), await operator.get("/tenants/tenant-a/devices/boiler")):
        latest = answer[1]["latest"]
        told = {name: (each["unit"], each["low"], each["high"], each["out_of_range"]) for name, each in latest.items()}
        assert told["celsius"] == ("°C", -5, 90, True)
        assert told["bar"] == ("bar", 2, None, False), "the ends belong to the range"
        assert told["on"] == ("", 5, None, False), "a truth is in no range"
        assert told["door"] == ("", None, None, False)
    page = Page((await browser.go(f"{BOILER}?range=15m")).text)
    texts = " ".join("".join(page.texts).split())
    assert "celsius91.5 °C⚠ Out of range: -5 to 90 °C" in texts
    assert texts.count("Out of range") == 1
    (chart,) = [each for tag, each in page.elements if tag == "figure" and each["data-chart"] == "celsius"]
    assert (chart["data-low"], chart["data-high"]) == ("-5.0", "90.0")
    assert "celsius °C range -5 to 90 °C" in texts
    assert "bar bar range at least 2 bar" in texts
    assert "bar 2 bar" in Page((await browser.go("/customer/devices")).text).texts


def test_values_at_the_ends_are_in_range() -> None:
    entry = {"m": {"unit": "", "low": 0.0, "high": 1.0}}
    found = {
        value: explained({"m": {"value": value}}, entry)["m"]["out_of_range"] for value in (-0.1, 0, 0.5, 1, 1.1, "2")
    }
    assert found == {-0.1: True, 0: False, 0.5: False, 1: False, 1.1: True, "2": False}


async def test_a_metric_is_described_by_a_form(browser: Browser, database: Database) -> None:
    path = "/customer/metrics/celsius/edit"
    shown = await browser.go(path)
    assert "2 devices send it." in " ".join("".join(Page(shown.text).texts).split())
    wrong = await browser.post(path, filled(shown.text, unit=EVIL[:32], low="5", high="1"))
    assert (wrong.status, "the range ends before it begins" in wrong.text) == (422, True)
    assert EVIL[:32] in [box.value for box in Page(wrong.text).boxes]
    for unreadable in ("much", "1e999", "nan"):
        assert (await browser.post(path, filled(shown.text, low=unreadable))).status == 422, unreadable
    sent = await browser.post(path, filled(shown.text, unit="°C", description=EVIL, high="90"))
    assert sent.to == "/customer/metrics"
    look = "SELECT unit, description, low, high FROM metric_catalogue"
    assert judged(database, look) == [("°C", EVIL, None, 90.0)]
    page = Page((await browser.go("/customer/metrics")).text)
    assert EVIL in page.texts
    assert "at most 90 °C" in "".join(page.texts)
    late = await browser.post(path, filled(shown.text, unit="F"))
    assert (late.status, "Somebody else has changed it" in late.text) == (412, True)
    again = filled((await browser.go(path)).text, high="")
    assert (await browser.post(path, again)).to == "/customer/metrics"
    assert judged(database, look) == [("°C", EVIL, None, None)]
    gone = "/customer/metrics/celsius/delete"
    token = (await browser.go(gone)).token
    assert (await browser.post(gone, {"csrf_token": token})).status == 422, "without the yes"
    assert (await browser.post(gone, {"csrf_token": token, "confirm": "yes"})).to == "/customer/metrics"
    assert judged(database, look) == []
    assert (await browser.go(gone)).status == 404


async def test_a_store_that_takes_long_or_fails_fails_no_page(
    browser: Browser, customer: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics_seen, "WAITED_S", 0.01)
    go_on, asked = asyncio.Event(), 0

    async def slow(*_: Any) -> dict[str, int]:
        nonlocal asked
        asked += 1
        await go_on.wait()
        raise PermanentFailure("it takes too long")

    monkeypatch.setattr(PostgresTelemetryStore, "metrics_of", slow)
    await put(customer, "celsius", unit="°C")
    _, body, _ = await customer.get("/metrics")
    assert [(each["name"], each["devices"]) for each in body["items"]] == [("celsius", None)]
    assert "is being counted" in (await browser.go("/customer/metrics")).text
    assert (await browser.go("/customer/metrics/anything/edit")).status == 200, "it may be there"
    monkeypatch.setattr(metrics_seen, "WAITED_S", 60)
    go_on.set()
    page = await browser.go("/customer/metrics")  # it waits for that
    assert "takes too long to count just now" in page.text
    assert asked == 1, "it is not tried again at once"
    monkeypatch.undo()
    monkeypatch.setattr(metrics_seen, "BELIEVED_S", 0.0)
    assert await names(customer) == ["bar", "by", "celsius", "door", "on"]


async def test_events_stand_on_the_devices_page_the_newest_first(browser: Browser, customer: Caller) -> None:
    for path in ("/devices/boiler/telemetry?msg_type=event", "/devices/boiler/events"):
        _, body, _ = await customer.get(path)
        assert [each["metrics"]["door"] for each in body["items"]] == ["closed", "opened"], path
    _, first, _ = await customer.get("/devices/boiler/events?limit=1")
    _, rest, _ = await customer.get(f"/devices/boiler/events?limit=1&cursor={first['next']}")
    assert [each["metrics"]["door"] for each in first["items"] + rest["items"]] == ["closed", "opened"]
    _, body, _ = await customer.get("/devices/boiler/telemetry?msg_type=telemetry")
    assert [each["msg_type"] for each in body["items"]] == ["telemetry"]
    for path in (BOILER, f"{BOILER}/events"):
        page = Page((await browser.go(path)).text)
        told = [text for text in page.texts if text.startswith(("door:", "by:"))]
        assert (told[0], set(told[1:])) == ("door: closed", {"door: opened", "by: <b>Ada</b>"}), path
        assert len([each for _, each in page.elements if "data-event-at" in each]) == 2
    assert "None so far" in (await browser.go("/customer/devices/tank/events")).text
    assert (await browser.go("/customer/devices/theirs/events")).status == 404
