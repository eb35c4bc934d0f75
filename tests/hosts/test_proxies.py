"""Whose address a request has: the peer's, unless a proxy of the operator's own says whom it heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.config import load_config
from pulse_core.errors import ConfigError
from pulse_server.web.around.proxies import Proxied
from support.batches import judged

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from support.admin import Admin, Caller
    from support.database import Database

TRUSTED = ("10.0.0.0/8", "2001:db8:a::/48")


async def seen(peer: str, *lines: str, trusted: tuple[str, ...] = TRUSTED) -> str:
    """The address that the application sees."""
    found: list[str] = []

    async def app(scope: MutableMapping[str, Any], _receive: Any, _send: Any) -> None:
        found.append(scope["client"][0])

    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in lines]
    await Proxied(app, trusted)({"type": "http", "client": (peer, 1), "headers": headers}, None, None)
    return found[0]


@pytest.mark.parametrize(
    ("peer", "lines", "expected"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("192.0.2.1", ["198.51.100.7"], "192.0.2.1"),
        ("192.0.2.1", ["10.0.0.1"], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.1, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.1", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["203.0.113.1, 198.51.100.7, 10.9.9.9"], "198.51.100.7"),
        ("10.0.0.1", ["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ("10.0.0.1", ["10.0.0.9, 198.51.100.7, 10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, 10.0.0.2, "], "10.0.0.1"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("10.0.0.1", ["\xff\xfe"], "10.0.0.1"),
        ("10.0.0.1", ["127.0.0.1"], "127.0.0.1"),
        ("10.0.0.1", ["198.51.100.7:5544"], "198.51.100.7"),
        ("10.0.0.1", ["[2001:db8:b::1]:5544"], "2001:db8:b::1"),
        ("10.0.0.1", ["2001:db8:b::1"], "2001:db8:b::1"),
        ("::ffff:10.0.0.1", ["::ffff:198.51.100.7"], "198.51.100.7"),
        ("2001:db8:a::1", ["2001:db8:a::2, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", [", ".join(["198.51.100.7"] + ["10.0.0.2"] * 5000)], "10.0.0.2"),
    ],
)
async def test_the_nearest_address_that_is_no_proxy_of_ours(peer: str, lines: list[str], expected: str) -> None:
    assert await seen(peer, *lines) == expected


async def test_without_trusted_proxies_no_header_counts() -> None:
    assert await seen("10.0.0.1", "198.51.100.7", trusted=()) == "10.0.0.1"


async def test_a_connection_without_an_address_is_passed_on() -> None:
    calls = []

    async def app(scope: Any, _receive: Any, _send: Any) -> None:
        calls.append(scope)

    scopes: list[dict[str, Any]] = [{"type": "lifespan"}, {"type": "http", "client": None, "headers": []}]
    for scope in scopes:
        await Proxied(app, TRUSTED)(scope, None, None)
    assert len(calls) == 2


@pytest.mark.parametrize("network", ["10.0.0.1/8", "proxy", "10.0.0.0/33", ""])
def test_what_is_no_network_is_an_error_at_start(network: str) -> None:
    with pytest.raises(ConfigError, match="trusted_proxies"):
        load_config(None, web={"trusted_proxies": [network]})


def test_a_section_that_names_only_proxies_keeps_its_port() -> None:
    web = load_config(None, web={"trusted_proxies": ["10.0.0.0/8"]}).web
    assert (web.host, web.port, web.trusted_proxies) == ("127.0.0.1", 8080, ("10.0.0.0/8",))


async def test_the_audit_log_names_the_caller_and_not_the_proxy(
    admin: Admin, customer: Caller, database: Database
) -> None:
    app: Any = admin.client.app
    inner = app.asgi_app
    app.asgi_app = Proxied(inner, TRUSTED)
    hook = {"name": "w", "config": {"url": "https://x.example/", "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}}
    for peer in ("10.1.1.1", "192.0.2.1"):
        headers = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
        status, _, _ = await customer.post("/integrations", hook, headers=headers, scope_base={"client": (peer, 1)})
        assert status == 201
    look = "SELECT address FROM audit_log WHERE action = 'integration.create' ORDER BY at"
    assert judged(database, look) == [("198.51.100.7",), ("192.0.2.1",)]
