"""What a customer's program waits for: a page of a tenant's 100,000 devices, and the check of its token."""

from __future__ import annotations

import asyncio
import http.client
import json
import time
from typing import TYPE_CHECKING, Any

from bench.figures import Bench, Figure, Fleet, percentile, say
from pulse_accounts.provider import AccountsProvider
from pulse_core.api import PluginConfig
from pulse_core.config import load_config
from pulse_core.identity import Tokens
from pulse_core.principal import Role
from pulse_core.secrets import SecretBox
from pulse_postgres.accounts import role_dsn
from pulse_postgres.identity.api_tokens import ApiTokens
from pulse_postgres.identity.token_check import TokenCheck
from pulse_postgres.pool import open_pool
from pulse_server.embedded import running_url
from pulse_server.providers import Providers, lent
from support.people import PASSWORD, hashed
from support.product import SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import psycopg

    from support.product import Product

DEVICES = 100_000
TENANT = "crowd"
AIM_MS, AIM_CHECK_MS = 10.0, 0.2
ASKED_TIMES, CHECKED_TIMES = 200, 20_000
LISTS = {
    "as it comes": "",
    "by a label that 2 % bear": "?label=model:m7",
    "by prefix": "?prefix=crowd-0999",
    "STALE ones (1 %)": "?status=STALE",
    "ONLINE ones (99 %)": "?status=ONLINE",
    "sorted by name": "?sort=-name",
    "searched for in names": "?search=boiler%2077",
}
SLOWER = {"sorted by when they were last seen": "?sort=-last_seen_at", "UNKNOWN ones (0.1 %)": "?status=UNKNOWN"}
"""Without an index, because what they look at changes with every reading: told, and no aim."""

# A thousand that never spoke are UNKNOWN.
_DRESS = """
    UPDATE devices SET name = 'Boiler ' || (ctid::text::point)[0] * 1000 + (ctid::text::point)[1],
        labels = jsonb_build_object('model', 'm' || right(device_id, 2)::int / 2, 'floor', right(device_id, 1))
"""
_STATES = """
    INSERT INTO device_state (tenant_id, device_id, status, status_since, status_until, last_seen_at)
    SELECT tenant_id, device_id, CASE WHEN device_id LIKE '%77' THEN 'STALE' ELSE 'ONLINE' END, now(),
           now() + interval '1 day', now() - random() * interval '1 hour'
    FROM devices WHERE device_id NOT LIKE '%500'
"""


def lists(bench: Bench) -> list[Figure]:
    """Pages of 50 of a tenant's 100,000 devices over HTTP, and the check of a token that was checked just now."""
    more = {"more_plugins": ["accounts"], "config": ""}
    with bench.product(Fleet(TENANT, DEVICES), Fleet("small", 1000), **more) as (product, _):
        with product.superuser() as hand:
            dress(hand)
        say("lists: asking")
        token = asyncio.run(minted(product))
        asked = {name: waited_ms(product, token, query) for name, query in {**LISTS, **SLOWER}.items()}
        checks = asyncio.run(checked_ms(product, token))
    figures = [list_figure(name, took, aimed=name in LISTS) for name, took in asked.items()]
    return figures + [check_figure(name, took) for name, took in checks.items()]


def dress(hand: psycopg.Connection[Any]) -> None:
    """Give the devices names, labels and states, and a user to the tenant."""
    hand.execute(_DRESS)
    hand.execute(_STATES)
    hand.execute(
        "INSERT INTO users (tenant_id, username, role, password_hash, created_by) VALUES (%s, 'ada', %s, %s, 'bench')",
        (TENANT, str(Role.CUSTOMER_ADMIN), hashed()),
    )
    hand.execute("VACUUM ANALYZE")


async def minted(product: Product) -> str:
    """A token of the tenant."""
    pool = await open_pool(dsn(product, "pulse_admin"), name="bench", max_size=1)
    try:
        made = await ApiTokens(pool).create("bench", Role.CUSTOMER_VIEWER, tenant_id=TENANT, days=1, actor="bench")
    finally:
        await pool.close()
    return made.token


def waited_ms(product: Product, token: str, query: str) -> list[float]:
    """How long each of many requests took, one after the other on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", product.web_port, timeout=30)
    headers = {"Authorization": f"Bearer {token}"}
    took = []
    for _ in range(ASKED_TIMES):
        began = time.perf_counter()
        connection.request("GET", f"/customer/devices{query}", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        took.append(1000 * (time.perf_counter() - began))
        assert answer.status == 200, body
        assert len(json.loads(body)["items"]) == 50, query
    connection.close()
    return took


async def checked_ms(product: Product, token: str) -> dict[str, list[float]]:
    """How long each of many checks took, of a token that was checked once before."""
    pool = await open_pool(dsn(product, "pulse_auth"), name="bench", max_size=2)
    try:
        config = load_config(None, mode="dev", data_dir=product.data_dir, secret_key=SECRET_KEY)
        provider = AccountsProvider(PluginConfig(), lent("accounts", config, SecretBox(SECRET_KEY), pool))
        providers = Providers([provider])
        await providers.open()
        login = await provider.verify_password("ada", PASSWORD)
        assert login is not None
        tokens = await provider.issue(login)
        assert isinstance(tokens, Tokens)
        found = {
            "API token": await repeated_ms(TokenCheck(pool).principal, token),
            "JWT of an account": await repeated_ms(providers.principal, tokens.access_token),
        }
        await providers.close()
    finally:
        await pool.close()
    return found


async def repeated_ms(check: Callable[[str], Awaitable[object]], token: str) -> list[float]:
    """Check a token again and again."""
    took = []
    for _ in range(CHECKED_TIMES):
        began = time.perf_counter()
        assert await check(token) is not None
        took.append(1000 * (time.perf_counter() - began))
    return took


def dsn(product: Product, role: str) -> str:
    """Where a login role of the running product's database is."""
    url = running_url(product.data_dir / "postgres")
    assert url
    return role_dsn(url, role, SECRET_KEY)


def list_figure(name: str, took: list[float], *, aimed: bool) -> Figure:
    """One list's line."""
    middle = percentile(took, 0.5)
    return Figure(
        f"50 of a tenant's {DEVICES:,} devices, {name}: GET → answer read",
        f"p50 {middle:.1f} ms, p99 {percentile(took, 0.99):.1f} ms",
        f"p50 ≤ {AIM_MS:.0f} ms" if aimed else "-",
        not aimed or middle <= AIM_MS,
    )


def check_figure(name: str, took: list[float]) -> Figure:
    """One kind of token's line."""
    middle = percentile(took, 0.5)
    return Figure(
        f"{name}: checked again",
        f"p50 {middle * 1000:.1f} µs, p99 {percentile(took, 0.99) * 1000:.1f} µs",
        f"≤ {AIM_CHECK_MS * 1000:.0f} µs",
        middle <= AIM_CHECK_MS,
    )
