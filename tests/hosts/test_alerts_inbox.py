"""The alerts inbox: several alerts at once, by programs and by the page's form, and what stands on the pages."""

from __future__ import annotations

import html
import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.principal import Role
from pulse_server.web import after
from pulse_server.web.entrance import csrf
from support.batches import integrate, judged
from support.browser_forms import EVIL, Page
from support.browsing import Browser
from support.people import person
from support.told import a_delivery, an_alert, an_attempt

if TYPE_CHECKING:
    from support.admin import Admin, Caller
    from support.browsing import Shown
    from support.database import Database


def statuses(database: Database) -> dict[uuid.UUID, str]:
    return dict(judged(database, "SELECT alert_id, status FROM alerts"))


def told_route(database: Database, integration_id: uuid.UUID) -> uuid.UUID:
    route_id = uuid.uuid4()
    with database.superuser() as hand:
        hand.execute(
            "INSERT INTO integration_routes (tenant_id, route_id, integration_id, name, deliver_on)"
            " VALUES ('tenant-a', %s, %s, 'night shift', '{OPEN,ACKNOWLEDGED,CLOSED}')",
            (route_id, integration_id),
        )
    return route_id


def said(shown: Shown) -> str:
    """What the page says of the deed before."""
    found = re.search(r'class="toast">([^<]*)<', shown.text)
    return html.unescape(found[1]) if found else ""


def shown_alerts(shown: Shown) -> list[str | None]:
    return [each["value"] for _, each in Page(shown.text).elements if each.get("name") == "alert_ids"]


async def test_a_program_is_told_what_became_of_each(customer: Caller, database: Database) -> None:
    told_route(database, integrate(database))
    first, taken, over = (an_alert(database, status=each) for each in ("OPEN", "ACKNOWLEDGED", "CLOSED"))
    missing = uuid.uuid4()
    body = {"alert_ids": [str(each) for each in (over, first, missing, taken, first)], "note": "ours"}
    status, answer, _ = await customer.post("/alerts/acknowledge", body)
    assert status == 200
    assert [(each["alert_id"], each["outcome"]) for each in answer["results"]] == [
        (str(over), "CLOSED_ALREADY"),
        (str(first), "DONE"),
        (str(missing), "NOT_FOUND"),
        (str(taken), "ACKNOWLEDGED_ALREADY"),
    ]
    _, answer, _ = await customer.post("/alerts/close", body)
    assert [each["outcome"] for each in answer["results"]] == ["CLOSED_ALREADY", "DONE", "NOT_FOUND", "DONE"]
    assert set(statuses(database).values()) == {"CLOSED"}
    assert judged(database, "SELECT count(*) FROM alerts WHERE held") == [(2,)], "what was closed by hand stays closed"
    steps = judged(database, "SELECT alert_id, event, note FROM alert_changes ORDER BY changed_at, alert_id")
    assert sorted(steps) == sorted(
        [(first, "ACKNOWLEDGED", "ours"), (first, "CLOSED", "ours"), (taken, "CLOSED", "ours")]
    )
    assert judged(database, "SELECT count(*) FROM deliveries") == [(3,)]
    lines = judged(database, "SELECT action, resource FROM audit_log WHERE action ^@ 'alert.'")
    assert sorted(lines) == sorted(
        [
            ("alert.acknowledge", f"tenant-a/{first}"),
            ("alert.close", f"tenant-a/{first}"),
            ("alert.close", f"tenant-a/{taken}"),
        ]
    )


async def test_what_is_anothers_is_as_what_is_not_there(admin: Admin, customer: Caller, database: Database) -> None:
    await admin.tenant("tenant-b")
    ours, theirs = an_alert(database, status="OPEN"), an_alert(database, "tenant-b", status="OPEN")
    for deed in ("acknowledge", "close"):
        assert (await customer.post(f"/alerts/{deed}", {"alert_ids": [str(theirs)]}))[0] == 404
        _, answer, _ = await customer.post(f"/alerts/{deed}", {"alert_ids": [str(theirs), str(ours)]})
        assert [each["outcome"] for each in answer["results"]] == ["NOT_FOUND", "DONE"]
    assert statuses(database) == {ours: "CLOSED", theirs: "OPEN"}


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({}, "alert_ids"),
        ({"alert_ids": []}, "alert_ids"),
        ({"alert_ids": ["x"]}, "alert_ids.0"),
        ({"alert_ids": [str(uuid.UUID(int=each)) for each in range(201)]}, "alert_ids"),
        ({"alert_ids": [str(uuid.UUID(int=1))], "note": "x" * 1001}, "note"),
    ],
)
async def test_what_cannot_be_is_refused(customer: Caller, body: Any, wrong: str) -> None:
    status, answer, _ = await customer.post("/alerts/close", body)
    assert (status, [each["field"] for each in answer["errors"]]) == (422, [wrong])


