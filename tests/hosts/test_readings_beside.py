"""The web application with a telemetry store beside the database: room for tenants, and pages while it is away."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from pulse_core.config import DEFAULT_PLUGINS
from pulse_core.principal import Role
from pulse_server.web import unread
from support import beside_store
from support.admin import Admin, admin_api
from support.batches import judged, reading, register
from support.beside_store import Beside
from support.browser_forms import Page
from support.browsing import Browser, at_browser
from support.command_line import Pulse, command_line, ok

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

AWAY = "readings cannot be read or kept now: the telemetry store does not answer; try again"
ON_PAGES = "Readings cannot be read now"
NOW_US = time.time_ns() // 1000


@pytest.fixture
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Beside:
    """The store's file; its distribution is installed."""
    monkeypatch.syspath_prepend(str(beside_store.install(tmp_path / "distribution")))
    return Beside(tmp_path / "readings.sqlite")


def configured(beside: Beside) -> dict[str, Any]:
    plugins = {"enabled": (*DEFAULT_PLUGINS, "beside"), "beside": {"path": str(beside.path)}}
    return {"telemetry_store": "beside", "plugins": plugins}


@pytest.fixture
async def admin(database: Database, tmp_path: Path, beside: Beside) -> AsyncIterator[Admin]:
    async with admin_api(database, tmp_path, **configured(beside)) as found:
        await found.tenant()
        yield found


@pytest.fixture
async def device(admin: Admin, database: Database) -> str:
    """A device of tenant-a with readings."""
    register(database, "tenant-a/dev-1")
    said = [msgspec.structs.replace(reading(ts_us=NOW_US - n * 1_000_000), seq=n) for n in range(5)]
    await admin.client.app.extensions["services"].telemetry.write(said, None)
    return "/customer/devices/dev-1"


async def settled(admin: Admin, database: Database) -> Any:
    """An operator for whom tenant-a is suspended, so long ago that it may be removed."""
    operator = await admin.operator(Role.OPERATOR_ADMIN)
    assert (await operator.patch("/tenants/tenant-a", {"status": "SUSPENDED"}))[0] == 200
    judged(database, "UPDATE tenants SET suspended_at = now() - interval '11 s' RETURNING 1")
    return operator


async def test_a_tenant_gets_room_and_one_for_whom_there_is_none_is_not_made(
    admin: Admin, beside: Beside, database: Database
) -> None:
    assert beside.rooms() == ["tenant-a"]
    beside.go(rooms=1)
    operator = await admin.operator(Role.OPERATOR_ADMIN)
    for status, problem, _ in (
        await admin.post("/tenants", {"tenant_id": "tenant-b"}),
        await operator.post("/tenants", {"tenant_id": "tenant-b"}),
    ):
        assert (status, problem["detail"]) == (422, "there is room for 1 tenants: make more")
    browser = await at_browser(admin, database, Role.OPERATOR_ADMIN, "olga")
    form = await browser.go("/operator/tenants/~new")
    shown = await browser.go("/operator/tenants/~new", "POST", form={"csrf_token": form.token, "tenant_id": "tenant-b"})
    assert (shown.status, "there is room for 1 tenants: make more" in shown.text) == (422, True)
    beside.go(away=True)
    status, problem, headers = await admin.post("/tenants", {"tenant_id": "tenant-b"})
    assert (status, problem["detail"], "Retry-After" in headers) == (503, AWAY, True)
    assert judged(database, "SELECT tenant_id FROM tenants") == [("tenant-a",)]
    assert judged(database, "SELECT count(*) FROM audit_log WHERE tenant_id = 'tenant-b'") == [(0,)]
    beside.go()
    await admin.tenant("tenant-b")
    assert beside.rooms() == ["tenant-a", "tenant-b"]


async def test_a_removal_fails_while_the_store_is_away_and_can_be_repeated(
    admin: Admin, beside: Beside, database: Database, device: str
) -> None:
    operator = await settled(admin, database)
    beside.go(away=True)
    status, problem, _ = await operator.delete("/tenants/tenant-a?confirm=tenant-a")
    assert (status, problem["detail"]) == (503, AWAY)
    assert judged(database, "SELECT count(*) FROM devices") == [(1,)], "nothing has gone"
    beside.go()
    status, answer, _ = await operator.delete("/tenants/tenant-a?confirm=tenant-a")
    assert (status, answer) == (200, {"removed": {"readings": 5}})
    assert (beside.rooms(), beside.seqs("tenant-a")) == ([], {})
    assert judged(database, "SELECT count(*) FROM tenants") == [(0,)]


