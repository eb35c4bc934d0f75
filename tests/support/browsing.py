"""A browser, as far as our pages need one: it keeps cookies, sends forms, and goes where it is sent. No scripts."""

from __future__ import annotations

import html
import json
import re
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from urllib.parse import urlencode

from pulse_core.identity import Login
from pulse_server.web.entrance import csrf
from pulse_server.web.entrance.cookies import PREFIX
from support.admin import Caller
from support.people import PASSWORD, person

if TYPE_CHECKING:
    from quart import Quart
    from werkzeug.datastructures import Headers

    from pulse_core.principal import Role
    from pulse_server.sessions.desk import BrowserSessions
    from pulse_server.web.services import Services
    from support.admin import Admin
    from support.database import Database

LOCAL = {"Host": "localhost"}
HTML = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"


class Shown(NamedTuple):
    """What a browser got."""

    status: int
    headers: Headers
    text: str

    @property
    def to(self) -> str:
        """Where it is sent."""
        assert self.status == 303, (self.status, self.text)
        return str(self.headers["Location"])

    @property
    def token(self) -> str:
        """The token of the form on the page."""
        (found,) = set(re.findall(r'name="csrf_token" value="([^"]*)"', self.text))
        return html.unescape(str(found))

    def json(self) -> Any:
        return json.loads(self.text)


class Browser:
    """One browser."""

    def __init__(self, app: Quart) -> None:
        self.client = app.test_client(use_cookies=False)  # its own jar forgets what Secure and Path mean
        self.cookies: dict[str, str] = {}
        self.given: list[str] = []
        """Every Set-Cookie header so far."""

    async def go(self, path: str, method: str = "GET", *, form: Any = None, **headers: str) -> Shown:
        """Ask for something; header names are spelled with underscores."""
        sent = {"Accept": HTML, **LOCAL, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if self.cookies:
            sent["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        data = None
        if form is not None:
            sent["Content-Type"], data = "application/x-www-form-urlencoded", urlencode(form)
        response = await cast("Any", self.client).open(path, method=method, headers=sent, data=data)
        for given in response.headers.getlist("Set-Cookie"):
            self._keep(given)
        return Shown(response.status_code, response.headers, str(await response.get_data(as_text=True)))

    async def post(self, path: str, form: Any = None, **headers: str) -> Shown:
        """Send a form."""
        return await self.go(path, "POST", form={} if form is None else form, **headers)

    async def log_in(self, username: str = "ada", password: str = PASSWORD, **more: str) -> Shown:
        """Open the form and send it."""
        token = (await self.go("/login")).token
        return await self.post("/login", {"username": username, "password": password, csrf.FIELD: token, **more})

    async def log_out(self) -> Shown:
        """Send the form of the page that asks."""
        return await self.post("/logout", {csrf.FIELD: (await self.go("/logout")).token})

    async def status(self) -> Any:
        """What a page's script is told."""
        shown = await self.go("/api/auth/status", Accept="application/json")
        return shown.json() if shown.status == 200 else shown.status

    def twin(self) -> Browser:
        """Another that was given the same cookies."""
        other = Browser(cast("Any", self.client).app)
        other.cookies = dict(self.cookies)
        return other

    def _keep(self, given: str) -> None:
        self.given.append(given)
        for name, morsel in SimpleCookie(given).items():
            assert name.startswith("__Host-"), given
            assert morsel["secure"], given
            assert morsel["httponly"], given
            assert (morsel["path"], morsel["domain"], morsel["samesite"]) == ("/", "", "Lax"), given
            if morsel["max-age"] == "0":
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = morsel.value


async def at_browser(admin: Admin, database: Database, role: Role, name: str = "") -> Browser:
    """A new user, called as their role unless ``name`` says how, who has logged in; customers are tenant-a's."""
    person(database, name or str(role), role, "tenant-a" if role.of_a_tenant else "")
    browser = Browser(admin.client.app)
    await browser.log_in(name or str(role))
    return browser


async def session_caller(app: Quart, username: str) -> tuple[Caller, str]:
    """A user with a session that nothing was asked with yet, and the id that its cookie holds."""
    services: Services = app.extensions["services"]
    provider = services.providers.named("accounts")
    assert provider is not None
    account = await provider.services.users.find(username)
    assert account is not None
    tokens = await provider.issue(Login(account.principal, account))
    assert tokens is not None
    sessions: BrowserSessions = services.sessions
    cookie_id = await sessions.begin(provider, tokens)
    assert cookie_id is not None
    return await with_session(app, cookie_id), cookie_id


async def with_session(app: Quart, cookie_id: str) -> Caller:
    """A page's script: with the cookie of a session and its token."""
    async with app.app_context():
        token = csrf.of_session(cookie_id)
    cookie = app.extensions["QUART_AUTH"][0].dump_token(cookie_id, app)
    headers = {"Cookie": f"{PREFIX}={cookie}", csrf.HEADER: token}
    return Caller(app.test_client(use_cookies=False), "", headers)


async def by_cookie(app: Quart, database: Database, username: str, role: Role, tenant_id: str) -> Caller:
    """A new user, and their session."""
    person(database, username, role, tenant_id if role.of_a_tenant else "")
    return (await session_caller(app, username))[0]