async def test_all_of_it_happens_or_nothing(customer: Caller, database: Database) -> None:
    told_route(database, integrate(database))
    alerts = [an_alert(database, status="OPEN") for _ in range(3)]
    with database.superuser() as hand:
        hand.execute(f"ALTER TABLE deliveries ADD CONSTRAINT none CHECK (alert_id <> '{alerts[1]}')".encode())
    status, _, _ = await customer.post("/alerts/acknowledge", {"alert_ids": [str(each) for each in alerts]})
    assert status >= 400
    assert set(statuses(database).values()) == {"OPEN"}
    assert judged(database, "SELECT 1 FROM alert_changes") == []
    assert judged(database, "SELECT 1 FROM audit_log WHERE action ^@ 'alert.'") == []


async def test_a_request_that_is_made_again_does_nothing_twice(customer: Caller, database: Database) -> None:
    alert = an_alert(database, status="OPEN")
    key = {"Idempotency-Key": "once"}
    body = {"alert_ids": [str(alert)]}
    answers = [await customer.post("/alerts/close", body, headers=key) for _ in range(2)]
    assert answers[0][:2] == answers[1][:2]
    assert judged(database, "SELECT count(*) FROM alert_changes") == [(1,)]


async def test_the_form_acknowledges_what_was_ticked_and_says_so(browser: Browser, database: Database) -> None:
    alerts = [an_alert(database, status=each) for each in ("OPEN", "OPEN", "ACKNOWLEDGED", "CLOSED")]
    page = await browser.go("/customer/alerts?site_id=site-1&status=")
    assert set(shown_alerts(page)) == {str(each) for each in alerts}
    form = {csrf.FIELD: page.token, "query": "site_id=site-1", "note": "on it"}
    ticked = [*form.items(), *(("alert_ids", str(each)) for each in alerts)]
    assert (await browser.post("/customer/alerts/acknowledge", ticked[1:])).status == 403, "without the token"
    answer = await browser.post("/customer/alerts/acknowledge", ticked)
    assert answer.to == "/customer/alerts?site_id=site-1"
    page = await browser.go(answer.to)
    assert said(page) == "2 acknowledged. 1 was acknowledged already. 1 was closed already."
    assert said(await browser.go(answer.to)) == "", "it is said once"
    answer = await browser.post("/customer/alerts/close", ticked)
    assert said(await browser.go(answer.to)) == "3 closed. 1 was closed already."
    assert set(statuses(database).values()) == {"CLOSED"}
    nothing = await browser.post("/customer/alerts/close", form)
    assert said(await browser.go(nothing.to)) == "Nothing was selected, so nothing was changed."
    bad = [*form.items(), ("alert_ids", "<script>")]
    assert (await browser.post("/customer/alerts/close", bad)).status == 422


async def test_a_form_leads_back_to_the_list_and_nowhere_else(browser: Browser, database: Database) -> None:
    an_alert(database, status="OPEN")
    token = (await browser.go("/customer/alerts")).token
    for query in ("//elsewhere.example", "\r\nSet-Cookie: a=b", "a=b&c=https://elsewhere.example#x", "?" * 9):
        answer = await browser.post("/customer/alerts/close", {csrf.FIELD: token, "query": query})
        assert re.fullmatch(r"/customer/alerts(\?[\w%.=&+-]*)?", answer.to), answer.to


@pytest.mark.parametrize("cookie", ["saved+<b>", "closed_some.1+closed_some.2+saved+saved+saved", "+", "closed_some.x"])
async def test_a_cookie_makes_a_page_say_nothing_else(browser: Browser, cookie: str) -> None:
    browser.cookies[after.COOKIE] = cookie
    assert said(await browser.go("/customer/alerts")) == ""


