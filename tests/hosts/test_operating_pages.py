"""The pages on which the platform itself is looked after: refused messages, settings, plugins, commands."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
from typing import TYPE_CHECKING, Any, cast

import pytest
import pytest_asyncio

from pulse_core.plugin_set import PluginState, with_fault
from pulse_core.principal import Role
from pulse_core.records import Reason
from pulse_core.settings import Settings
from pulse_postgres.pool import open_pool
from pulse_postgres.settings import PostgresSettings
from pulse_server.payloads import MOST_BYTES, MOST_CHARACTERS, readable, visible
from pulse_server.reasons import BRIEFLY, EXPLAINED
from pulse_server.web.operator.refusal_bars import HEIGHT, bars_of
from support import two_tenants
from support.admin import Admin, admin_api
from support.batches import judged
from support.browser_forms import EVIL, Page
from support.browsing import Browser, at_browser
from support.rights import OURS
from support.two_tenants import an_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.browsing import Shown
    from support.database import Database

PATHS = ["/operator/quarantine", "/operator/quarantine/counts", "/operator/plugins", "/operator/commands"]
SETTINGS = "/operator/settings"
KEY = "a key that nobody may read"


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    two_tenants.fill(database)
    plugins = {"enabled": ["http", "mqtt", "heartbeat", "webhook", "postgres", "accounts", "oidc"], "oidc": OIDC}
    async with admin_api(database, tmp_path, plugins=plugins) as found:
        yield found


OIDC = {"issuer": "https://id.example.com", "client_id": "pulse", "client_secret": KEY}


@pytest.fixture
async def browser(admin: Admin, database: Database) -> Browser:
    return await at_browser(admin, database, Role.OPERATOR_ADMIN)


def by_hand(database: Database, query: str, **values: Any) -> None:
    with database.superuser() as hand:
        hand.execute(query, values)


def words(shown: Shown) -> str:
    """What a person reads on a page."""
    return " ".join("".join(Page(shown.text).texts).split())


@pytest.mark.parametrize("role", list(Role))
async def test_each_role_sees_what_is_its_own(admin: Admin, database: Database, role: Role) -> None:
    browser = await at_browser(admin, database, role)
    for path in [*PATHS, SETTINGS]:
        shown = await browser.go(path)
        may = role is Role.OPERATOR_ADMIN or (role is Role.OPERATOR and path != SETTINGS)
        assert shown.status == (200 if may else 403), path
        assert "Accept" in shown.headers["Vary"]
        if may:
            page = Page(shown.text)
            current = [each["href"] for tag, each in page.elements if tag == "a" and each.get("aria-current") == "page"]
            assert current == ["/".join(path.split("/")[:3])]
            assert "script-src 'self';" in shown.headers["Content-Security-Policy"]
            assert not [each for _, each in page.elements if "style" in each or any(n.startswith("on") for n in each)]
            assert (await browser.go(path, Accept="application/json")).headers["Content-Type"] == "application/json"


async def test_every_text_stays_text(browser: Browser, database: Database) -> None:
    for what in (
        "UPDATE quarantine SET detail = %(evil)s, device_id = %(evil)s, topic = %(evil)s, source = %(evil)s",
        "UPDATE quarantine SET payload = jsonb_build_object(%(evil)s, %(evil)s)",
        "UPDATE quarantine_counts SET reason = %(evil)s",
        "UPDATE device_commands SET created_by = %(evil)s",
        "UPDATE integrations SET name = %(evil)s",
        "UPDATE delivery_attempts SET outcome = 'PERMANENT', detail = %(evil)s",
        "INSERT INTO settings (name, value, updated_by) VALUES ('RATE_LIMIT_RPS', '6', %(evil)s)",
    ):
        by_hand(database, what.replace("%(evil)s", "%(evil)s::text"), evil=EVIL)
    for path in [*PATHS, SETTINGS]:
        page = Page((await browser.go(path)).text)
        assert EVIL in "".join(page.texts), path
        assert not [each for tag, each in page.elements if tag == "img" and each.get("src") == "x"], path
        assert all("src" in each for tag, each in page.elements if tag == "script"), path
        assert "49" not in "".join(page.texts).split()


def test_every_reason_is_explained() -> None:
    assert set(EXPLAINED) == set(BRIEFLY) == set(Reason)
    for reason, each in EXPLAINED.items():
        assert each.what.endswith("."), reason
        assert each.remedy.endswith("."), reason
    assert len({each.what for each in EXPLAINED.values()}) == len(Reason)


async def test_a_refused_message_is_explained_and_can_be_read(browser: Browser, database: Database) -> None:
    by_hand(database, "DELETE FROM quarantine")
    for reason in Reason:
        by_hand(
            database,
            "INSERT INTO quarantine (tenant_id, reject_id, received_at, reason, device_id, topic, source, payload)"
            " VALUES ('tenant-a', gen_random_uuid(), now(), %(reason)s, 'd', 'a/topic', 'mqtt', '{\"a\": [1]}')",
            reason=reason,
        )
    text = words(await browser.go("/operator/quarantine"))
    for explanation in EXPLAINED.values():
        assert f"{explanation.what} {explanation.remedy}" in text
    assert text.count('{ "a": [ 1 ] }') == len(Reason)
    assert "by mqtt" in text
    for query, count in {
        "reason=TOKEN_INVALID": 1,
        "reason=": 16,
        "tenant_id=tenant-b&device_id=&from=&before=": 0,
        "device_id=d": 16,
        "device_id=e": 0,
        "from=2026-01-01T00:00": 16,
        "before=2026-01-01T00:00": 0,
    }.items():
        shown = await browser.go(f"/operator/quarantine?{query}")
        assert shown.text.count('<li class="row-item warn">') == count, query
        assert ("No message like that was kept" in shown.text) == (count == 0)
    assert (await browser.go("/operator/quarantine?reason=BORED")).status == 422


async def test_why_nothing_is_kept_is_said(admin: Admin, browser: Browser, database: Database) -> None:
    looking = await at_browser(admin, database, Role.OPERATOR)
    settings = PostgresSettings(admin.client.app.extensions["services"].pools.admin)
    for values, said in (
        ({"MODE": "PROD"}, "MODE is PROD, which keeps none"),
        ({"MODE": "DEV", "STORE_REJECTS": False}, "STORE_REJECTS and MIRROR_REJECTS_TO_RAW are off"),
        ({"MODE": "DEV", "STORE_REJECTS": True}, ""),
    ):
        await settings.save(values, "test")
        shown = await browser.go("/operator/quarantine")
        assert ("but not kept" in shown.text, said in shown.text) == (bool(said), True)
        assert ('<a href="/operator/settings">Change the settings' in shown.text) is bool(said)
        assert "Change the settings" not in (await looking.go("/operator/quarantine")).text


async def test_the_last_hour_is_drawn(browser: Browser, database: Database) -> None:
    by_hand(database, "DELETE FROM quarantine_counts")
    assert "Nothing was refused in the last hour" in (await browser.go("/operator/quarantine")).text
    by_hand(
        database,
        "INSERT INTO quarantine_counts SELECT t, date_trunc('minute', now()) - m * interval '1 minute', r, s, n"
        " FROM (VALUES ('', 1, 'BAD_TOPIC_FORMAT', 0, 3),"
        " ('tenant-a', 1, 'TOKEN_INVALID', 0, 4), ('tenant-a', 1, 'TOKEN_INVALID', 1, 5),"
        " ('tenant-b', 30, 'TOKEN_INVALID', 0, 1), ('tenant-a', 61, 'RATE_LIMITED', 0, 77)) x (t, m, r, s, n)",
    )
    page = Page((await browser.go("/operator/quarantine")).text)
    titles = [text for text in page.texts if " UTC: " in text]
    assert sorted(title.partition(" UTC: ")[2] for title in titles) == [
        "1 TOKEN_INVALID",
        "3 BAD_TOPIC_FORMAT",
        "9 TOKEN_INVALID",
    ]
    assert "12 in the worst minute" in "".join(page.texts)
    narrowed = (await browser.go("/operator/quarantine?tenant_id=tenant-b")).text
    assert ("1 in the worst minute" in narrowed, " 3 BAD_TOPIC_FORMAT" in narrowed) == (True, False)
    counted = words(await browser.go("/operator/quarantine/counts?tenant_id=tenant-a&reason=RATE_LIMITED"))
    assert "RATE_LIMITED 77" in counted
    assert EXPLAINED[Reason.RATE_LIMITED].what in counted


def test_bars_stand_on_each_other_and_stay_within() -> None:
    now = dt.datetime(2026, 1, 1, 12, 30, 59, tzinfo=dt.UTC)
    minute = now.replace(second=0)
    few = [(minute, f"R{each}", 1) for each in range(100)]
    drawn = bars_of([*few, (minute, "MANY", 100_000), (minute - dt.timedelta(minutes=59), "MANY", 1)], now)
    assert all(0 <= bar.y <= HEIGHT and bar.y + bar.height <= HEIGHT + 0.01 for bar in drawn.bars)
    assert {bar.x for bar in drawn.bars} == {0, 590}
    assert (drawn.total, drawn.highest, drawn.reasons[0]) == (100_101, 100_100, ("MANY", 0, 100_001))
    assert {series for _, series, _ in drawn.reasons} == set(range(6))
    assert bars_of([(minute - dt.timedelta(minutes=60), "OLD", 1)], now).total == 0


@pytest.mark.parametrize(
    ("payload", "raw", "kind", "text"),
    [
        ({"a": [1, "é"]}, None, "JSON", '{\n  "a": [\n    1,\n    "é"\n  ]\n}'),
        (None, b'{"a":1}', "JSON", '{\n  "a": 1\n}'),
        (None, b"hello\nworld", "text", "hello\nworld"),
        (None, b"\x00\xff<", "bytes", "0000  00 ff 3c                                         ..<"),
        ({"unparsed": "half {"}, None, "text", "half {"),
        ({"unparsed": "\ufffd"}, b"\xff", "bytes", "0000  ff                                               ."),
        ({"a": "\u202eevil"}, None, "JSON", '{\n  "a": "\\u202eevil"\n}'),
        (None, None, "nothing", ""),
        (None, b'{"provision_token": "secret", "a": 1}', "JSON", '{\n  "provision_token": "********",\n  "a": 1\n}'),
        (None, b'{"provision_token" :"secret', "text", '{"provision_token" :"********'),
        ({"unparsed": '"provision_token":"secret" \ufffd'}, None, "text", '"provision_token":"********" \ufffd'),
    ],
)
def test_payloads_can_be_read(payload: Any, raw: bytes | None, kind: str, text: str) -> None:
    found = readable(payload, raw)
    assert (found.kind, found.text, found.cut) == (kind, text, False)


def test_long_payloads_are_cut() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    for payload, raw in (
        ({"a": ["x"] * 10**6}, None),
        (None, b"x" * 10**6),
        (None, b"\xff" * 10**6),
        (None, b"[" * 10**5),
        ("\n" * 10**5, None),
        (deep, None),
    ):
        found = readable(payload, raw)
        assert found.cut
        assert len(found.text) <= max(12 * MOST_CHARACTERS, 5 * MOST_BYTES)
    assert visible("a\u202e\n\0b") == "a\\u202e\\n\\x00b"


def sent(shown: Shown, **filled: str | None) -> Any:
    return Page(shown.text).sent(filled)


async def test_settings_are_changed_and_everybody_hears_of_it(browser: Browser, database: Database) -> None:
    pool = await open_pool(database.dsn("pulse_pipeline"), name="test", max_size=2)
    heard = PostgresSettings(pool, database.dsn("pulse_pipeline"))
    changes = heard.changes()
    await anext(changes)
    shown = await browser.go(SETTINGS)
    assert words(shown).count("Never changed.") == len(Settings.model_fields)
    form = sent(shown, RATE_LIMIT_RPS="7.5", MODE="DEV", STORE_REJECTS="true")
    assert (await browser.post(SETTINGS, [*form.items(multi=True)])).to == SETTINGS
    await asyncio.wait_for(anext(changes), 5)
    wanted = Settings(RATE_LIMIT_RPS=7.5, MODE="DEV", STORE_REJECTS=True)
    assert await heard.load() == wanted
    text = words(await browser.go(SETTINGS))
    assert "Saved." in text
    assert text.count("ago by operator_admin.") == 3
    changed = (await browser.go(f"{SETTINGS}/changes", Accept="application/json")).json()["items"]
    assert [(each["name"], each["by"]) for each in changed] == [
        (name, "user:operator_admin") for name in ("MODE", "RATE_LIMIT_RPS", "STORE_REJECTS")
    ]
    await cast("Any", changes).aclose()
    await pool.close()


async def test_prod_forces_the_flags_off_and_says_so(browser: Browser) -> None:
    shown = await browser.go(SETTINGS)
    assert words(shown).count("Off, because MODE is PROD") == 2
    form = sent(shown, MIRROR_REJECTS_TO_RAW="true")
    await browser.post(SETTINGS, [*form.items(multi=True)])
    shown = await browser.go(SETTINGS)
    assert "Saved. MODE is PROD, so no refused messages are kept." in words(shown)
    assert "MIRROR_REJECTS_TO_RAW" not in sent(shown)


async def test_what_is_wrong_stands_beside_its_field(browser: Browser, database: Database) -> None:
    form = sent(await browser.go(SETTINGS), RATE_LIMIT_RPS="0", MAX_PAYLOAD_BYTES="many", RATE_LIMIT_BURST="33")
    shown = await browser.post(SETTINGS, [*form.items(multi=True)])
    assert shown.status == 422
    page = Page(shown.text)
    boxes = {box.name: box for box in page.boxes}
    assert {name for name, box in boxes.items() if box.attrs.get("aria-invalid")} == {
        "RATE_LIMIT_RPS",
        "MAX_PAYLOAD_BYTES",
    }
    assert (boxes["RATE_LIMIT_RPS"].value, boxes["RATE_LIMIT_BURST"].value) == ("0", "33")
    assert judged(database, "SELECT FROM settings") == []


async def test_a_stale_form_is_refused(browser: Browser, database: Database) -> None:
    first, second = await browser.go(SETTINGS), await browser.go(SETTINGS)
    await browser.post(SETTINGS, [*sent(first, RATE_LIMIT_BURST="30").items(multi=True)])
    shown = await browser.post(SETTINGS, [*sent(second, RATE_LIMIT_RPS="9").items(multi=True)])
    assert (shown.status, "Somebody else has changed a setting" in shown.text) == (412, True)
    assert judged(database, "SELECT name, value FROM settings") == [("RATE_LIMIT_BURST", 30)]
    assert Page(shown.text).sent()["RATE_LIMIT_RPS"] == "9", "what was typed is not lost"
    without = sent(await browser.go(SETTINGS))
    without.pop("revision")
    assert (await browser.post(SETTINGS, [*without.items(multi=True)])).status == 422
    without["revision"] = "*"
    assert (await browser.post(SETTINGS, [*without.items(multi=True)])).status == 412
    del without["csrf_token"]
    assert (await browser.post(SETTINGS, [*without.items(multi=True)])).status == 403


async def test_plugins_tell_what_failed_and_no_secret(admin: Admin, browser: Browser, database: Database) -> None:
    by_hand(database, "UPDATE delivery_attempts SET outcome = 'TEMPORARY', detail = 'no route to ' || tenant_id")
    by_hand(
        database,
        "INSERT INTO delivery_attempts (tenant_id, delivery_id, attempt, started_at, duration_ms, outcome, detail)"
        " SELECT 'tenant-a', %(id)s, n, now() - n * interval '1 minute', 1, 'PERMANENT', 'older'"
        " FROM generate_series(2, 9) n",
        id=an_id(OURS),
    )
    plugins = admin.client.app.extensions["services"].plugins
    plugins.statuses = [
        with_fault(each, "mqtt: the port is taken" if each.name == "mqtt" else None) for each in plugins.statuses
    ]
    shown = await browser.go("/operator/plugins")
    text = words(shown)
    assert "no route to tenant-a" in text
    assert text.count("older") == 3
    assert "mqtt: the port is taken" in text
    assert KEY not in shown.text
    assert "********" in text
    answered = await browser.go("/operator/plugins", Accept="application/json")
    assert KEY not in answered.text
    found = {each["name"]: each for each in answered.json()["items"]}
    assert [each["detail"] for each in found["webhook"]["failures"]][2:] == ["older"] * 3
    assert [each["failures"] for name, each in found.items() if name != "webhook"] == [[]] * (len(found) - 1)
    assert found["mqtt"]["status"] == PluginState.FAILED_SELF_CHECK
    assert re.search("channel webhook", text)


async def test_commands_across_tenants(browser: Browser) -> None:
    assert words(await browser.go("/operator/commands")).count("reboot") == 2
    assert (
        "No command is like that" in (await browser.go("/operator/commands?status=EXPIRED&tenant_id=&device_id=")).text
    )
