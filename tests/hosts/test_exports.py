"""Files of readings: written in the background, in pieces that are committed with how far it is."""

from __future__ import annotations

import csv
import io
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import pytest_asyncio

from pulse_core.config import ExportsConfig
from pulse_core.errors import StoreUnavailable
from pulse_core.records import WriteSet
from pulse_postgres import export_work
from pulse_server.exporting import files, work
from pulse_server.exporting.work import Exporter
from support.admin import Admin, Caller, admin_api
from support.batches import ALL, NOW_US, S, judged, lane_stores, reading, register
from support.browser_forms import Page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from pulse_server.web.services import Services
    from support.browsing import Browser
    from support.database import Database

EVIL = '=HYPERLINK("http://example.com";"x"),\r\n"quoted"'
SMALL = ExportsConfig(page_readings=3, lease_s=1.0)


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    register(database, "tenant-a/b", "tenant-a/a", "tenant-b/theirs")
    async with lane_stores(database) as stores, admin_api(database, tmp_path) as found:
        lane = await stores.open(0, ALL)
        said = [
            reading(
                f"tenant-a/{device}", ts_us=NOW_US - 100 * S + at, seq=at, key_hash=at, metrics_json=f'{{"n": {at}}}'
            )
            for device in ("a", "b")
            for at in range(5)
        ]
        evil = msgspec.json.encode({"note": EVIL, "n": -5, "on": True}).decode()
        said.append(reading("tenant-a/b", ts_us=NOW_US - 50 * S, metrics_json=evil))
        said.append(reading("tenant-b/theirs", ts_us=NOW_US - 50 * S, metrics_json='{"n": 99}'))
        await lane.commit(WriteSet(readings=said))
        await lane.close()
        yield found


def exporter_of(admin: Admin, config: ExportsConfig = SMALL) -> Exporter:
    services: Services = admin.client.app.extensions["services"]
    return Exporter(services, config)


async def asked(customer: Caller, **body: Any) -> dict[str, Any]:
    status, export, _ = await customer.post("/telemetry/exports", body)
    assert (status, export["status"], export["readings"]) == (202, "PENDING", 0), export
    return dict(export)


async def now(customer: Caller, export: dict[str, Any]) -> dict[str, Any]:
    return dict((await customer.get(f"/telemetry/exports/{export['export_id']}"))[1])


async def fetched(customer: Caller, export: dict[str, Any]) -> bytes:
    status, body, headers = await customer.get(f"/telemetry/exports/{export['export_id']}/file")
    assert status == 200, body
    assert int(headers["Content-Length"]) == len(body)
    assert headers["Content-Disposition"].startswith('attachment; filename="telemetry-tenant-a-')
    return bytes(body)