async def test_a_tenant_let_in_again_has_room_though_its_removal_was_begun(
    admin: Admin, beside: Beside, database: Database, device: str
) -> None:
    operator = await settled(admin, database)
    await admin.client.app.extensions["services"].telemetry.forget_tenant("tenant-a")
    assert beside.rooms() == []
    assert (await operator.patch("/tenants/tenant-a", {"status": "ACTIVE"}))[0] == 200
    assert beside.rooms() == ["tenant-a"]


async def demand_no_readings(browser: Browser, device: str) -> None:
    """The list and the device's page are there, without readings, and say so: on the page values and events do."""
    for path, times in (("/customer/devices", 1), (device, 2)):
        shown = await browser.go(path)
        assert (shown.status, shown.text.count(ON_PAGES)) == (200, times), path
        assert "dev-1" in shown.text
        assert not any("data-series" in attrs for _, attrs in Page(shown.text).elements), "no charts"


async def test_pages_do_without_readings_that_cannot_be_read_and_programs_are_told(
    admin: Admin, beside: Beside, database: Database, device: str
) -> None:
    browser, customer = await at_browser(admin, database, Role.CUSTOMER_ADMIN, "ada"), await admin.customer()
    olga, operator = await at_browser(admin, database, Role.OPERATOR, "olga"), await admin.operator()
    across = "/tenants/tenant-a/devices/dev-1"
    for path in ("/customer/devices", device):
        shown = await browser.go(path)
        assert (shown.status, ON_PAGES in shown.text) == (200, False)
    assert "data-series" in (await browser.go(device)).text
    assert len((await customer.get("/devices/dev-1/telemetry"))[1]["items"]) == 5
    beside.go(away=True)
    await demand_no_readings(browser, device)
    shown = await olga.go(f"/operator{across}")
    assert (shown.status, shown.text.count(ON_PAGES)) == (200, 1)
    for path in ("/customer/alerts", "/customer/integrations", "/customer/dashboard", f"{device}/connections"):
        assert (await browser.go(path)).status == 200, path
    for answer in (
        await customer.get("/devices/dev-1"),
        await customer.get("/devices/dev-1/telemetry"),
        await operator.get(across),
        await admin.get("/devices/tenant-a/dev-1/telemetry"),
    ):
        status, problem, headers = answer
        assert (status, problem["detail"], headers["Content-Type"]) == (503, AWAY, "application/problem+json")
    page = await browser.go(f"{device}/telemetry")
    assert (page.status, AWAY[1:] in page.text, "<h1" in page.text) == (503, True, True)
    assert (await customer.get("/devices"))[0] == 200, "the list for programs has no readings"
    beside.go()
    assert (await customer.get("/devices/dev-1"))[0] == 200


async def test_a_page_does_not_wait_for_ever_for_readings(
    admin: Admin, database: Database, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_: Any, **__: Any) -> Any:
        await asyncio.Event().wait()

    browser = await at_browser(admin, database, Role.CUSTOMER_ADMIN, "ada")
    monkeypatch.setattr(unread, "_PATIENCE_S", 0.05)
    monkeypatch.setattr(type(admin.client.app.extensions["services"].telemetry), "history", never)
    await demand_no_readings(browser, device)


def test_tenants_at_the_command_line_have_room_too(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, beside: Beside
) -> None:
    pulse: Pulse = command_line(monkeypatch, tmp_path, database)
    with (tmp_path / "pulse.toml").open("a") as file:
        enabled = ", ".join(f'"{name}"' for name in (*DEFAULT_PLUGINS, "beside"))
        file.write(f"[plugins]\nenabled = [{enabled}]\n{beside_store.config_of(beside.path)}")
    monkeypatch.setenv("PULSE_TELEMETRY_STORE", "beside")
    ok(pulse("tenants", "add", "tenant-a"))
    assert beside.rooms() == ["tenant-a"]
    beside.go(rooms=1)
    full = pulse("tenants", "add", "tenant-b")
    assert (full.exit_code != 0, "make more" in full.output) == (True, True)
    ok(pulse("tenants", "suspend", "tenant-a"))
    judged(database, "UPDATE tenants SET suspended_at = now() - interval '11 s' RETURNING 1")
    beside.go(away=True)
    failed = pulse("tenants", "remove", "tenant-a", "--confirm", "tenant-a")
    assert (failed.exit_code != 0, "telemetry store beside" in failed.output) == (True, True)
    beside.go()
    ok(pulse("tenants", "remove", "tenant-a", "--confirm", "tenant-a"))
    assert beside.rooms() == []