async def test_tabs_count_what_fits_the_filters(browser: Browser, database: Database) -> None:
    for status in ("OPEN", "OPEN", "ACKNOWLEDGED", "CLOSED"):
        an_alert(database, status=status)
    with database.superuser() as hand:
        hand.execute("INSERT INTO devices (tenant_id, device_id, site_id) VALUES ('tenant-a', 'dev-2', 'site-2')")
        hand.execute("UPDATE alerts SET device_id = 'dev-2', severity = 2 WHERE status = 'ACKNOWLEDGED'")

    async def counts(query: str) -> list[str]:
        text = (await browser.go(f"/customer/alerts?{query}")).text
        return re.findall(r'class="count">([\d,]+)<', text)

    assert await counts("") == ["2", "1"]
    assert await counts("status=CLOSED") == ["2", "1"]
    assert await counts("device_id=dev-2&status=OPEN") == ["0", "1"]
    assert await counts("min_severity=MAJOR") == ["2", "0"]
    assert await counts("severity=2&opened_before=2001-01-01T00:00") == ["0", "0"]


async def test_of_very_many_the_tabs_say_that_there_are_more(browser: Browser, database: Database) -> None:
    an_alert(database, status="CLOSED")
    with database.superuser() as hand:
        hand.execute(
            "INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity,"
            " confidence, summary, opened_at) SELECT 'tenant-a', gen_random_uuid(), 'dev-1', 'site-1', 'NO_HEARTBEAT',"
            " n::text, 'OPEN', 4, 0.9, 'silent', now() FROM generate_series(1, 5000) AS n"
        )
    shown = Page((await browser.go("/customer/alerts")).text)
    assert "Open 5,000" in " ".join("".join(shown.texts).split())
    assert "or more" not in "".join(shown.texts)
    an_alert(database, status="OPEN")
    shown = Page((await browser.go("/customer/alerts")).text)
    assert "Open 5,001+ or more" in " ".join("".join(shown.texts).split())


async def test_filters_stand_in_the_form_as_they_stand_in_the_address(browser: Browser, database: Database) -> None:
    alert = an_alert(database, status="OPEN")
    query = "min_severity=3&alert_type=NO_HEARTBEAT&opened_from=2001-02-03T04:05:06Z&severity=major&sort=-severity"
    page = await browser.go(f"/customer/alerts?{query}")
    assert shown_alerts(page) == [str(alert)]
    sent = {box.name: box.value for box in Page(page.text).boxes if box.name != csrf.FIELD}
    assert {name: sent[name] for name in ("min_severity", "severity", "alert_type", "opened_from", "sort")} == {
        "min_severity": "WARNING",
        "severity": "MAJOR",
        "alert_type": "NO_HEARTBEAT",
        "opened_from": "2001-02-03T04:05:06",
        "sort": "-severity",
    }
    as_sent = "min_severity=WARNING&severity=&alert_type=&opened_from=2001-02-03T04%3A05&opened_before=&sort="
    assert shown_alerts(await browser.go(f"/customer/alerts?{as_sent}")) == [str(alert)]
    assert (await browser.go("/customer/alerts?opened_from=yesterday")).status == 422


async def test_a_viewer_has_nothing_to_tick(admin: Admin, database: Database) -> None:
    alert = an_alert(database, status="OPEN", decisions={"OPEN": []})
    person(database, "looks", Role.CUSTOMER_VIEWER)
    browser = Browser(admin.client.app)
    await browser.log_in("looks")
    for path in ("/customer/alerts", f"/customer/alerts/{alert}"):
        shown = await browser.go(path)
        assert "alert_ids" not in shown.text
        assert "acknowledge" not in shown.text
    page = await browser.go("/customer/alerts")
    form = {csrf.FIELD: page.token, "alert_ids": str(alert)}
    for deed in ("acknowledge", "close"):
        assert (await browser.post(f"/customer/alerts/{deed}", form)).status == 403
    assert statuses(database) == {alert: "OPEN"}


