"""PATCH of a device: names, labels, thresholds; found by them at once, and known to whoever judges it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from support.batches import judged

if TYPE_CHECKING:
    from support.admin import Admin, Caller
    from support.database import Database

PATH = "/devices/dev-1"


@pytest.fixture
async def device(admin: Admin) -> None:
    await admin.device()
    await admin.device("dev-2")


async def ids(caller: Caller, query: str) -> list[str]:
    _, body, _ = await caller.get(f"/devices?{query}")
    return [item["device_id"] for item in body["items"]]


async def test_labels_are_merged_and_found_by(customer: Caller, database: Database, device: None) -> None:
    status, body, _ = await customer.patch(PATH, {"name": "Boiler", "labels": {"floor": "1", "model": "x"}})
    assert (status, body["name"], body["labels"]) == (200, "Boiler", {"floor": "1", "model": "x"})
    assert await ids(customer, "label=floor:1") == ["dev-1"]
    _, body, _ = await customer.patch(PATH, {"labels": {"floor": None, "model": "y", "old": None}})
    assert (body["name"], body["labels"]) == ("Boiler", {"model": "y"})
    for query in ("label=floor", "label=model:x"):
        assert await ids(customer, query) == [], query
    for query in ("label=model:y", "label=model"):
        assert await ids(customer, query) == ["dev-1"], query
    assert (await customer.patch(PATH, {}))[1]["labels"] == {"model": "y"}
    lines = judged(database, "SELECT resource, details FROM audit_log WHERE action = 'device.change' ORDER BY at")
    assert lines[0][0] == "tenant-a/dev-1"
    assert lines[1][1] == {"labels": {"old": {"floor": "1", "model": "x"}, "new": {"model": "y"}}}
    assert lines[2][1] == {}


async def test_a_threshold_is_set_and_taken_away_and_the_pipeline_hears_of_it(
    customer: Caller, database: Database, device: None
) -> None:
    with psycopg.connect(database.url, autocommit=True) as listening:
        listening.execute("LISTEN pulse_devices")
        assert (await customer.patch(PATH, {"stale_after_s": 60}))[1]["stale_after_s"] == 60
        assert [notice.payload for notice in listening.notifies(timeout=5, stop_after=1)] == ["tenant-a/dev-1"]
    assert (await customer.patch(PATH, {"stale_after_s": None}))[1]["stale_after_s"] is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"site_id": "s"}, {"device_id": "x"}, {"name": None}, {"labels": None}, {"labels": {"a:b": "c"}},
        {"labels": {"": "c"}}, {"labels": {"a": 1}}, {"labels": {"a": "x" * 201}}, {"stale_after_s": 0},
        {"labels": {f"l{number}": "x" for number in range(33)}}, {"token_hash": "x"}, {"revoked_at": None},
    ],
)  # fmt: skip
async def test_what_cannot_be_changed(
    customer: Caller, database: Database, device: None, wrong: dict[str, Any]
) -> None:
    before = judged(database, "SELECT to_jsonb(d)::text FROM devices d ORDER BY 1")
    status, body, _ = await customer.patch(PATH, wrong)
    assert status == 422, body
    assert judged(database, "SELECT to_jsonb(d)::text FROM devices d ORDER BY 1") == before


async def test_changes_at_once_are_all_kept(customer: Caller, device: None) -> None:
    await asyncio.gather(*(customer.patch(PATH, {"labels": {f"l{number}": "x"}}) for number in range(8)))
    assert (await customer.get(PATH))[1]["labels"] == {f"l{number}": "x" for number in range(8)}


async def test_the_holder_of_the_key_changes_any_tenants(admin: Admin, customer: Caller, database: Database) -> None:
    await admin.tenant("tenant-b")
    await admin.device("dev-1", "tenant-b")
    status, body, _ = await admin.patch("/devices/tenant-b/dev-1", {"labels": {"a": "b"}})
    assert (status, body["labels"]) == (200, {"a": "b"})
    assert (await admin.patch("/devices/tenant-b/nobodys", {"name": "x"}))[0] == 404
    assert (await customer.patch("/devices/dev-1", {"name": "x"}))[0] == 404
    assert await ids(customer, "label=a:b") == []
    assert judged(database, "SELECT tenant_id FROM device_labels") == [("tenant-b",)]
