"""``pulse tokens``: minted once, listed without what they are, revoked, all of it audited."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from pulse_core.principal import Principal, Role
from pulse_postgres.identity.token_check import TokenCheck
from pulse_postgres.pool import open_pool
from support.batches import judged, register
from support.command_line import Pulse, command_line, ok

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database


@pytest.fixture
def pulse(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    register(database, "tenant-a/dev-1")
    return command_line(monkeypatch, tmp_path, database)


def whose(database: Database, token: str) -> Principal | None:
    async def look() -> Principal | None:
        pool = await open_pool(database.dsn("pulse_auth"), name="test", max_size=1)
        try:
            return await TokenCheck(pool).principal(token)
        finally:
            await pool.close()

    return asyncio.run(look())


def test_a_token_from_minting_to_revocation(pulse: Pulse, database: Database) -> None:
    minted = pulse("tokens", "add", "--tenant", "tenant-a", "--role", "customer_viewer", "--name", "nightly report")
    token = ok(minted).strip()
    assert token.startswith("pulse_"), "standard output holds the token and nothing else"
    assert len(token) == 49
    assert "not shown again" in minted.stderr
    assert whose(database, token) == Principal("token:nightly report", Role.CUSTOMER_VIEWER, "tenant-a")
    (listed,) = json.loads(ok(pulse("tokens", "list", "--tenant", "tenant-a", "--json")))
    assert (listed["name"], listed["role"], listed["revoked_at"]) == ("nightly report", "customer_viewer", None)
    assert token not in json.dumps(listed)
    assert "nightly report" in ok(pulse("tokens", "revoke", listed["token_id"]))
    assert whose(database, token) is None
    assert [action for (action,) in judged(database, "SELECT action FROM audit_log ORDER BY at")] == [
        "token.create",
        "token.revoke",
    ]


def test_an_operators_token_has_no_tenant(pulse: Pulse, database: Database) -> None:
    token = ok(pulse("tokens", "add", "--role", "operator", "--name", "wall board", "--days", "1")).strip()
    assert whose(database, token) == Principal("token:wall board", Role.OPERATOR)
    left = judged(database, "SELECT expires_at - now() < '1 day' AND expires_at - now() > '23 h' FROM api_tokens")
    assert left == [(True,)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--role", "customer_admin"), "needs a tenant"),
        (("--role", "operator", "--tenant", "tenant-a"), "has none"),
        (("--role", "customer_admin", "--tenant", "tenant-z"), "no tenant 'tenant-z'"),
        (("--role", "customer_admin", "--tenant", "tenant-a", "--days", "0"), "days"),
        (("--role", "god"), "god"),
    ],
)
def test_wrong_input_is_told(pulse: Pulse, arguments: tuple[str, ...], said: str) -> None:
    result = pulse("tokens", "add", "--name", "n", *arguments)
    assert said in result.stderr
    assert (result.exit_code != 0, result.stdout) == (True, "")


def test_what_is_no_token_cannot_be_revoked(pulse: Pulse) -> None:
    assert pulse("tokens", "revoke", "00000000-0000-4000-8000-000000000000").exit_code != 0
    assert pulse("tokens", "revoke", "42").exit_code == 2
