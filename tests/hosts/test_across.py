"""Readings of several devices: by device and time, or in buckets by device, site and label; and all of it as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import msgspec
import pytest_asyncio

from pulse_core.records import WriteSet
from pulse_postgres import device_groups
from pulse_server.web import across
from pulse_server.web.series import moment
from support.admin import Admin, Caller, admin_api
from support.batches import ALL, NOW_US, S, judged, lane_stores, reading, register

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from support.database import Database

BEGIN_US = NOW_US // (60 * S) * 60 * S - 3600 * S
EVIL = '@SUM(1,2)\n"x"'
SPAN = "from=2020-01-01&to=2040-01-01"


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    register(database, "tenant-a/a", "tenant-a/b", "tenant-a/c", "tenant-b/theirs")
    with database.superuser() as hand:
        hand.execute("UPDATE devices SET site_id = 'site-2' WHERE device_id = 'c'")
        hand.execute("UPDATE devices SET labels = '{\"line\": \"=1\"}' WHERE device_id IN ('a', 'c', 'theirs')")
    async with lane_stores(database) as stores, admin_api(database, tmp_path) as found:
        lane = await stores.open(0, ALL)
        said = [
            reading(
                f"{tenant}/{device}",
                ts_us=BEGIN_US + at * 60 * S,
                key_hash=at,
                site_id="site-2" if device == "c" else "site-1",
                metrics_json=f'{{"n": {value + at}, "text": {msgspec.json.encode(EVIL).decode()}}}',
            )
            for tenant, device, value in (
                ("tenant-a", "a", 0),
                ("tenant-a", "b", 10),
                ("tenant-a", "c", 20),
                ("tenant-b", "theirs", 90),
            )
            for at in range(2)
        ]
        await lane.commit(WriteSet(readings=said))
        await lane.close()
        yield found


def table(text: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text.decode(), newline="")))


async def asked(customer: Caller, query: str, **headers: str) -> tuple[int, Any, Any]:
    return await customer.get(f"/telemetry/query?{query}", headers=headers)


def bucketed(query: str) -> str:
    return f"bucket=1h&metric=n&from={iso(BEGIN_US - 3600 * S)}&to={iso(BEGIN_US + 3600 * S)}&{query}"


def iso(at_us: int) -> str:
    return moment(at_us).isoformat().replace("+00:00", "Z")


async def test_readings_page_by_page_of_the_tenant_alone(customer: Caller) -> None:
    seen, query = [], "limit=4"
    while True:
        status, body, _ = await asked(customer, query)
        assert status == 200, body
        seen += [(each["device_id"], each["metrics"]["n"]) for each in body["items"]]
        if body["next"] is None:
            break
        query = f"limit=4&cursor={body['next']}"
    assert seen == [("a", 0), ("a", 1), ("b", 10), ("b", 11), ("c", 20), ("c", 21)]


async def test_which_devices(customer: Caller) -> None:
    for query, devices in [
        ("device=a,c", "aacc"),
        ("site=site-2", "cc"),
        ("label=line", "aacc"),
        ("label=line:%3D1&site=site-1", "aa"),
        ("label=nothing", ""),
        ("device=theirs", ""),
        ("metric=other", ""),
    ]:
        status, body, _ = await asked(customer, f"{SPAN}&{query}")
        assert (status, "".join(each["device_id"] for each in body["items"])) == (200, devices)


async def test_as_csv_with_a_link_to_the_next_page(customer: Caller) -> None:
    for query, headers in ((f"{SPAN}&format=csv", {}), (SPAN, {"Accept": "text/csv"})):
        status, body, told = await asked(customer, f"{query}&metric=n,text&limit=5", **headers)
        assert (status, told["Content-Type"]) == (200, "text/csv; charset=utf-8")
        assert "Accept" in told["Vary"]
        rows = table(body)
        assert [(row["device_id"], row["n"], row["text"]) for row in rows] == [
            (device, number, f"'{EVIL}") for device, number in zip("aabbc", ("0", "1", "10", "11", "20"), strict=True)
        ]
        target, rel = told["Link"].split("; ")
        assert rel == 'rel="next"'
        _, rest, last = await customer.get(target.strip("<>").removeprefix("/customer"), headers=headers)
        assert [row["n"] for row in table(rest)] == ["21"]
        assert "Link" not in last
    _, body, told = await asked(customer, SPAN, Accept="application/json, text/csv;q=0.5")
    assert told["Content-Type"] == "application/json"


async def test_numbers_by_group(customer: Caller) -> None:
    for query, groups in [
        ("", {"a": [1], "b": [21], "c": [41]}),
        ("by=site", {"site-1": [22], "site-2": [41]}),
        ("by=label:line", {"=1": [42]}),
        ("by=site&label=line", {"site-1": [1], "site-2": [41]}),
        ("by=site&device=b,theirs", {"site-1": [21]}),
        ("by=label:none", {}),
    ]:
        status, body, _ = await asked(customer, bucketed(f"agg=sum&{query}"))
        assert status == 200, body
        found = {each["group"]: each["series"][0]["values"]["sum"] for each in body["groups"]}
        assert {name: [sum(numbers)] for name, numbers in found.items()} == groups


async def test_numbers_as_csv(customer: Caller, admin: Admin) -> None:
    _, body, _ = await asked(customer, bucketed("by=label:line&agg=min,max&format=csv"))
    rows = table(body)
    assert {(row["label"], row["metric"], row["min"][:1]) for row in rows} == {("'=1", "n", "0")}
    assert rows[0]["bucket"] == iso(BEGIN_US // (3600 * S) * 3600 * S).replace("Z", ".000000Z")
    _, body, told = await customer.get(f"/devices/b/telemetry?{bucketed('agg=sum&format=csv')}")
    assert told["Content-Disposition"] == 'attachment; filename="telemetry-b.csv"'
    assert sum(float(row["sum"]) for row in table(body)) == 21
    _, body, told = await customer.get("/devices/b/telemetry?format=csv&limit=1")
    assert [row["metrics"] for row in table(body)] == [f'{{"n":11,"text":{msgspec.json.encode(EVIL).decode()}}}']
    assert "cursor=" in told["Link"]


async def test_what_is_refused(customer: Caller) -> None:
    for query in [
        "bucket=1h",
        "by=site",
        "agg=min",
        "bucket=1h&metric=n&limit=5",
        "bucket=1h&metric=n&by=colour",
        "device=%3Ca%3E",
        "limit=10001",
        "cursor=x",
        "format=xlsx",
        "bucket=1s&metric=n&from=2026-01-01&to=2026-01-02",
        "bucket=1h&metric=n&from=2026-01-02&to=2026-01-01",
        "tenant_id=tenant-b",
    ]:
        status, body, _ = await asked(customer, query)
        assert status == 422, body


async def test_too_much_is_refused_before_it_is_read(customer: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(across, "NUMBERS_AT_MOST", 5)
    status, body, _ = await asked(customer, bucketed(""))
    assert (status, "more than 5" in body["detail"]) == (422, True)
    assert (await asked(customer, bucketed("by=site&device=a")))[0] == 200
    monkeypatch.setattr(device_groups, "DEVICES_AT_MOST", 2)
    status, body, _ = await asked(customer, bucketed(""))
    assert (status, "more than 2 devices" in body["detail"]) == (422, True)
    monkeypatch.setattr(across, "WITHIN_S", 0.0)
    status, body, _ = await asked(customer, SPAN)
    assert (status, "takes longer" in body["detail"]) == (422, True)


async def test_operators_name_the_tenant_and_are_written_down_first(admin: Admin, database: Database) -> None:
    operator = await admin.operator()
    assert (await operator.get("/telemetry/query"))[0] == 422
    status, body, _ = await operator.get(f"/telemetry/query?tenant_id=tenant-b&{SPAN}")
    assert (status, {each["device_id"] for each in body["items"]}) == (200, {"theirs"})
    status, body, _ = await operator.get("/tenants/tenant-b/devices/theirs/telemetry?format=csv")
    assert (status, len(table(body))) == (200, 2)
    assert (await operator.get("/tenants/tenant-a/devices/theirs/telemetry"))[0] == 404
    lines = judged(
        database,
        "SELECT tenant_id, resource FROM audit_log WHERE action = 'operator.access' AND tenant_id = 'tenant-b'",
    )
    assert sorted(lines) == [
        ("tenant-b", "GET /operator/telemetry/query"),
        ("tenant-b", "GET /operator/tenants/tenant-b/devices/theirs/telemetry"),
    ]
    with database.superuser() as hand:
        hand.execute("REVOKE INSERT ON audit_log FROM pulse_operator")
    assert (await operator.get(f"/telemetry/query?tenant_id=tenant-b&{SPAN}"))[0] == 503
