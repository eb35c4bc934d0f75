"""A page that updates by itself: what it reads again within a minute is covered by its line, and nothing else is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pulse_core.errors import StoreUnavailable
from pulse_core.principal import Role
from pulse_postgres.audit import AuditLog
from pulse_server.web import covered
from support import two_tenants
from support.admin import Admin, admin_api
from support.batches import judged
from support.browsing import Browser, at_browser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

PATH = "/operator/devices"
AGAIN = {"HX-Request": "true"}
LINES = "SELECT resource, details ->> 'query', actor FROM audit_log WHERE action = 'operator.access' ORDER BY at"


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    two_tenants.fill(database)
    async with admin_api(database, tmp_path) as found:
        yield found


@pytest.fixture
async def browser(admin: Admin, database: Database) -> Browser:
    return await at_browser(admin, database, Role.OPERATOR, "op")


def lines(database: Database) -> list[Any]:
    return judged(database, LINES)


async def test_what_a_page_reads_again_leaves_one_line_a_minute(
    browser: Browser, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1000.0
    monkeypatch.setattr("pulse_server.web.covered.time.monotonic", lambda: now)
    assert (await browser.go(PATH)).status == 200
    for _ in range(5):
        now += 11
        assert (await browser.go(PATH, **AGAIN)).status == 200
    assert lines(database) == [(f"GET {PATH}", "", "user:op")]
    now += 5
    await browser.go(PATH, **AGAIN)
    await browser.go(PATH, **AGAIN)
    assert len(lines(database)) == 2, "looking does not prolong it"


async def test_whoever_goes_there_anew_is_written_down_anew(browser: Browser, database: Database) -> None:
    for _ in range(2):
        await browser.go(PATH)
    assert len(lines(database)) == 2


async def test_another_look_is_another_line(admin: Admin, browser: Browser, database: Database) -> None:
    await browser.go(PATH)
    other = await at_browser(admin, database, Role.OPERATOR, "other")
    twin = browser.twin()
    for number, (who, path, more) in enumerate(
        [
            (browser, f"{PATH}?tenant_id=tenant-a", {}),
            (browser, f"{PATH}?tenant_id=tenant-b", {}),
            (browser, "/operator/alerts", {}),
            (browser, PATH, {"User-Agent": "another"}),
            (other, PATH, {}),
        ]
    ):
        assert (await who.go(path, **AGAIN, **more)).status == 200
        assert len(lines(database)) == number + 2, (path, more)
    await twin.log_in("op")
    await twin.go(PATH, **AGAIN)
    assert len(lines(database)) == 7, "another session of the same person"


async def test_programs_leave_a_line_each_time(admin: Admin, database: Database) -> None:
    operator = await admin.operator()
    for _ in range(3):
        assert (await operator.get("/devices", headers=AGAIN))[0] == 200
    assert len(lines(database)) == 3


async def test_a_line_that_is_not_certain_covers_nothing(
    browser: Browser, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("away")

    with monkeypatch.context() as broken:
        broken.setattr(AuditLog, "note", away)
        for _ in range(2):
            shown = await browser.go(PATH, **AGAIN)
            assert (shown.status, "tenant-" in shown.text) == (503, False)
    assert lines(database) == []
    assert (await browser.go(PATH, **AGAIN)).status == 200
    assert len(lines(database)) == 1


def test_no_more_is_remembered_than_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covered, "_AT_MOST", 3)
    found = covered.Covered()
    for number in range(5):
        found.add(number)
    assert [found.holds(number) for number in range(5)] == [False, False, True, True, True]
