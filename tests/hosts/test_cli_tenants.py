"""``pulse tenants``: made with what they need, shut out, let in, and removed by whoever means it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.batches import judged
from support.command_line import Pulse, command_line, ok

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database


@pytest.fixture
def pulse(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    return command_line(monkeypatch, tmp_path, database)


def status(pulse: Pulse) -> dict[str, str]:
    return {each["tenant_id"]: each["status"] for each in json.loads(ok(pulse("tenants", "list", "--json")))}


def test_a_tenant_with_its_first_user(pulse: Pulse, database: Database) -> None:
    made = pulse("tenants", "add", "tenant-a", "--admin", "Ada")
    said = ok(made)
    password = said.strip().splitlines()[-1]
    ((name, tenant_id, role, hashed),) = judged(database, "SELECT username, tenant_id, role, password_hash FROM users")
    assert (name, tenant_id, role) == ("ada", "tenant-a", "customer_admin")
    from argon2 import PasswordHasher

    assert PasswordHasher().verify(hashed, password)
    taken = pulse("tenants", "add", "tenant-b", "--admin", "ada")
    assert (taken.exit_code, "already" in taken.output) == (2, True)
    assert pulse("tenants", "add", "tenant-b", "--admin", "Not A Name").exit_code == 2
    assert status(pulse) == {"tenant-a": "ACTIVE"}


def test_suspended_and_resumed(pulse: Pulse, database: Database) -> None:
    ok(pulse("tenants", "add", "tenant-a"))
    ok(pulse("tenants", "suspend", "tenant-a"))
    assert status(pulse) == {"tenant-a": "SUSPENDED"}
    ok(pulse("tenants", "resume", "tenant-a"))
    assert status(pulse) == {"tenant-a": "ACTIVE"}
    for command in ("suspend", "resume"):
        missing = pulse("tenants", command, "nowhere")
        assert (missing.exit_code != 0, "no such tenant" in missing.output) == (True, True)
    done = judged(database, "SELECT action FROM audit_log WHERE actor LIKE 'cli:%%' ORDER BY at")
    assert done == [("tenant.create",), ("tenant.change",), ("tenant.change",)]


def test_removed_by_whoever_types_its_id(pulse: Pulse, database: Database) -> None:
    ok(pulse("tenants", "add", "tenant-a", "--admin", "ada"))
    for given, text in ((["--confirm", "tenant-b"], None), ([], "tenant-b\n"), ([], "")):
        assert pulse("tenants", "remove", "tenant-a", *given, text=text).exit_code != 0
    assert "suspend the tenant first" in pulse("tenants", "remove", "tenant-a", "--confirm", "tenant-a").output
    ok(pulse("tenants", "suspend", "tenant-a"))
    judged(database, "UPDATE tenants SET suspended_at = now() - interval '1 hour' RETURNING true")
    assert "removed tenant-a" in ok(pulse("tenants", "remove", "tenant-a", text="tenant-a\n"))
    assert status(pulse) == {}
    assert judged(database, "SELECT username FROM users") == []
