"""Devices registered, changed, given tokens and commands on pages, as a browser does it that runs no script."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest_asyncio

from pulse_postgres.tokens import hash_code, hash_token
from support.admin import Admin, admin_api
from support.batches import judged
from support.browser_forms import Page, filled, secret_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.browsing import Browser, Shown
    from support.database import Database

NEW = "/customer/devices/new"
PUMP = "/customer/devices/pump-1"
RIGHT = {"device_id": "pump-1", "site_id": "north", "name": "Pump", "stale_after_s": "90"}


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    async with admin_api(database, tmp_path, device_url="https://devices.example.com/") as found:
        await found.tenant()
        yield found


async def registered(browser: Browser) -> Shown:
    return await browser.post(NEW, filled((await browser.go(NEW)).text, **RIGHT))


async def confirmed(browser: Browser, path: str, **said: str) -> Shown:
    asked = await browser.go(path)
    assert asked.status == 200
    return await browser.post(path, {"csrf_token": asked.token, **said})


async def test_a_device_is_registered_and_its_code_shown_once_with_lines_that_work(
    browser: Browser, database: Database
) -> None:
    shown = await registered(browser)
    assert (shown.status, shown.headers["Cache-Control"]) == (201, "no-store")
    code = secret_of(shown.text)
    assert code is not None
    assert judged(database, "SELECT device_id, site_id, name, stale_after_s FROM devices") == [
        ("pump-1", "north", "Pump", 90.0)
    ]
    assert judged(database, "SELECT code_hash FROM activation_codes") == [(hash_code(code),)]
    lines = "".join(Page(shown.text).texts)
    assert "TOKEN=$(curl -s https://devices.example.com/api/device/activate " in lines
    assert f'{{"code": "{code}"}}' in lines
    assert "https://devices.example.com/ingest/v1/tenant/tenant-a/device/pump-1/telemetry" in lines
    assert "mosquitto_pub -h 127.0.0.1 -p 1883" in lines
    assert code not in (await browser.go(PUMP)).text
    actions = judged(database, "SELECT action, actor FROM audit_log WHERE action LIKE 'device%%' ORDER BY action")
    assert actions == [("device.activate-code", "user:ada"), ("device.create", "user:ada")]


async def test_what_is_wrong_stands_beside_the_field(browser: Browser, database: Database) -> None:
    form = (await browser.go(NEW)).text
    for wrong in ({"device_id": ""}, {"device_id": "a b"}, {"device_id": "new"}, {"stale_after_s": "0"}):
        shown = await browser.post(NEW, filled(form, **{**RIGHT, **wrong}))
        assert shown.status == 422, wrong
        assert f'href="#f-{next(iter(wrong))}"' in shown.text, wrong
    assert judged(database, "SELECT FROM devices") == []
    await registered(browser)
    again = await registered(browser)
    assert (again.status, "has a device" in again.text) == (409, True)


async def test_a_device_is_changed_by_whoever_saw_it_last(browser: Browser, database: Database) -> None:
    await registered(browser)
    judged(database, 'UPDATE devices SET labels = \'{"floor": "2", "wing": "n"}\' RETURNING true')
    form = (await browser.go(f"{PUMP}/edit")).text
    (floor,) = [box.name for box in Page(form).boxes if box.value == "floor"]
    changed = {"name": "", "stale_after_s": "", floor: "", floor.removesuffix("~key"): ""}
    assert (await browser.post(f"{PUMP}/edit", filled(form, **changed))).to == PUMP
    assert judged(database, "SELECT name, labels, stale_after_s FROM devices") == [("", {"wing": "n"}, None)]
    again = (await browser.go(f"{PUMP}/edit")).text
    assert (await browser.post(f"{PUMP}/edit", filled(again, name="first"))).to == PUMP
    late = await browser.post(f"{PUMP}/edit", filled(again, name="second"))
    assert (late.status, "Somebody else has changed it" in late.text) == (412, True)
    assert judged(database, "SELECT name FROM devices") == [("first",)]


async def test_a_token_is_replaced_and_the_old_one_stays_for_a_while(browser: Browser, database: Database) -> None:
    await registered(browser)
    refused = await confirmed(browser, f"{PUMP}/rotate-token", grace_s="0")
    assert refused.status == 409, "it was never activated"
    judged(database, "UPDATE devices SET token_hash = sha256('old') RETURNING true")
    assert (await confirmed(browser, f"{PUMP}/rotate-token", grace_s="7")).status == 422
    shown = await confirmed(browser, f"{PUMP}/rotate-token", grace_s="3600")
    token = secret_of(shown.text)
    assert token is not None
    assert (shown.status, shown.headers["Cache-Control"]) == (200, "no-store")
    assert "after an hour" in shown.text
    assert f'"X-Provision-Token: {token}"' in "".join(Page(shown.text).texts)
    look = "SELECT token_hash, previous_token_hash = sha256('old'), previous_until > now() FROM devices"
    assert judged(database, look) == [(hash_token(token), True, True)]


async def test_a_device_is_shut_out_by_whoever_says_so_twice(browser: Browser, database: Database) -> None:
    await registered(browser)
    assert (await confirmed(browser, f"{PUMP}/revoke")).status == 422
    assert judged(database, "SELECT revoked_at FROM devices") == [(None,)]
    assert (await confirmed(browser, f"{PUMP}/revoke", confirm="yes")).to == PUMP
    page = (await browser.go(PUMP)).text
    assert "It was revoked" in page
    for end in ("activate-code", "rotate-token", "revoke", "commands/new"):
        assert f"{PUMP}/{end}" not in page
    assert judged(database, "SELECT FROM activation_codes") == []
    assert (await confirmed(browser, f"{PUMP}/activate-code")).status == 409


async def test_a_program_is_not_asked_but_told_to_post(browser: Browser) -> None:
    await registered(browser)
    for end in ("activate-code", "rotate-token", "revoke"):
        told = await browser.go(f"{PUMP}/{end}", Accept="application/json")
        assert (told.status, told.headers["Allow"]) == (405, "POST")


async def test_a_command_is_sent_and_what_became_of_it_stands_on_the_page(browser: Browser, database: Database) -> None:
    await registered(browser)
    form = (await browser.go(f"{PUMP}/commands/new")).text
    names = {box.name.partition("~")[0]: box.name for box in Page(form).boxes}
    for wrong in ({"name": "a b"}, {names["payload"]: "{"}, {"expires_in_s": "0"}):
        assert (await browser.post(f"{PUMP}/commands/new", filled(form, **{"name": "reboot", **wrong}))).status == 422
    right = filled(form, **{"name": "reboot", names["payload"]: '{"in_s": 5}'})
    assert (await browser.post(f"{PUMP}/commands/new", right)).to == PUMP
    page = "".join(Page((await browser.go(PUMP)).text).texts)
    assert '{"in_s":5}' in page
    assert "queued" in page
    judged(
        database,
        "UPDATE device_commands SET status = 'ACKNOWLEDGED', sent_at = now(), acknowledged_at = now(), way = 'http'"
        " RETURNING true",
    )
    assert "over http, done 0 s ago" in " ".join("".join(Page((await browser.go(PUMP)).text).texts).split())


async def test_three_steps_to_begin_are_ticked_off(browser: Browser, database: Database) -> None:
    async def done() -> list[bool]:
        page = (await browser.go("/customer/dashboard")).text
        return [mark == "done" for mark in re.findall(r'<li class="(done|)"><p class="step-title"', page)]

    assert await done() == [False, False, False]
    await registered(browser)
    page = (await browser.go("/customer/dashboard")).text
    assert await done() == [True, False, False]
    assert "https://devices.example.com/ingest/v1/tenant/tenant-a/device/pump-1/telemetry" in page
    judged(
        database,
        "INSERT INTO device_state (tenant_id, device_id, status, status_since, last_seen_at)"
        " VALUES ('tenant-a', 'pump-1', 'STALE', now(), now()) RETURNING true",
    )
    assert await done() == [True, True, False]
    judged(
        database,
        "INSERT INTO integrations (tenant_id, integration_id, type, name, config)"
        " VALUES ('tenant-a', gen_random_uuid(), 'webhook', 'w', '{}') RETURNING true",
    )
    assert await done() == []
