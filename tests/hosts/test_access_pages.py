"""Pages of users, API tokens and the audit log, the customers' and the operators', as a browser sees them."""

from __future__ import annotations

import html
import re
import uuid
from typing import TYPE_CHECKING

import pytest

from pulse_core.principal import Role
from pulse_server.web import once
from pulse_server.web.entrance import csrf
from support import two_tenants
from support.admin import admin_api
from support.batches import judged
from support.browser_forms import EVIL, Page, filled, secret_of
from support.browsing import Browser, at_browser
from support.people import PASSWORD, Door, person
from support.rights import OURS, THEIRS
from support.two_tenants import an_id

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.admin import Admin
    from support.browsing import Shown
    from support.database import Database

ADMINS = {"/customer": Role.CUSTOMER_ADMIN, "/operator": Role.OPERATOR_ADMIN}
LISTS = ("users", "api-tokens", "audit-log")
ONE = ("users/{}", "users/{}/edit", "users/{}/password", "users/{}/remove", "api-tokens/{}", "api-tokens/{}/revoke")
FORMS = ("users/new", "api-tokens/new")


@pytest.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    two_tenants.fill(database)
    async with admin_api(database, tmp_path) as found:
        yield found


@pytest.fixture(params=ADMINS)
def side(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def browser(admin: Admin, database: Database, side: str) -> Browser:
    """The administrator of this side."""
    return await at_browser(admin, database, ADMINS[side])


@pytest.fixture
async def ours(admin: Admin, database: Database) -> Browser:
    """A customer's administrator."""
    return await at_browser(admin, database, Role.CUSTOMER_ADMIN)


def fault_of(shown: Shown, name: str) -> str:
    """What is said to be wrong beside a field."""
    (box,) = [box for box in Page(shown.text).boxes if box.name == name]
    assert box.attrs["aria-invalid"] == "true"
    assert f"f-{name}:fault" in (box.attrs["aria-describedby"] or "")
    return html.unescape(shown.text.partition(f'id="f-{name}:fault">')[2].partition("<")[0])


def user(database: Database, name: str) -> tuple[object, ...]:
    look = "SELECT tenant_id, role, email, disabled_at IS NOT NULL, user_id FROM users WHERE username = %s"
    (row,) = judged(database, look, name)
    return tuple(row)


async def test_an_administrator_sees_every_page(browser: Browser, side: str) -> None:
    for end in (*LISTS, *FORMS, *(each.format(an_id(OURS)) for each in ONE)):
        path = f"{side}/{end}"
        shown = await browser.go(path)
        assert (shown.status, shown.headers["Content-Type"]) == (200, "text/html; charset=utf-8"), path
        assert shown.headers["Cache-Control"] == "no-store"
        elements = Page(shown.text).elements
        current = [each["href"] for tag, each in elements if tag == "a" and each.get("aria-current") == "page"]
        assert current == ["/".join(path.split("/")[:3])]
        assert len([tag for tag, _ in elements if tag == "h1"]) == 1
        assert (THEIRS in shown.text) is (side == "/operator" and end in LISTS)
        assert not [each for _, each in elements if "style" in each or any(name.startswith("on") for name in each)]


@pytest.mark.parametrize("role", [Role.CUSTOMER_VIEWER, Role.OPERATOR])
async def test_nobody_else_does(admin: Admin, database: Database, role: Role) -> None:
    browser = await at_browser(admin, database, role)
    for side in ADMINS:
        for end in (*LISTS, *FORMS, *(each.format(an_id(OURS)) for each in ONE)):
            shown = await browser.go(f"{side}/{end}")
            assert (shown.status, "<h1>Forbidden</h1>" in shown.text) == (403, True), end


async def test_what_is_another_tenants_looks_like_what_does_not_exist(ours: Browser) -> None:
    for end in ONE:
        theirs, nobodys = [await ours.go(f"/customer/{end.format(each)}") for each in (an_id(THEIRS), uuid.UUID(int=1))]
        assert (theirs.status, nobodys.status) == (404, 404), end
        parts = [re.sub(r'<p class="small">.*?</p>', "", each.text) for each in (theirs, nobodys)]
        assert parts[0] == parts[1]
    token = (await ours.go("/profile")).token
    for deed in ("edit", "password", "disable", "enable", "remove"):
        form = {
            csrf.FIELD: token,
            "confirm": "yes",
            "revision": "1",
            "role": "customer_admin",
            "email": "x@example.com",
        }
        assert (await ours.post(f"/customer/users/{an_id(THEIRS)}/{deed}", form)).status == 404, deed
    form = {csrf.FIELD: token, "confirm": "yes"}
    assert (await ours.post(f"/customer/api-tokens/{an_id(THEIRS)}/revoke", form)).status == 404


async def test_every_text_stays_text(browser: Browser, database: Database, side: str) -> None:
    with database.superuser() as hand:
        hand.execute("UPDATE users SET email = %s::text, created_by = %s::text", (EVIL, EVIL))
        hand.execute("UPDATE api_tokens SET name = %s::text, created_by = %s::text", (EVIL, EVIL))
        hand.execute(
            "INSERT INTO audit_log (tenant_id, actor, action, resource, agent, details) VALUES"
            " (%(t)s, %(e)s, %(e)s, %(e)s, %(e)s, jsonb_build_object(%(e)s::text, %(e)s::text,"
            " 'nested', jsonb_build_object('old', %(e)s::text, 'new', jsonb_build_array(%(e)s::text))))",
            {"t": OURS, "e": EVIL},
        )
    told = {*LISTS, "users/{}", "users/{}/edit", "api-tokens/{}", "api-tokens/{}/revoke"}
    for end in (*LISTS, *FORMS, *ONE):
        page = Page((await browser.go(f"{side}/{end.format(an_id(OURS))}")).text)
        assert not [each for tag, each in page.elements if tag == "img" and each.get("src") == "x"], end
        assert all("src" in each for tag, each in page.elements if tag == "script"), end
        assert "49" not in "".join(page.texts).split()
        shown = "".join(page.texts) + "".join(box.value for box in page.boxes)
        assert EVIL in shown or end not in told, end


async def test_a_user_is_added_and_their_password_is_shown_once(
    admin: Admin, browser: Browser, database: Database, side: str
) -> None:
    form = await browser.go(f"{side}/users/new")
    more = {"tenant_id": OURS} if side == "/operator" else {}
    sent = filled(form.text, username="bob", role="customer_viewer", email="bob@example.com", **more)
    assert (await browser.post(f"{side}/users/new", [each for each in sent if each[0] != csrf.FIELD])).status == 403
    made = await browser.post(f"{side}/users/new", sent)
    assert made.to == f"{side}/users/{user(database, 'bob')[4]}"
    shown = await browser.go(made.to)
    password = secret_of(shown.text)
    assert password is not None
    assert password not in made.text + str(made.headers)
    assert shown.headers["Cache-Control"] == "no-store"
    assert secret_of((await browser.go(made.to)).text) is None, "it is shown once"
    assert user(database, "bob")[:4] == (OURS, "customer_viewer", "bob@example.com", False)
    assert (await Door(admin.client).log_in("bob", password))[0] == 200
    again = await browser.post(f"{side}/users/new", sent)
    assert (again.status, fault_of(again, "username")) == (409, "this name is taken")


async def test_a_secret_is_shown_on_its_page_and_to_its_session_alone(
    admin: Admin, ours: Browser, database: Database
) -> None:
    path = f"/customer/users/{an_id(OURS)}"
    sent = filled((await ours.go(f"{path}/password")).text)
    assert (await ours.post(f"{path}/password", sent)).to == path
    assert secret_of((await ours.go("/customer/users")).text) is None
    other = await at_browser(admin, database, Role.CUSTOMER_ADMIN, "eve")
    other.cookies[once.COOKIE] = ours.cookies[once.COOKIE]
    assert secret_of((await other.go(path)).text) is None
    assert secret_of((await ours.go(path)).text) is not None
    ours.cookies[once.COOKIE] = "forged"
    assert (await ours.go(path)).status == 200


async def test_what_is_wrong_is_said_beside_its_field(browser: Browser, side: str, database: Database) -> None:
    path = f"{side}/users/new"
    form = await browser.go(path)
    for name, value, said in (
        ("username", "Not A Name", "pattern"),
        ("email", "nobody", "pattern"),
        ("password", "short", "at least 12 characters"),
        ("role", "", "required"),
    ):
        right: dict[str, str | None] = {"username": "bob", "role": "customer_viewer", name: value}
        if side == "/operator":
            right["tenant_id"] = OURS
        shown = await browser.post(path, filled(form.text, **right))
        assert (shown.status, "<title>Error: " in shown.text) == (422, True), name
        assert said in fault_of(shown, name)
        assert "short" not in [box.value for box in Page(shown.text).boxes], "a password comes never back"
    if side == "/operator":
        shown = await browser.post(path, filled(form.text, username="bob", role="customer_viewer", tenant_id="nobody"))
        assert "there is no tenant" in fault_of(shown, "tenant_id")
    assert judged(database, "SELECT 1 FROM users WHERE username = 'bob'") == []


async def test_a_user_is_changed_unless_somebody_else_changed_them(
    browser: Browser, database: Database, side: str
) -> None:
    path = f"{side}/users/{an_id(OURS)}"
    form = await browser.go(f"{path}/edit")
    roles = {box.value for box in Page(form.text).boxes if box.name == "role"}
    assert roles == {"customer_viewer", "customer_admin"}, "none of the other kind"
    sent = filled(form.text, role="customer_admin", email="new@example.com")
    assert (await browser.post(f"{path}/edit", sent)).to == path
    assert "Saved." in (await browser.go(path)).text
    assert user(database, f"user-of-{OURS}")[1:3] == ("customer_admin", "new@example.com")
    stale = await browser.post(f"{path}/edit", filled(form.text, email="late@example.com"))
    assert (stale.status, "Somebody else has changed it" in stale.text) == (412, True)
    assert "late@example.com" in [box.value for box in Page(stale.text).boxes], "what was typed is not lost"
    assert user(database, f"user-of-{OURS}")[2] == "new@example.com"
    assert (await browser.post(f"{path}/edit", [each for each in sent if each[0] != "revision"])).status == 422


async def test_a_user_is_disabled_enabled_and_removed(browser: Browser, database: Database, side: str) -> None:
    path, name = f"{side}/users/{an_id(OURS)}", f"user-of-{OURS}"
    form = {csrf.FIELD: (await browser.go(path)).token}
    for deed, disabled in (("disable", True), ("enable", False)):
        assert f'action="{path}/{deed}"' in (await browser.go(path)).text
        assert (await browser.post(f"{path}/{deed}")).status == 403, "without the token"
        assert (await browser.post(f"{path}/{deed}", form)).to == path
        assert user(database, name)[3] is disabled
    assert (await browser.post(f"{path}/remove", form)).status == 422, "without the page that asks"
    assert (await browser.post(f"{path}/remove", {"confirm": "yes"})).status == 403, "without the token"
    assert (await browser.post(f"{path}/remove", {**form, "confirm": "yes"})).to == f"{side}/users"
    assert judged(database, "SELECT 1 FROM users WHERE username = %s", name) == []
    assert (await browser.go(path)).status == 404


async def test_the_last_one_in_charge_stays(browser: Browser, database: Database, side: str) -> None:
    me = user(database, str(ADMINS[side]))
    path = f"{side}/users/{me[4]}"
    shown = await browser.go(path)
    assert "This is you" in shown.text
    form = {csrf.FIELD: shown.token, "confirm": "yes"}
    for deed in ("disable", "remove"):
        refused = await browser.post(f"{path}/{deed}", form)
        assert (refused.status, "obody would be left in charge" in refused.text) == (409, True)
    looks = "customer_viewer" if side == "/customer" else "operator"
    refused = await browser.post(f"{path}/edit", filled((await browser.go(f"{path}/edit")).text, role=looks))
    assert (refused.status, "obody would be left in charge" in refused.text) == (409, True)
    assert user(database, str(ADMINS[side])) == me


async def test_a_password_is_replaced_by_one_that_is_typed_or_made_up(
    admin: Admin, browser: Browser, side: str
) -> None:
    path, name, door = f"{side}/users/{an_id(OURS)}", f"user-of-{OURS}", Door(admin.client)
    form = await browser.go(f"{path}/password")
    assert (await browser.post(f"{path}/password", filled(form.text, password=PASSWORD))).to == path
    assert secret_of((await browser.go(path)).text) is None, "whoever typed it knows it"
    assert (await door.log_in(name, PASSWORD))[0] == 200
    weak = await browser.post(f"{path}/password", filled(form.text, password="weak"))
    assert (weak.status, "at least 12" in fault_of(weak, "password")) == (422, True)
    await browser.post(f"{path}/password", filled(form.text))
    password = secret_of((await browser.go(path)).text)
    assert password is not None
    assert [(await door.log_in(name, each))[0] for each in (PASSWORD, password)] == [401, 200]


async def test_a_token_is_made_shown_once_and_revoked(
    admin: Admin, browser: Browser, database: Database, side: str
) -> None:
    path = f"{side}/api-tokens/new"
    form = await browser.go(path)
    role = "customer_viewer" if side == "/customer" else "operator"
    filling = filled(form.text, name="nightly", role=role, scopes="alerts", days="7")
    assert (await browser.post(path, [each for each in filling if each[0] != csrf.FIELD])).status == 403
    to = (await browser.post(path, filling)).to
    shown = await browser.go(to)
    token = secret_of(shown.text)
    assert token is not None
    assert token not in to
    line = (
        f'curl -H "Authorization: Bearer {token}" {admin.client.app.extensions["services"].config.issuer}{side}/alerts'
    )
    assert line in html.unescape(shown.text)
    assert token not in (await browser.go(to)).text + (await browser.go(f"{side}/api-tokens")).text
    look = "SELECT role, scopes, expires_at < now() + interval '8 days' FROM api_tokens WHERE name = 'nightly'"
    assert judged(database, look) == [(role, ["alerts"], True)]
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    assert (await Browser(admin.client.app).go(f"{side}/alerts", **headers)).status == 200
    assert (await Browser(admin.client.app).go(f"{side}/dashboard", **headers)).status == 403
    sent = {csrf.FIELD: (await browser.go(f"{to}/revoke")).token}
    assert (await browser.post(f"{to}/revoke", sent)).status == 422, "without the page that asks"
    assert (await browser.post(f"{to}/revoke", {**sent, "confirm": "yes"})).to == to
    assert ">revoked</span>" in (await browser.go(to)).text
    assert judged(database, "SELECT revoked_at IS NOT NULL FROM api_tokens WHERE name = 'nightly'") == [(True,)]


async def test_a_wrong_token_is_not_made(browser: Browser, database: Database, side: str) -> None:
    path = f"{side}/api-tokens/new"
    form = await browser.go(path)
    for name, value in (("name", ""), ("days", "0"), ("days", "many"), ("role", "")):
        fields: dict[str, str | None] = {"name": "x", "role": "customer_viewer", "days": "1", name: value}
        shown = await browser.post(path, filled(form.text, **fields))
        assert shown.status == 422
        assert fault_of(shown, name)
    areas = {box.value for box in Page(form.text).boxes if box.name == "scopes"}
    assert ("platform" in areas) is (side == "/operator"), "what there is not for customers they are not offered"
    assert judged(database, "SELECT 1 FROM api_tokens WHERE name = 'x'") == []


async def test_the_log_is_read_by_what_stands_in_the_address(browser: Browser, database: Database, side: str) -> None:
    with database.superuser() as hand:
        hand.execute(
            "INSERT INTO audit_log (tenant_id, at, actor, action, resource, details) VALUES"
            " (%s, '2026-01-02T03:04:05Z', 'user:zoe', 'user.change', 'bob',"
            ' \'{"email": {"old": "", "new": "b@example.com"}}\'),'
            " (%s, '2026-01-03T03:04:05Z', 'token:nightly', 'device.change', 'tenant-a/dev-1', '{}')",
            (OURS, OURS),
        )
    path = f"{side}/audit-log"
    zoe = re.compile(r"<strong>zoe</strong></a>\s+changed the user\s+<code>bob</code>")
    whole = (await browser.go(path)).text
    assert zoe.search(whole)
    assert "(API token)" in whole
    for query, found in {
        "actor=user%3Azoe&action=&resource=&from=&before=": (True, False),
        "action=device.change": (False, True),
        "resource=tenant-a/dev": (False, True),
        "from=2026-01-03T00:00&before=2026-01-04T00:00": (False, True),
        f"actor=user:zoe{'&tenant_id=' + THEIRS if side == '/operator' else '&action=user.login'}": (False, False),
    }.items():
        text = (await browser.go(f"{path}?{query}")).text
        assert (bool(zoe.search(text)), "changed the device" in text) == found, query
    since = Page((await browser.go(f"{path}?from=2026-01-03T00:00%2B02:00")).text).boxes
    assert [box.value for box in since if box.name == "from"] == ["2026-01-02T22:00"]
    assert "No line is like that" in (await browser.go(f"{path}?actor=nobody")).text
    assert (await browser.go(f"{path}?from=yesterday")).status == 422
    assert (await browser.go(f"{path}?actor=", Accept="application/json")).json()["items"] == []


async def test_lists_are_narrowed_and_paged_by_the_address(browser: Browser, database: Database, side: str) -> None:
    for name in ("anna", "anton", "berta"):
        person(database, name, Role.CUSTOMER_VIEWER, OURS)
    found = (await browser.go(f"{side}/users?search=AN&role=customer_viewer&disabled=false&limit=1&sort=username")).text
    assert ("anna</a>" in found, "anton</a>" in found) == (True, False)
    (onward,) = [each["href"] for _, each in Page(found).elements if each.get("rel") == "next"]
    assert "anton</a>" in (await browser.go(str(onward))).text
    assert "No user is like that" in (await browser.go(f"{side}/users?disabled=true")).text
    assert "No token is like that" in (await browser.go(f"{side}/api-tokens?role=customer_admin")).text
    if side == "/operator":
        assert "anna" not in (await browser.go(f"{side}/users?tenant_id={THEIRS}")).text


async def test_programs_get_what_they_did(browser: Browser, side: str) -> None:
    for end in LISTS:
        shown = await browser.go(f"{side}/{end}", Accept="application/json")
        assert set(shown.json()) == {"items", "next"}
    one = await browser.go(f"{side}/users/{an_id(OURS)}", Accept="application/json")
    assert one.json()["username"] == f"user-of-{OURS}"
    again = await browser.go(
        f"{side}/users/{an_id(OURS)}", Accept="application/json", If_None_Match=one.headers["ETag"]
    )
    assert again.status == 304
    token = (await browser.go(f"{side}/api-tokens/{an_id(OURS)}", Accept="application/json")).json()
    assert (token["name"], token["tenant_id"], "token" in token, "token_hash" in token) == ("n", OURS, False, False)
