"""``pulse users`` and ``pulse keys``: passwords never on the command line, everything audited."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.batches import judged, register
from support.command_line import Pulse, command_line, ok
from support.people import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database

ADD = ("users", "add", "ada", "--tenant", "tenant-a", "--role", "customer_admin")


@pytest.fixture
def pulse(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    register(database, "tenant-a/dev-1")
    return command_line(monkeypatch, tmp_path, database)


def hash_of(database: Database, username: str = "ada") -> str:
    ((found,),) = judged(database, f"SELECT password_hash FROM users WHERE username = '{username}'")
    return str(found)


def test_a_user_from_making_to_disabling(pulse: Pulse, database: Database) -> None:
    assert "added ada" in ok(pulse(*ADD, "--email", "ada@example.com", text=PASSWORD + "\n"))
    first = hash_of(database)
    assert first.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    (listed,) = json.loads(ok(pulse("users", "list", "--tenant", "tenant-a", "--json")))
    assert (listed["username"], listed["role"], listed["email"]) == ("ada", "customer_admin", "ada@example.com")
    assert "hash" not in json.dumps(listed)
    ok(pulse("users", "passwd", "Ada", text="another long one\n"))
    assert hash_of(database) != first
    assert "may not log in" in ok(pulse("users", "disable", "ada"))
    assert judged(database, "SELECT disabled_at IS NOT NULL FROM users") == [(True,)]
    ok(pulse("users", "enable", "ada"))
    assert judged(database, "SELECT disabled_at IS NULL FROM users") == [(True,)]
    done = judged(database, "SELECT actor LIKE 'cli:%%', tenant_id, action, resource FROM audit_log ORDER BY at")
    assert done == [(True, "tenant-a", f"user.{what}", "ada") for what in ("create", "password", "disable", "enable")]
    assert PASSWORD not in str(judged(database, "SELECT to_jsonb(a)::text FROM audit_log a"))


@pytest.mark.parametrize("command", ["passwd", "disable", "enable"])
def test_what_changes_a_user_ends_their_sessions(pulse: Pulse, database: Database, command: str) -> None:
    ok(pulse(*ADD, text=PASSWORD))
    with database.superuser() as connection:
        connection.execute(
            "INSERT INTO sessions (tenant_id, user_id, expires_at) SELECT tenant_id, user_id, now() FROM users"
        )
    ok(pulse("users", command, "ada", text="another long one"))
    assert judged(database, "SELECT ended_at IS NOT NULL FROM sessions") == [(True,)]


def test_an_operator_has_no_tenant(pulse: Pulse, database: Database) -> None:
    ok(pulse("users", "add", "olga", "--role", "operator_admin", text=PASSWORD))
    assert judged(database, "SELECT tenant_id FROM users") == [("",)]
    assert "operator_admin" in ok(pulse("users", "list"))


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("", "at least 12"),
        ("short", "at least 12"),
        ("x" * 1025, "1024 bytes"),
        ("é" * 600, "1024 bytes"),
        ("a" * 12, "over and over"),
        ("Ada-Lovelace", "the user's name"),
    ],
)
def test_a_password_that_can_be_guessed_is_refused(pulse: Pulse, database: Database, password: str, said: str) -> None:
    result = pulse("users", "add", "ada-lovelace", "--role", "operator", text=password + "\n")
    assert result.exit_code != 0
    assert said in result.stderr
    assert password not in result.output or not password
    assert judged(database, "SELECT FROM users") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("add", "ada", "--role", "customer_admin"), "needs a tenant"),
        (("add", "ada", "--role", "operator", "--tenant", "tenant-a"), "has none"),
        (("add", "ada", "--role", "customer_admin", "--tenant", "tenant-z"), "no tenant 'tenant-z'"),
        (("add", "a b", "--role", "operator"), "username"),
        (("add", "ada", "--role", "operator", "--email", "x"), "email"),
        (("passwd", "nobody"), "no user 'nobody'"),
        (("disable", "nobody"), "no user 'nobody'"),
        (("add", "ada", "--role", "operator", "--password", "x"), "No such option"),
    ],
)
def test_wrong_input_is_told(pulse: Pulse, arguments: tuple[str, ...], said: str) -> None:
    result = pulse("users", *arguments, text=PASSWORD)
    assert said in result.stderr
    assert result.exit_code != 0


def test_a_name_is_given_once(pulse: Pulse) -> None:
    ok(pulse(*ADD, text=PASSWORD))
    assert "already" in pulse("users", "add", "ADA", "--role", "operator", text=PASSWORD).stderr


def test_keys_are_rotated(pulse: Pulse, database: Database) -> None:
    ok(pulse("keys", "rotate"))
    assert "signs in 15 s" in ok(pulse("keys", "rotate"))
    rows = judged(database, "SELECT signs_from - created_at > '14 s' FROM signing_keys ORDER BY signs_from")
    assert rows == [(False,), (True,)]
    assert len(judged(database, "SELECT FROM audit_log WHERE action = 'keys.add' AND actor LIKE 'cli:%%'")) == 1


def test_secrets_rotate_encrypts_the_signing_keys_anew(
    pulse: Pulse, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pulse_core.secrets import SecretBox

    ok(pulse("keys", "rotate"))
    new = "another key of the tests, 32 characters and more"
    monkeypatch.setenv("PULSE_SECRET_KEY", new)
    monkeypatch.setenv("PULSE_PREVIOUS_SECRET_KEYS", json.dumps([database.secret_key]))
    ok(pulse("migrate"))
    try:
        assert "1 encrypted anew" in ok(pulse("secrets", "rotate"))
        ((sealed,),) = judged(database, "SELECT private_key FROM signing_keys")
        assert SecretBox(new).open(bytes(sealed))
    finally:  # the login roles are the whole server's
        monkeypatch.setenv("PULSE_SECRET_KEY", database.secret_key)
        monkeypatch.delenv("PULSE_PREVIOUS_SECRET_KEYS")
        ok(pulse("migrate"))