def table(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


async def test_a_file_holds_all_that_is_the_tenants_own_in_order(admin: Admin, customer: Caller) -> None:
    lines, sheet = await asked(customer, format="jsonl"), await asked(customer, metrics=["n", "note"])
    exporter = exporter_of(admin)
    assert [await exporter.turn(), await exporter.turn(), await exporter.turn()] == [True, True, False]
    done = await now(customer, lines)
    assert (done["status"], done["readings"], done["share"], done["error"]) == ("DONE", 11, 1.0, "")
    said = [msgspec.json.decode(line) for line in (await fetched(customer, lines)).splitlines()]
    assert [(each["device_id"], each["seq"]) for each in said] == [
        *[("a", at) for at in range(5)],
        *[("b", at) for at in range(5)],
        ("b", 7),
    ]
    assert said[-1]["metrics"] == {"note": EVIL, "n": -5, "on": True}
    rows = table(await fetched(customer, sheet))
    assert [row["n"] for row in rows] == ["0", "1", "2", "3", "4"] * 2 + ["-5"]
    assert rows[-1]["note"] == f"'{EVIL}"
    assert [row["device_id"] for row in rows] == ["a"] * 5 + ["b"] * 6


async def test_only_what_was_asked_for(admin: Admin, customer: Caller) -> None:
    export = await asked(customer, devices=["a", "theirs"], **{"from": "2020-01-01", "to": "2040-01-01"})
    none = await asked(customer, sites=["nowhere"])
    await exporter_of(admin).turn()
    await exporter_of(admin).turn()
    rows = table(await fetched(customer, export))
    assert [(row["device_id"], row["metrics"]) for row in rows] == [("a", f'{{"n":{at}}}') for at in range(5)]
    assert await fetched(customer, none) == b"device_id,ts,site_id,msg_type,seq,received_at,metrics\r\n"


async def test_another_goes_on_where_a_dead_one_left_off_and_no_reading_comes_twice(
    admin: Admin, customer: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, go_on, steps = await asked(customer, format="jsonl"), export_work.go_on, 0

    class Killed(BaseException):
        """Nothing is tidied up."""

    async def dies(*arguments: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps == 3:
            raise Killed
        return await go_on(*arguments)

    monkeypatch.setattr(export_work, "go_on", dies)
    with pytest.raises(Killed):
        await exporter_of(admin).turn()
    half = await now(customer, export)
    assert (half["status"], half["readings"]) == ("RUNNING", 6)
    assert 0.5 <= half["share"] < 1
    assert (await customer.get(f"/telemetry/exports/{export['export_id']}/file"))[0] == 409
    assert not await exporter_of(admin).turn()  # it may live, for all that anybody knows
    with database.superuser() as hand:
        hand.execute("UPDATE telemetry_exports SET claimed_until = now()")
    assert await exporter_of(admin).turn()
    said = [msgspec.json.decode(line) for line in (await fetched(customer, export)).splitlines()]
    assert len({(each["device_id"], each["ts"]) for each in said}) == len(said) == 11
    assert (await now(customer, export))["readings"] == 11


async def test_whoever_was_thought_dead_writes_nothing_more(
    admin: Admin, customer: Caller, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    export, go_on = await asked(customer, format="jsonl"), export_work.go_on

    async def late(*arguments: Any) -> Any:
        with database.superuser() as hand:
            hand.execute("UPDATE telemetry_exports SET worker = gen_random_uuid()")
        return await go_on(*arguments)

    monkeypatch.setattr(export_work, "go_on", late)
    await exporter_of(admin).turn()
    assert judged(database, "SELECT count(*) FROM telemetry_export_pieces") == [(0,)]
    assert (await now(customer, export))["status"] == "RUNNING"


async def test_a_long_one_gives_the_next_its_turn(admin: Admin, customer: Caller) -> None:
    long, short = await asked(customer, format="jsonl"), await asked(customer, devices=["none"])
    exporter = exporter_of(admin, ExportsConfig(page_readings=3, turn_s=0))
    await exporter.turn()
    await exporter.turn()
    assert [(await now(customer, each))["status"] for each in (long, short)] == ["RUNNING", "DONE"]
    while (await now(customer, long))["status"] == "RUNNING":
        assert await exporter.turn()
    assert len((await fetched(customer, long)).splitlines()) == 11


async def test_cancelled_it_stops_and_leaves_nothing(admin: Admin, customer: Caller, database: Database) -> None:
    export = await asked(customer)
    exporter = exporter_of(admin, ExportsConfig(page_readings=3, turn_s=0))
    await exporter.turn()
    assert judged(database, "SELECT count(*) > 0 FROM telemetry_export_pieces") == [(True,)]
    path = f"/telemetry/exports/{export['export_id']}"
    assert (await customer.delete(path))[0] == 204
    assert (await now(customer, export))["status"] == "CANCELLED"
    assert judged(database, "SELECT count(*) FROM telemetry_export_pieces") == [(0,)]
    assert not await exporter.turn()
    assert [(await customer.delete(path))[0] for _ in range(2)] == [204, 404]
    assert judged(database, "SELECT action FROM audit_log WHERE starts_with(action, 'telemetry.') ORDER BY at") == [
        ("telemetry.export",),
        ("telemetry.export_cancel",),
        ("telemetry.export_delete",),
    ]


async def test_after_a_day_the_file_goes_and_after_a_week_the_word(
    admin: Admin, customer: Caller, database: Database
) -> None:
    export, exporter = await asked(customer), exporter_of(admin)
    await exporter.turn()
    with database.superuser() as hand:
        hand.execute("UPDATE telemetry_exports SET expires_at = now()")
    assert (await now(customer, export))["status"] == "EXPIRED"
    assert (await customer.get(f"/telemetry/exports/{export['export_id']}/file"))[0] == 409
    await exporter.sweep()
    assert judged(database, "SELECT status FROM telemetry_exports") == [("EXPIRED",)]
    assert judged(database, "SELECT count(*) FROM telemetry_export_pieces") == [(0,)]
    with database.superuser() as hand:
        hand.execute("UPDATE telemetry_exports SET finished_at = now() - interval '9 days'")
    await exporter.sweep()
    assert judged(database, "SELECT count(*) FROM telemetry_exports") == [(0,)]


async def test_no_more_than_a_tenant_may_have(admin: Admin, customer: Caller) -> None:
    for _ in range(2):
        await asked(customer)
    assert (await customer.post("/telemetry/exports", {}))[0] == 409
    other = await admin.customer("tenant-b")
    assert (await other.post("/telemetry/exports", {}))[0] == 202


async def test_what_is_refused(customer: Caller) -> None:
    wrong: list[dict[str, Any]] = [
        {"format": "xlsx"},
        {"devices": ["<a>"]},
        {"metrics": ["a b"]},
        {"from": "2026-01-02", "to": "2026-01-01"},
        {"from": 5},
        {"other": 1},
    ]
    for body in wrong:
        assert (await customer.post("/telemetry/exports", body))[0] == 422, body


async def test_what_fails_says_why_and_what_is_away_waits(
    admin: Admin, customer: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    export = await asked(customer)

    @asynccontextmanager
    async def away(_: str) -> AsyncIterator[None]:
        raise StoreUnavailable("away")
        yield

    services: Services = admin.client.app.extensions["services"]
    with monkeypatch.context() as patched:
        patched.setattr(services, "telemetry_of", away)
        assert await exporter_of(admin).turn()
    assert (await now(customer, export))["status"] == "RUNNING"
    other = await asked(customer)

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(work, "_step", broken)
    assert await exporter_of(admin).turn()
    failed = await now(customer, other)
    assert (failed["status"], failed["error"]) == ("FAILED", "our fault; the log knows more")


async def test_a_long_text_is_kept_in_pieces_that_fit() -> None:
    text = bytes(range(256)) * 9000
    pieces = files.packed(text)
    assert b"".join(map(files.unpacked, pieces)) == text
    assert len(pieces) == 3
    assert all(len(piece) <= 1 << 20 for piece in pieces)


async def test_the_pages_say_how_far_it_is_and_where_the_file_is(admin: Admin, browser: Browser) -> None:
    empty = await browser.go("/customer/telemetry/exports")
    assert "Nothing was exported yet." in empty.text
    form = await browser.go("/customer/telemetry/exports/new?device=a")
    assert Page(form.text).sent().getlist("devices~lines") == ["a"]
    wrong = await browser.post(
        "/customer/telemetry/exports/new",
        {"csrf_token": form.token, "format": "csv", "from": "2026-01-02T00:00", "to": "2026-01-01T00:00"},
    )
    assert (wrong.status, "it ends before it begins" in wrong.text) == (422, True)
    sent = {"csrf_token": form.token, "format": "csv", "to": "2040-01-01T00:00"}
    assert (await browser.post("/customer/telemetry/exports/new", sent)).to == "/customer/telemetry/exports"
    shown = await browser.go("/customer/telemetry/exports")
    assert "Asked for." in shown.text
    assert "every 1s" in shown.text
    assert "<progress" in shown.text
    await exporter_of(admin).turn()
    done = await browser.go("/customer/telemetry/exports")
    assert "every 1s" not in done.text
    link = done.text.partition('href="/customer/telemetry/exports/')[2].partition("/customer/telemetry/exports/")[2]
    path = f"/customer/telemetry/exports/{link.partition(chr(34))[0]}"
    assert (await browser.go(path)).text.startswith("device_id,ts,")
    ended = await browser.post(path.replace("/file", "/end"), {"csrf_token": done.token})
    assert "Deleted." in (await browser.go(ended.to)).text
