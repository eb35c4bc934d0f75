"""A browser as far as a login needs one: it follows redirects, keeps cookies, and fills in the form it is shown."""

from __future__ import annotations

import html
import re
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Self
from urllib.parse import parse_qsl, urljoin, urlsplit

import aiohttp

if TYPE_CHECKING:
    from pulse_core.api import Tokens
    from pulse_oidc.provider import OidcProvider

HOME = "http://127.0.0.1:1/"
"""Ours, and ``callback`` below it; nobody listens there."""


class OpenIdBrowser:
    """Cookies are sent to whoever set them, the secure ones too: it only talks to this machine."""

    def __init__(self, home: str = HOME) -> None:
        self._home = home
        self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        self._cookies: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def go(self, url: str, form: dict[str, str] | None = None) -> tuple[str, str]:
        """Where it ends, and the page there. What is ours is not fetched."""
        while not url.startswith(self._home):
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self._cookies.items())}
            method = "GET" if form is None else "POST"
            async with self._session.request(method, url, data=form, headers=headers, allow_redirects=False) as answer:
                for line in answer.headers.getall("Set-Cookie", ()):
                    self._cookies |= {name: each.value for name, each in SimpleCookie(line).items()}
                if answer.status not in (302, 303):
                    assert answer.status < 500, await answer.text()
                    return url, await answer.text()
                url, form = urljoin(url, answer.headers["Location"]), None
        return url, ""

    async def submit(self, url: str, page: str, **fields: str) -> tuple[str, str]:
        """Send the form of a page, with what stands in its hidden fields."""
        action = re.search(r'<form[^>]* action="([^"]+)"', page)
        assert action, page
        inputs = [dict(re.findall(r'(\w+)="([^"]*)"', tag)) for tag in re.findall(r"<input[^>]*>", page)]
        hidden = {each["name"]: html.unescape(each.get("value", "")) for each in inputs if each.get("type") == "hidden"}
        return await self.go(urljoin(url, html.unescape(action[1])), {**hidden, **fields})

    async def log_in(self, provider: OidcProvider, more: str = "", **fields: str) -> Tokens | None:
        """A whole login. ``more`` is added to the authorization request; ``fields`` fill in a form, if there is one."""
        callback_url = f"{self._home}callback"
        departure = await provider.begin(callback_url)
        url, page = await self.go(departure.redirect_url + more)
        if not url.startswith(callback_url) and fields:
            url, page = await self.submit(url, page, **fields)
        assert url.startswith(callback_url), page
        return await provider.complete(dict(parse_qsl(urlsplit(url).query)), callback_url, departure.secret_state)
