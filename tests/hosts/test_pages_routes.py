"""The pages of routes: what each does in a sentence, forms made of the API's model, and what one would have sent."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.principal import Role
from support.batches import judged
from support.browser_forms import EVIL, Page
from support.browsing import Browser
from support.people import person
from support.told import an_alert

if TYPE_CHECKING:
    from support.admin import Admin, Caller
    from support.database import Database

LIST = "/customer/integration-routes"
NEW = f"{LIST}/new"
HOOK = {"config": {"url": "https://example.com/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}


@pytest.fixture
async def duty(customer: Caller) -> str:
    return await hook(customer, "PagerDuty")


async def hook(customer: Caller, name: str) -> str:
    return str((await customer.post("/integrations", {**HOOK, "name": name}))[1]["integration_id"])


def filled(page: str, **more: str | None) -> list[tuple[str, str]]:
    """What the form of a page sends, without that of the frame."""
    sent = Page(page[page.index("card made") :]).sent(more)
    return [*sent.items(multi=True)]


def injected(page: Page) -> list[str]:
    """What of :data:`EVIL` became elements."""
    images = [tag for tag, each in page.elements if tag == "img" and each.get("src") == "x"]
    return images + [tag for tag, each in page.elements if tag == "script" and "src" not in each]


async def test_a_route_is_made_changed_and_deleted(
    browser: Browser, customer: Caller, duty: str, database: Database
) -> None:
    assert "There is no route yet" in (await browser.go(LIST)).text
    form = (await browser.go(NEW)).text
    assert f'<option value="{duty}">PagerDuty (webhook)</option>' in form
    chosen = {"name": "nights", "integration_id": duty, "min_severity": "4", "site_ids~lines": "lab-1\n\nlab-2"}
    path = (await browser.post(NEW, [*filled(form, **chosen), ("deliver_on", "CLOSED")])).to
    sentence = "MAJOR and above from sites lab-1 or lab-2 → PagerDuty, on open and close"
    for each in (LIST, path):
        assert sentence in (await browser.go(each)).text
    _, stored, _ = await customer.get(path.removeprefix("/customer"))
    wanted = {"min_severity": 4, "site_ids": ["lab-1", "lab-2"], "deliver_on": ["CLOSED", "OPEN"]}
    assert {name: stored[name] for name in wanted} == wanted

    other = await hook(customer, "Mail")
    form = (await browser.go(f"{path}/edit")).text
    changes = {"min_severity": "", "fallback_integration_id": other, "enabled": None, "site_ids~lines": ""}
    assert (await browser.post(f"{path}/edit", filled(form, **changes))).to == path
    told = (await browser.go(path)).text
    assert "Saved." in told
    assert "Switched off: Every alert → PagerDuty, on open and close; if that is given up" in told
    assert "not reachable for 10 min, → Mail" in told

    asked = await browser.go(f"{path}/delete")
    assert (await browser.post(f"{path}/delete", {"csrf_token": asked.token})).status == 422
    assert judged(database, "SELECT count(*) FROM integration_routes") == [(1,)]
    assert (await browser.post(f"{path}/delete", {"csrf_token": asked.token, "confirm": "yes"})).to == LIST
    assert (await browser.go(path)).status == 404


async def test_an_untouched_form_changes_nothing(browser: Browser, customer: Caller, duty: str) -> None:
    whole: dict[str, Any] = {
        "integration_id": duty,
        "name": "all of it",
        "alert_types": ["A", "B"],
        "severities": ["CRITICAL", "INFO"],
        "min_severity": 1,
        "site_ids": ["s"],
        "device_prefixes": ["pump-"],
        "deliver_on": ["ACKNOWLEDGED", "CLOSED"],
        "priority": -3,
        "enabled": False,
        "fallback_integration_id": await hook(customer, "Mail"),
        "fallback_after_s": 0,
    }
    _, made, _ = await customer.post("/integration-routes", whole)
    path = f"{LIST}/{made['route_id']}"
    form = (await browser.go(f"{path}/edit")).text
    assert (await browser.post(f"{path}/edit", filled(form))).to == path
    _, kept, _ = await customer.get(path.removeprefix("/customer"))
    assert {**kept, "revision": 0} == {**made, "revision": 0}


async def test_what_is_wrong_stands_beside_its_field(browser: Browser, duty: str, database: Database) -> None:
    form = (await browser.go(NEW)).text
    for wrong in (
        {"integration_id": ""},
        {"integration_id": str(uuid.uuid4())},
        {"integration_id": duty, "site_ids~lines": "no site"},
        {"integration_id": duty, "fallback_integration_id": duty},
        {"integration_id": duty, "priority": "many"},
    ):
        shown = await browser.post(NEW, filled(form.replace('type="number"', ""), **wrong))
        assert shown.status == 422, wrong
        links = {each.get("href") or "" for tag, each in Page(shown.text).elements if tag == "a"}
        (link,) = {link for link in links if link.startswith("#f-")}
        assert f'id="{link[1:]}:fault"' in shown.text
    nothing = [each for each in filled(form, integration_id=duty) if each[0] != "deliver_on"]
    assert (await browser.post(NEW, nothing)).status == 422, "it must tell of something"
    assert judged(database, "SELECT count(*) FROM integration_routes") == [(0,)]


async def test_who_comes_second_is_told_so(browser: Browser, customer: Caller, duty: str, database: Database) -> None:
    _, made, _ = await customer.post("/integration-routes", {"integration_id": duty})
    path = f"{LIST}/{made['route_id']}"
    form = (await browser.go(f"{path}/edit")).text
    assert (await browser.post(f"{path}/edit", filled(form, name="first"))).to == path
    second = await browser.post(f"{path}/edit", filled(form, name="second"))
    assert (second.status, "Somebody else has changed it" in second.text) == (412, True)
    assert (await browser.post(f"{path}/edit", [*filled(form)][:1])).status == 422, "without a revision"
    assert judged(database, "SELECT name FROM integration_routes") == [("first",)]


async def test_the_form_tells_what_it_would_have_sent(browser: Browser, duty: str, database: Database) -> None:
    an_alert(database, decisions={"OPEN": [], "CLOSED": []})
    an_alert(database, status="OPEN", decisions={"OPEN": []})
    judged(database, "UPDATE alerts SET summary = %s RETURNING true", EVIL)
    form = (await browser.go(NEW)).text
    for changes, said in (
        ({}, "2 notifications"),
        ({"min_severity": "5"}, "0 notifications"),
        ({"site_ids~lines": "no site"}, "Correct what is wrong"),
    ):
        sent = filled(form, **changes)
        part = await browser.post(f"{LIST}/preview", sent)
        assert (part.status, part.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        whole = await browser.post(NEW, [*sent, ("~preview", "1")])
        for shown in (part, whole):
            assert said in shown.text
            assert not injected(Page(shown.text))
        assert "<html" not in part.text
    both = await browser.post(f"{LIST}/preview", [*filled(form, integration_id=duty), ("deliver_on", "CLOSED")])
    assert "3 notifications" in both.text
    assert "2 on open, 1 on close" in " ".join(both.text.split())
    assert (await browser.post(f"{LIST}/preview", {})).status == 403, "without the token"
    assert judged(database, "SELECT count(*) FROM integration_routes") == [(0,)]


async def test_routes_come_in_the_order_in_which_they_are_asked(browser: Browser, customer: Caller, duty: str) -> None:
    for name, priority in (("third", 30), ("first", -1), ("second", 7)):
        await customer.post("/integration-routes", {"integration_id": duty, "name": name, "priority": priority})
    text = (await browser.go(LIST)).text
    assert sorted(("first", "second", "third"), key=text.index) == ["first", "second", "third"]
    other = await hook(customer, "Mail")
    assert "No route is like that" in (await browser.go(f"{LIST}?integration_id={other}")).text


async def test_without_an_integration_one_is_led_to_make_one(browser: Browser) -> None:
    shown = await browser.go(NEW)
    assert shown.status == 200
    assert "Add an integration first" in shown.text
    assert "card made" not in shown.text


async def test_names_stay_text_and_a_viewer_changes_nothing(
    admin: Admin, browser: Browser, customer: Caller, database: Database
) -> None:
    evil = await hook(customer, EVIL)
    _, made, _ = await customer.post("/integration-routes", {"integration_id": evil, "name": EVIL})
    path = f"{LIST}/{made['route_id']}"
    for each in (LIST, path, f"{path}/edit", f"{path}/delete", NEW):
        page = Page((await browser.go(each)).text)
        assert not injected(page)
        assert EVIL in "".join(page.texts)
    person(database, "looker", Role.CUSTOMER_VIEWER)
    viewer = Browser(admin.client.app)
    await viewer.log_in("looker")
    for each in (LIST, path):
        assert f"{path}/edit" not in (await viewer.go(each)).text
    for each in (NEW, f"{path}/edit", f"{path}/delete"):
        assert (await viewer.go(each)).status == 403