async def test_an_alert_says_who_was_told_and_why_others_were_not(browser: Browser, database: Database) -> None:
    hook, other = integrate(database), integrate(database)
    kept, gone = told_route(database, hook), uuid.uuid4()
    decided = [
        {"route_id": kept, "matched": True, "failed": None, "integration_id": hook, "name": "night shift"},
        {"route_id": gone, "matched": False, "failed": "min_severity", "integration_id": other, "name": "big ones"},
    ]
    alert = an_alert(database, status="OPEN", decisions={"OPEN": decided, "ACKNOWLEDGED": []})
    sent = a_delivery(database, hook, "DEAD", alert_id=alert, route_id=kept)
    an_attempt(database, sent, 1, "PERMANENT", detail="answered 404", address="192.0.2.7:443", tls="TLSv1.3")
    instead = a_delivery(database, other, alert_id=alert, route_id=kept, cause="fallback", caused_by=sent)
    judged(
        database, "UPDATE alert_changes SET actor = 'user:ada', note = 'mine' WHERE event = 'ACKNOWLEDGED' RETURNING 1"
    )
    for path in (f"/customer/alerts/{alert}", f"/customer/alerts/{alert}/trace"):
        page = Page((await browser.go(path)).text)
        text = " ".join(" ".join(page.texts).split())
        links = {each["href"] for tag, each in page.elements if tag == "a" and "href" in each}
        assert "1 of 2 routes told of it." in text
        assert "severity MAJOR is below what the route tells of" in text
        assert "There was no route, so nobody was told." in text
        for each in ("answered 404", "192.0.2.7:443", "TLSv1.3", "12 ms", "failed for good", "told instead"):
            assert each in text, each
        assert "by ada" in text
        assert "mine" in text
        assert {f"/customer/deliveries/{sent}", f"/customer/deliveries/{instead}"} <= links
        assert {f"/customer/integration-routes/{kept}", f"/customer/integrations/{hook}"} <= links
        assert f"/customer/integration-routes/{gone}" not in links, "it leads nowhere"
        for link in {each for each in links if each is not None and each.startswith("/customer/")}:
            assert (await browser.go(link)).status == 200, link
        (live,) = [each["data-live"] for _, each in page.elements if each.get("id") == "live"]
        assert json.loads(live or "") == {"alerts": str(alert), "deliveries": None}


async def test_every_text_of_an_alert_and_its_trace_stays_text(browser: Browser, database: Database) -> None:
    hook = integrate(database)
    route = told_route(database, hook)
    decided = [
        {"route_id": route, "matched": True, "failed": None, "integration_id": hook, "name": EVIL},
        {"route_id": uuid.uuid4(), "matched": False, "failed": EVIL, "integration_id": None, "name": EVIL},
        {"route_id": uuid.uuid4(), "matched": False, "failed": "site_ids", "integration_id": hook, "name": ""},
    ]
    alert = an_alert(database, status="OPEN", decisions={"OPEN": decided})
    sent = a_delivery(database, hook, "RETRYING", alert_id=alert, route_id=route, last_error=EVIL)
    an_attempt(database, sent, 1, "TEMPORARY", detail=EVIL, address=EVIL, tls=EVIL, receipt=EVIL)
    a_delivery(database, hook, "PENDING", alert_id=alert, route_id=None, cause="escalation", last_error=EVIL)
    for what in (
        "UPDATE alerts SET summary = %(evil)s::text, details = jsonb_build_object(%(evil)s::text, %(evil)s::text)",
        "UPDATE alert_changes SET note = %(evil)s::text, actor = %(evil)s::text",
        "UPDATE integrations SET name = %(evil)s::text",
    ):
        with database.superuser() as hand:
            hand.execute(what, {"evil": EVIL})
    for path in ("/customer/alerts", f"/customer/alerts/{alert}", f"/customer/alerts/{alert}/trace"):
        page = Page((await browser.go(path)).text)
        assert EVIL in "".join(page.texts)
        assert not [each for tag, each in page.elements if tag == "img" and each.get("src") == "x"], path
        assert all("src" in each for tag, each in page.elements if tag == "script"), path
        assert "49" not in "".join(page.texts).split()
    asked = await browser.go("/customer/alerts?device_id=%22%3E%3Cimg%20src%3Dx%3E")
    assert asked.status == 422
    assert not [each for tag, each in Page(asked.text).elements if tag == "img" and each.get("src") == "x"]
