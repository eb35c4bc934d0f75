"""The demo's live page in a real browser: what it shows, what it never runs, and who may see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_server.web.live import Rate
from support.admin import admin_api
from support.chromium import CHROMIUM, browsing, served

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database

EVIL = "<img src=x onerror=document.title='owned'>"


def test_rates_are_taken_over_some_seconds_and_begin_anew_with_the_counter() -> None:
    rate = Rate()
    assert rate.of({"accepted": 100, "rejected": 0}, 10.0)["accepted_per_s"] == 0
    assert rate.of({"accepted": 120, "rejected": 4}, 12.0) == {"accepted_per_s": 10, "rejected_per_s": 2}
    assert rate.of({"accepted": 120, "rejected": 4}, 30.0)["accepted_per_s"] == 0
    assert rate.of({"accepted": 5, "rejected": 0}, 31.0)["accepted_per_s"] == 0
    assert rate.of({"accepted": 8, "rejected": 0}, 32.0)["accepted_per_s"] == 3


async def test_outside_the_demo_there_is_no_page(database: Database, tmp_path: Path) -> None:
    async with admin_api(database, tmp_path) as admin:
        assert (await admin.client.get("/")).status_code == 401
        assert (await admin.client.get("/live")).status_code == 404
        assert (await admin.client.get("/live/data.json")).status_code == 404


@pytest.mark.parametrize(
    ("address", "host", "expected"),
    [
        ("127.0.0.1", "localhost:8080", 200),
        ("127.0.0.1", "127.0.0.1", 200),
        ("::1", "[::1]:8080", 200),
        ("::ffff:127.0.0.1", "LOCALHOST", 200),
        ("192.0.2.7", "localhost:8080", 403),
        ("127.0.0.1", "rebound.example", 403),
        ("127.0.0.1", "localhost.evil.example", 403),
        ("127.0.0.1", "", 403),
        ("<local>", "localhost", 403),
    ],
)
async def test_the_page_is_for_this_machine_alone(
    database: Database, tmp_path: Path, address: str, host: str, expected: int
) -> None:
    async with admin_api(database, tmp_path, demo=True) as admin:
        for path, refusal in {"/": 401, "/live": 403, "/live/data.json": 403}.items():
            response = await admin.client.get(path, headers={"Host": host}, scope_base={"client": (address, 4711)})
            assert response.status_code == (expected if expected == 200 else refusal), path


def arrange(database: Database) -> None:
    with database.superuser() as connection:
        connection.execute("INSERT INTO tenants (tenant_id) VALUES ('tenant-a')")
        connection.execute(
            "INSERT INTO devices (tenant_id, device_id, site_id, name) VALUES ('tenant-a', 'dev-1', 'site-1', %s)",
            (EVIL,),
        )
        connection.execute(
            "INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity,"
            " confidence, summary, opened_at) VALUES ('tenant-a', gen_random_uuid(), 'dev-1', 'site-1', 'NO_HEARTBEAT',"
            " 'f', 'OPEN', 4, 0.9, %s, now())",
            (EVIL,),
        )


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("width", [1280, 375])
async def test_a_browser_shows_everything_and_runs_nothing_of_it(
    database: Database, tmp_path: Path, width: int
) -> None:
    arrange(database)
    complaints: list[str] = []
    async with served(database, tmp_path, demo=True) as url, browsing(width, complaints) as page:
        await page.goto(url)
        await page.wait_for_selector("#alerts .pill")
        assert await page.text_content("#devices-total") == "1"
        assert await page.text_content("#alerts-open") == "1"
        shown: Any = await page.text_content("#alerts")
        assert EVIL in shown
        assert EVIL in str(await page.text_content("#devices"))
        assert await page.title() == "OpsConductor-Pulse: live"
        assert await page.locator("main img").count() == 0
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        with database.superuser() as connection:
            connection.execute("UPDATE alerts SET status = 'CLOSED', closed_at = now()")
        await page.wait_for_selector("#alerts .pill:text-is('CLOSED')")
        assert await page.text_content("#alerts-open") == "0"
    assert complaints == []
