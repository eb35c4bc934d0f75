"""The pages of the ledger: found by what the address says, followed, sent again one by one or many, cancelled."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

from pulse_core.principal import Role
from support.batches import integrate, judged
from support.browser_forms import Page
from support.browsing import Browser, Shown
from support.people import person
from support.told import a_delivery, an_alert, an_attempt

if TYPE_CHECKING:
    from support.admin import Admin
    from support.database import Database

LIST = "/customer/deliveries"
REPLAY = f"{LIST}/replay"


def listed(shown: Shown) -> set[str]:
    """The ids of the deliveries that a page leads to."""
    links = [each.get("href") or "" for tag, each in Page(shown.text).elements if tag == "a"]
    found = [link.removeprefix(f"{LIST}/") for link in links if link.startswith(f"{LIST}/")]
    return {each for each in found if len(each) == len(str(uuid.UUID(int=0)))}


def hidden(shown: Shown, action: str | None = None) -> list[tuple[str, str]]:
    """What a form of a page sends: the one that goes to ``action``, or the only one in the middle."""
    start = 'class="card confirm"' if action is None else f'action="{action}"'
    part = shown.text.partition(start)[2].partition("</form>")[0]
    return [(box.name, box.value) for box in Page(part).boxes if box.kind == "hidden"]


async def test_the_address_says_which(browser: Browser, database: Database) -> None:
    one, two, alert = integrate(database), integrate(database), an_alert(database)
    dead = str(a_delivery(database, one, "DEAD", last_error="answered 503"))
    of_alert = str(a_delivery(database, two, "DELIVERED", alert_id=alert))
    test = str(a_delivery(database, two, "DEAD", cause="test"))
    assert "Nothing was sent yet" not in (await browser.go(LIST)).text
    earlier = (dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M")
    for query, wanted in (
        ("", {dead, of_alert, test}),
        ("status=&integration_id=&cause=&created_from=&created_before=", {dead, of_alert, test}),
        ("status=DEAD", {dead, test}),
        (f"integration_id={two}", {of_alert, test}),
        ("cause=test", {test}),
        (f"alert_id={alert}", {of_alert}),
        (f"created_from={earlier}", {dead, of_alert, test}),
        (f"created_before={earlier}", set()),
    ):
        shown = await browser.go(f"{LIST}?{query}")
        assert (shown.status, listed(shown)) == (200, wanted), query
        if query.startswith("created_"):
            name, _, value = query.partition("=")
            (box,) = [box for box in Page(shown.text).boxes if (box.name, box.kind) == (name, "datetime-local")]
            assert box.value == f"{value}:00"
    assert "No delivery is like that" in shown.text
    assert (await browser.go(f"{LIST}?status=ODD")).status == 422
    ticks = [box.value for box in Page((await browser.go(LIST)).text).boxes if box.name == "delivery_id"]
    assert set(ticks) == {dead, of_alert}, "a test is not replayed"


async def test_a_delivery_shows_every_attempt_and_leads_on(browser: Browser, database: Database) -> None:
    alert, hook = an_alert(database), integrate(database)
    delivery = a_delivery(database, hook, "RETRYING", alert_id=alert, attempts=2, last_error="answered 503")
    met: dict[str, Any] = {"address": "203.0.113.7:443", "tls": "TLSv1.3", "receipt": "id 42"}
    an_attempt(database, delivery, 1, "TEMPORARY", detail="timed out", address="")
    an_attempt(database, delivery, 2, "TEMPORARY", detail="answered 503", duration_ms=4321, **met)
    shown = (await browser.go(f"{LIST}/{delivery}")).text
    for said in (
        "timed out",
        "answered 503",
        "4321 ms",
        *met.values(),
        "The next attempt is",
        "a route that is deleted",
    ):
        assert said in shown, said
    for link in (f"/customer/alerts/{alert}", f"/customer/integrations/{hook}", "/customer/devices/dev-1"):
        assert f'href="{link}"' in shown
    shown_ = await browser.go(f"{LIST}/{delivery}")
    assert (await browser.post(f"{LIST}/{delivery}/cancel")).status == 403, "without the token"
    assert (await browser.post(f"{LIST}/{delivery}/cancel", {"csrf_token": shown_.token})).to == f"{LIST}/{delivery}"
    after = await browser.go(f"{LIST}/{delivery}")
    assert "Cancelled: it is not sent." in after.text

    to = (await browser.post(f"{LIST}/{delivery}/replay", {"csrf_token": after.token})).to
    again = await browser.go(to)
    assert f'href="{LIST}/{delivery}"' in again.text, "it says what it replays"
    assert to in (await browser.go(f"{LIST}/{delivery}")).text, "and the other what replays it"
    assert (await browser.post(f"{LIST}/{delivery}/replay", {"csrf_token": after.token})).status == 409


async def test_what_a_filter_shows_is_sent_again_after_it_was_counted(browser: Browser, database: Database) -> None:
    one, two = integrate(database), integrate(database)
    dead = {str(a_delivery(database, one, "DEAD")) for _ in range(3)}
    a_delivery(database, two, "DEAD")
    a_delivery(database, one, "DELIVERED")
    page = await browser.go(f"{LIST}?integration_id={one}")
    asked = await browser.post(REPLAY, hidden(page, REPLAY))
    assert (asked.status, "Replay 3 deliveries?" in asked.text) == (200, True)
    assert judged(database, "SELECT count(*) FROM deliveries WHERE cause = 'replay'") == [(0,)]

    late = a_delivery(database, one, "DEAD")
    refused = await browser.post(REPLAY, hidden(asked))
    assert refused.status == 409
    assert "Nothing was sent" in refused.text
    assert "Replay 4 deliveries?" in refused.text
    assert judged(database, "SELECT count(*) FROM deliveries WHERE cause = 'replay'") == [(0,)]

    to = (await browser.post(REPLAY, hidden(refused))).to
    made = judged(database, "SELECT caused_by::text FROM deliveries WHERE cause = 'replay'")
    assert {each for (each,) in made} == dead | {str(late)}
    follow = await browser.go(to)
    assert "Sent again: 4." in follow.text
    assert "0 of 4 are finished" in follow.text
    judged(database, "UPDATE deliveries SET status = 'DELIVERED' WHERE caused_by = %s RETURNING true", late)
    follow = await browser.go(to)
    assert "1 of 4 are finished" in follow.text
    (bar,) = [each for tag, each in Page(follow.text).elements if tag == "progress"]
    assert (bar["value"], bar["max"]) == ("1", "4")
    (link,) = [
        each["href"] for tag, each in Page(follow.text).elements if "status=DELIVERED" in (each.get("href") or "")
    ]
    assert link is not None
    assert len(listed(await browser.go(link))) == 1
    judged(database, "UPDATE deliveries SET status = 'DEAD' WHERE cause = 'replay' RETURNING true")
    assert "finished</span>" in (await browser.go(to)).text


async def test_those_that_are_ticked_are_sent_again(browser: Browser, database: Database) -> None:
    hook = integrate(database)
    dead, delivered, other = (a_delivery(database, hook, each) for each in ("DEAD", "DELIVERED", "DEAD"))
    token = (await browser.go(LIST)).token
    ticked = [("csrf_token", token), ("selected", "1"), ("delivery_id", str(dead)), ("delivery_id", str(delivered))]
    asked = await browser.post(REPLAY, ticked)
    assert "Replay 2 deliveries?" in asked.text
    await browser.post(REPLAY, hidden(asked))
    made = judged(database, "SELECT caused_by FROM deliveries WHERE cause = 'replay'")
    assert {each for (each,) in made} == {dead, delivered}
    assert other not in {each for (each,) in made}
    again = await browser.post(REPLAY, ticked)
    assert "Nothing to replay" in again.text, "they were replayed before"
    assert "No delivery was selected" in (await browser.post(REPLAY, ticked[:2])).text
    for wrong in ("x", "9" * 5000, "-1", "1e3"):
        assert (await browser.post(REPLAY, [*ticked, ("count", wrong)])).status in {409, 422}
    assert (await browser.post(REPLAY, [*ticked[:2], ("delivery_id", "no id")])).status == 422
    assert judged(database, "SELECT count(*) FROM deliveries WHERE cause = 'replay'") == [(2,)]


async def test_a_viewer_sees_it_all_and_sends_nothing(admin: Admin, browser: Browser, database: Database) -> None:
    person(database, "looker", Role.CUSTOMER_VIEWER)
    viewer = Browser(admin.client.app)
    await viewer.log_in("looker")
    dead = a_delivery(database, integrate(database), "DEAD")
    for path in (LIST, f"{LIST}/{dead}"):
        shown = await viewer.go(path)
        assert shown.status == 200
        assert "Replay" not in shown.text
    token = shown.token
    for path in (REPLAY, f"{LIST}/{dead}/replay", f"{LIST}/{dead}/cancel"):
        assert (await viewer.post(path, {"csrf_token": token})).status == 403
    assert "Replay" in (await browser.go(f"{LIST}/{dead}")).text


async def test_programs_follow_a_replay_of_many_too(admin: Admin, database: Database) -> None:
    customer, hook = await admin.customer(), integrate(database)
    dead = [str(a_delivery(database, hook, "DEAD")) for _ in range(3)]
    chosen = {"status": None, "delivery_ids": dead[:2]}
    assert (await customer.post("/deliveries/replay", chosen))[1] == {"count": 2, "dry_run": True}
    status, done, _ = await customer.post("/deliveries/replay", {**chosen, "dry_run": False, "count": 2})
    assert (status, done["count"], done["dry_run"]) == (200, 2, False)
    _, batch, _ = await customer.get(f"/deliveries/{done['first']}/batch")
    assert (batch["cause"], batch["count"], batch["finished"]) == ("replay", 2, 0)
    assert (batch["statuses"]["PENDING"], batch["statuses"]["DEAD"]) == (2, 0)
    wrongs: list[dict[str, Any]] = [
        {"delivery_ids": []},
        {"delivery_ids": ["x"]},
        {"delivery_ids": [dead[0]] * 1001},
        {"status": "PENDING"},
    ]
    for wrong in wrongs:
        assert (await customer.post("/deliveries/replay", wrong))[0] == 422
    assert (await customer.get(f"/deliveries/{uuid.uuid4()}/batch"))[0] == 404
