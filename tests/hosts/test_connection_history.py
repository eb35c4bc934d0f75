"""A device's connections, its refused logins and last wills: one history, newest first, in words and as JSON."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest_asyncio

from pulse_core.principal import Role
from support.admin import Admin, admin_api
from support.batches import judged, register
from support.browsing import at_browser

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database

HISTORY = """
    INSERT INTO device_connections (tenant_id, connection_id, device_id, source, protocol, address, client_id,
        connected_at, disconnected_at, reason, event, detail, times)
    SELECT t, gen_random_uuid(), 'dev-1', 'mqtt', protocol, '192.0.2.7', client, now() - began * interval '1 minute',
        now() - ended * interval '1 minute', reason, event, detail, times
    FROM unnest(ARRAY['tenant-a', 'tenant-b']) AS t, (VALUES
        ('mqtts/5', 'lasting', 1, NULL::int, NULL, NULL, '', 1),
        ('mqtt/3.1.1', 'guess', 2, 2, NULL, 'REFUSED', 'TOKEN_INVALID', 1200),
        ('', 'before', 3, 3, NULL, 'WILL', 'telemetry: taken in', 1),
        ('', 'before', 4, 4, NULL, 'WILL', 'any: topic: UNKNOWN_MESSAGE_TYPE', 1),
        ('mqtt-ws/5', 'before', 8, 5, 'LOST', NULL, '', 1),
        ('odd', '', 9, 9, NULL, 'REFUSED', 'SOMETHING_NEW', 1)
    ) AS v (protocol, client, began, ended, reason, event, detail, times) RETURNING true
"""
TOLD = (
    "Connected by MQTT 5 over TLS from 192.0.2.7 as client lasting",
    "Refused 1\u202f200 times within a minute: wrong token",
    "MQTT 3.1.1 from 192.0.2.7 as client guess",
    "Last will: telemetry taken in",
    "Last will: any: topic not taken in: no such message type",
    "Connected by MQTT 5 over WebSocket from 192.0.2.7 as client before",
    "Disconnected after 3 min: connection lost",
    "Refused: SOMETHING_NEW",
    "odd from 192.0.2.7",
)


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    register(database, "tenant-a/dev-1", "tenant-b/dev-1")
    judged(database, HISTORY)
    async with admin_api(database, tmp_path) as found:
        yield found


async def test_people_read_it_in_words_on_both_pages(admin: Admin, database: Database) -> None:
    browser = await at_browser(admin, database, Role.CUSTOMER_VIEWER)
    whole = await browser.go("/customer/devices/dev-1/connections")
    text = " ".join(re.sub(r"<[^>]+>", "", whole.text).split())
    places = [text.find(each.replace("\u202f", " ")) for each in TOLD]
    assert places == sorted(places), text
    assert places[0] > 0, text
    assert text.count("Connected by") == 2, "its own alone"
    short = (await browser.go("/customer/devices/dev-1")).text
    assert "wrong token" in short


async def test_programs_get_it_with_the_event_and_its_detail(admin: Admin) -> None:
    caller = await admin.customer()
    found = (await caller.get("/devices/dev-1/connections"))[1]["items"]
    assert [(each["event"], each["reason"], each["detail"], each["times"]) for each in found] == [
        (None, None, "", 1),
        ("REFUSED", None, "TOKEN_INVALID", 1200),
        ("WILL", None, "telemetry: taken in", 1),
        ("WILL", None, "any: topic: UNKNOWN_MESSAGE_TYPE", 1),
        (None, "LOST", "", 1),
        ("REFUSED", None, "SOMETHING_NEW", 1),
    ]
    assert all(each["disconnected_at"] == each["connected_at"] for each in found if each["event"])
