"""Numbers over time: of a device over the API and on its page, of a tenant on its dashboard, small ones in the list."""

from __future__ import annotations

import datetime as dt
import sys
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
import pytest_asyncio

from pulse_core.api import StoredReading
from pulse_core.records import WriteSet
from pulse_postgres.history import last_day, messages_a_minute
from pulse_postgres.pool import open_pool
from pulse_server.web import sparks
from support.admin import Admin, Caller, admin_api
from support.batches import ALL, S, judged, lane_stores, reading, register, state
from support.browser_forms import Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.browsing import Browser
    from support.database import Database

EVIL = "<script>document.title='owned'</script>\"'><img src=x>"
MINUTE = 60 * S
HERE_US = 0
"""A whole minute, five minutes before each test."""


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module may have been read long before its tests run."""
    monkeypatch.setattr(sys.modules[__name__], "HERE_US", time.time_ns() // 1000 // MINUTE * MINUTE - 5 * MINUTE)


def said(name: str, after_us: int, text: str) -> Any:
    return reading(name, ts_us=HERE_US + after_us, metrics_json=text, received_us=HERE_US + after_us)


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path, here: None) -> AsyncIterator[Admin]:
    register(database, "tenant-a/boiler", "tenant-a/silent", "tenant-b/theirs")
    async with lane_stores(database) as stores, admin_api(database, tmp_path) as found:
        lane = await stores.open(0, ALL)
        readings = [
            said("tenant-a/boiler", 0, '{"t": 4, "u": 1, "on": true, "fw": "1"}'),
            said("tenant-a/boiler", 20 * S, '{"t": 1.5, "u": 2}'),
            said("tenant-a/boiler", 2 * MINUTE, '{"t": -7}'),
            said("tenant-b/theirs", 0, '{"t": 99}'),
        ]
        await lane.commit(WriteSet(readings=readings, states=[state("tenant-a/boiler")]))
        await lane.close()
        yield found


def iso(at_us: int) -> str:
    return dt.datetime.fromtimestamp(at_us / S, dt.UTC).isoformat().replace("+00:00", "Z")


async def asked(customer: Caller, query: str, device: str = "boiler") -> tuple[int, Any]:
    status, body, _ = await customer.get(f"/devices/{device}/telemetry?{query}")
    return status, body


async def test_a_metric_in_buckets(customer: Caller) -> None:
    status, body = await asked(
        customer, f"bucket=1m&metric=t&agg=avg,count,last&from={iso(HERE_US)}&to={iso(HERE_US + 3 * MINUTE)}"
    )
    assert status == 200, body
    assert (body["start"], body["end"]) == (iso(HERE_US), iso(HERE_US + 3 * MINUTE))
    assert body["series"] == [
        {
            "name": "t",
            "bucket_s": 60,
            "at": [iso(HERE_US), iso(HERE_US + 2 * MINUTE)],
            "values": {"avg": [2.75, -7], "count": [2, 1], "last": [1.5, -7]},
        }
    ]
    assert (body["one_in"], body["more_metrics"]) == (1, False)


async def test_without_a_name_all_that_are_numbers_and_without_a_time_the_latest(customer: Caller) -> None:
    _, body = await asked(customer, "bucket=60")
    assert [(each["name"], each["values"]) for each in body["series"]] == [
        ("t", {"avg": [2.75, -7]}),
        ("u", {"avg": [1.5]}),
    ]
    _, two = await asked(customer, f"bucket=1m&metric=u,t&start={iso(HERE_US)}&end={iso(HERE_US + MINUTE)}")
    assert [(each["name"], each["values"]["avg"]) for each in two["series"]] == [("u", [1.5]), ("t", [2.75])]
    _, none = await asked(customer, "bucket=1m", "silent")
    assert none["series"] == []


async def test_readings_come_as_they_did_and_by_either_name_of_a_time(customer: Caller) -> None:
    for query in (f"from={iso(HERE_US + 1)}", f"start={iso(HERE_US + 1)}"):
        _, body = await asked(customer, query)
        assert [each["metrics"]["t"] for each in body["items"]] == [-7, 1.5]
    _, body = await asked(customer, f"to={iso(HERE_US + 1)}")
    assert body["items"][0]["metrics"] == {"t": 4, "u": 1, "on": True, "fw": "1"}


@pytest.mark.parametrize(
    "query",
    [
        "bucket=0",
        "bucket=1w",
        "bucket=-5",
        "bucket=1m&agg=median",
        "bucket=1m&agg=",
        "bucket=1m&cursor=x",
        "bucket=1m&limit=5",
        "bucket=1m&msg_type=event",
        "msg_type=alarm",
        "bucket=1m&metric=" + ",".join("abcdefghijklmnopqrstu"),
        "metric=t",
        "agg=min",
        "sample=true",
        "from=2026-01-01&start=2026-01-01",
        "to=2026-01-01&end=2026-01-01",
        "bucket=1s&from=2026-01-01T00:00:00&to=2026-01-01T00:33:21",
        "bucket=1h&from=2026-01-02&to=2026-01-02",
        "bucket=1h&from=2026-01-02&to=2026-01-01",
    ],
)
async def test_what_is_refused(customer: Caller, query: str) -> None:
    status, body = await asked(customer, query)
    assert status == 422, body


async def test_two_thousand_buckets_are_not_too_many(customer: Caller) -> None:
    assert (await asked(customer, "bucket=1s&from=2026-01-01T00:00:00&to=2026-01-01T00:33:20"))[0] == 200


async def test_nobody_sees_anothers_numbers_by_either_guard(customer: Caller, database: Database) -> None:
    assert (await asked(customer, "bucket=1m&metric=t", "theirs"))[0] == 404
    with database.superuser() as hand:
        hand.execute("ALTER POLICY web ON telemetry USING (tenant_id = 'nobody')")
        hand.execute("ALTER POLICY web ON accepted_counts USING (tenant_id = 'nobody')")
    assert (await asked(customer, "bucket=1m&metric=t"))[1]["series"][0]["at"] == []
    history = (await customer.get("/dashboard/history"))[1]["series"]
    assert sum(history[0]["values"]["accepted"]) == 0


async def test_the_last_day_of_a_tenant(customer: Caller, database: Database) -> None:
    judged(
        database,
        "INSERT INTO quarantine_counts VALUES ('tenant-a', date_trunc('minute', now()), 'TOKEN_INVALID', 0, 2),"
        " ('tenant-a', date_trunc('minute', now()) - interval '2 days', 'TOKEN_INVALID', 0, 7),"
        " ('tenant-b', date_trunc('minute', now()), 'TOKEN_INVALID', 0, 9) RETURNING true",
    )
    judged(
        database,
        "INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity,"
        " confidence, summary, opened_at) SELECT 'tenant-a', gen_random_uuid(), 'boiler', 's', 'T', n::text, 'OPEN', 3,"
        " 1, '', now() - n * interval '61 minutes' FROM generate_series(0, 30) n RETURNING true",
    )
    status, body, _ = await customer.get("/dashboard/history")
    assert status == 200
    messages, alerts, deliveries = body["series"]
    assert [each["name"] for each in body["series"]] == ["messages", "alerts", "deliveries"]
    assert (len(messages["at"]), messages["bucket_s"], len(alerts["at"]), alerts["bucket_s"]) == (1441, 60, 25, 3600)
    assert messages["values"]["refused"][-3:] in ([0, 0, 2], [0, 2, 0])
    accepted = dict(zip(messages["at"], messages["values"]["accepted"], strict=True))
    assert {at: count for at, count in accepted.items() if count} == {
        iso(HERE_US): 2,
        iso(HERE_US + 2 * MINUTE): 1,
    }
    assert max(alerts["values"]["opened"]) <= 2
    assert 23 <= sum(alerts["values"]["opened"]) <= 25
    assert deliveries["values"] == {"delivered": [0] * 25, "failed": [0] * 25}


async def test_deliveries_by_how_they_ended_and_messages_of_the_last_minute(database: Database) -> None:
    register(database, "tenant-a/d")
    judged(
        database,
        "INSERT INTO integrations (tenant_id, integration_id, type, name, config)"
        " VALUES ('tenant-a', gen_random_uuid(), 'webhook', 'w', '{}') RETURNING true",
    )
    judged(
        database,
        "INSERT INTO deliveries (tenant_id, delivery_id, integration_id, event, cause, status, notification, due_at)"
        " SELECT tenant_id, gen_random_uuid(), integration_id, 'OPEN', 'test', s, '{}', now() FROM integrations,"
        " unnest(ARRAY['DELIVERED', 'DELIVERED', 'DEAD', 'PENDING', 'CANCELLED']) s RETURNING true",
    )
    now = dt.datetime.now(dt.UTC)
    middle = now.replace(second=15, microsecond=0)
    judged(
        database,
        "INSERT INTO accepted_counts"
        " SELECT 'tenant-a', date_trunc('minute', %s::timestamptz) - n * interval '1 minute', shard,"
        " 10 * (n + 1) FROM generate_series(0, 2) n, generate_series(1, 2) shard RETURNING true",
        middle,
    )
    pool = await open_pool(database.dsn("pulse_operator"), name="test")
    try:
        counted = await last_day(pool, "tenant-a", now)
        assert await messages_a_minute(pool, "tenant-a", middle) == 20 + 40 * 45 / 60
        assert await messages_a_minute(pool, "tenant-b", middle) == 0
    finally:
        await pool.close()
    assert {name: sum(counts) for name, counts in counted[2].lines.items()} == {"delivered": 2, "failed": 1}
    hours = counted[0].by_hour()
    assert sum(hours.lines["accepted"]) == sum(counted[0].lines["accepted"]) == 120
    assert {(later - each).total_seconds() for each, later in zip(hours.starts, hours.starts[1:], strict=False)} == {
        3600
    }


async def test_the_page_says_it_without_a_script(browser: Browser) -> None:
    text = (await browser.go("/customer/devices/boiler?range=15m")).text
    page = Page(text)
    figures = [each["data-chart"] for tag, each in page.elements if tag == "figure"]
    assert figures == ["t", "u", ""], "the last one is what new ones are made of"
    assert "lowest -7, highest 4" in page.texts
    assert "2.75" in page.texts
    chosen = [each["href"] for tag, each in page.elements if tag == "a" and each.get("aria-current") == "true"]
    assert chosen == ["/customer/devices/boiler?range=15m#charts"]
    (section,) = [each for _, each in page.elements if "data-series" in each]
    assert section["data-length-s"] == "900"
    assert Page((await browser.go("/customer/devices/boiler?range=nonsense")).text).texts.count("1 h") == 1
    again = (await browser.go("/customer/devices/boiler", HX_Request="true")).text
    assert "<figure" not in again, "what htmx reads again goes without"
    assert "No numbers in this time" in (await browser.go("/customer/devices/silent")).text


async def test_names_stay_text(browser: Browser, database: Database) -> None:
    with database.superuser() as hand:
        hand.execute("UPDATE telemetry SET metrics = jsonb_build_object(%s::text, 5)", (EVIL,))
    for path in ("/customer/devices", "/customer/devices/boiler?range=15m"):
        page = Page((await browser.go(path)).text)
        assert not [each for tag, each in page.elements if tag == "img" and each.get("src") == "x"], path
        assert all("src" in each for tag, each in page.elements if tag == "script"), path
        assert EVIL in "".join(page.texts) or any(EVIL in str(each.get("aria-label")) for _, each in page.elements)
    path = f"/customer/devices/boiler/telemetry?bucket=1m&metric={quote(EVIL, safe='')}"
    assert (await browser.go(path, Accept="application/json")).json()["series"][0]["values"]["avg"] == [5, 5]


async def test_the_list_draws_what_each_device_said_lately(browser: Browser) -> None:
    page = Page((await browser.go("/customer/devices")).text)
    labels = [each["aria-label"] for tag, each in page.elements if tag == "svg"]
    assert labels == ["t: latest -7, between -7 and 4"]
    (line,) = [each for tag, each in page.elements if tag == "polyline"]
    assert line["points"] == "0.0,2.0 16.7,6.5 100.0,22.0"
    assert "no numbers" in page.texts


def test_a_drawing_of_what_there_is() -> None:
    def stored(at_us: int, **metrics: Any) -> StoredReading:
        return StoredReading(at_us, at_us, "telemetry", "s", None, metrics)

    assert sparks.spark_of([]) is None
    assert sparks.spark_of([stored(1, on=True, text="7")]) is None
    one = sparks.spark_of([stored(9), stored(5, a=3)])
    assert one == sparks.Spark("a", "0,12 100,12", 3, 3, 3)
    flat = sparks.spark_of([stored(9, a=3), stored(7, a="x"), stored(5, a=3)])
    assert flat is not None
    assert flat.points == "0.0,12.0 100.0,12.0"


async def test_the_dashboard_says_it_without_a_script(browser: Browser) -> None:
    page = Page((await browser.go("/customer/dashboard")).text)
    assert [each["data-chart"] for tag, each in page.elements if tag == "figure"] == [
        "messages",
        "alerts",
        "deliveries",
    ]
    assert {"3 accepted", "0 refused"} <= set(page.texts)
    again = (await browser.go("/customer/dashboard", HX_Request="true")).text
    assert "<figure" not in again
    assert "Messages a minute, now" in again
