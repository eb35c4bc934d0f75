"""``pulse secrets``, and that no command ever shows a key."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from pulse_core.secrets import SecretBox
from pulse_server import runfiles
from pulse_server.cli import main
from pulse_server.exits import DO_NOT_RESTART
from pulse_server.secret_key import key_id

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD, STRANGE = "the key before, of 32 characters and more", "a key that nobody knows any more, 32 and more"
Run = Callable[..., Result]


@pytest.fixture
def pulse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """``pulse`` in a folder of its own; whatever it prints holds no key of the generated file."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Result:
        done = CliRunner().invoke(main, arguments, prog_name="pulse")
        file = tmp_path / "pulse-data" / "secret.key"
        keys = [*(file.read_text().split() if file.exists() else ()), OLD, STRANGE, SECRET]
        assert not [key for key in keys if key in done.output + str(done.exception)]
        return done

    return run


@pytest.fixture
def on_database(pulse: Run, database: Database, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The same with a database, whose secret key was OLD before."""
    monkeypatch.setenv("PULSE_DATABASE_URL", database.url)
    monkeypatch.setenv("PULSE_SECRET_KEY", database.secret_key)
    monkeypatch.setenv("PULSE_PREVIOUS_SECRET_KEYS", json.dumps([OLD]))
    return pulse


def arrange(database: Database, key: str, count: int) -> None:
    with database.superuser() as connection:
        connection.execute("INSERT INTO tenants (tenant_id) VALUES ('tenant-a') ON CONFLICT DO NOTHING")
        for _ in range(count):
            connection.execute(
                "INSERT INTO integrations (tenant_id, integration_id, type, name, config, secrets)"
                " VALUES ('tenant-a', gen_random_uuid(), 'webhook', 'x', '{}', %s)",
                (SecretBox(key).seal({"/secret": SECRET}),),
            )


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_generated_key_is_replaced_step_by_step(pulse: Run, tmp_path: Path) -> None:
    file = tmp_path / "pulse-data" / "secret.key"
    refused = pulse("secrets", "new-key")
    assert (refused.exit_code, "made at the first start" in refused.output) == (DO_NOT_RESTART, True)
    ok(pulse("tenants", "add", "tenant-a"))
    (old,) = file.read_text().split()
    given = ["--set", "url=https://example.com/", "--set", f"secret={SECRET}"]
    ok(pulse("integrations", "add", "webhook", "--tenant", "tenant-a", *given))
    assert "nothing" not in ok(pulse("secrets", "rotate"))
    said = ok(pulse("secrets", "new-key"))
    assert "restart the platform, then run `pulse secrets rotate`" in said
    new, kept = file.read_text().split()
    assert kept == old != new
    assert "tenant-a" in ok(pulse("tenants", "list"))
    assert "1 previous" in pulse("doctor").output
    said = ok(pulse("secrets", "rotate"))
    assert "1 encrypted anew, 0 were already" in said
    assert "nothing needs the previous keys any more" in said
    assert "0 encrypted anew, 1 were already" in ok(pulse("secrets", "rotate"))
    assert file.read_text().split() == [new, old]
    assert "1 previous keys dropped" in ok(pulse("secrets", "rotate", "--forget"))
    assert file.read_text().split() == [new]
    assert "0 previous keys dropped" in ok(pulse("secrets", "rotate", "--forget"))


def test_no_key_is_dropped_while_something_cannot_be_read(pulse: Run, tmp_path: Path) -> None:
    file = tmp_path / "pulse-data" / "secret.key"
    ok(pulse("tenants", "add", "tenant-a"))
    given = ["--set", "url=https://example.com/", "--set", f"secret={SECRET}"]
    ok(pulse("integrations", "add", "webhook", "--tenant", "tenant-a", *given))
    ok(pulse("secrets", "new-key"))
    newer, needed = file.read_text().split()
    file.write_text(f"{newer}\n{newer[::-1]}\n")
    done = pulse("secrets", "rotate", "--forget")
    assert (done.exit_code, "1 can be read with none of the keys" in done.output) == (1, True)
    assert file.read_text().split() == [newer, newer[::-1]]
    file.write_text(f"{newer}\n{newer[::-1]}\n{needed}\n")
    assert "2 previous keys dropped" in ok(pulse("secrets", "rotate", "--forget"))


def test_rotation_reports_and_can_be_repeated(on_database: Run, database: Database) -> None:
    arrange(database, OLD, 3)
    arrange(database, database.secret_key, 2)
    assert "3 encrypted anew, 2 were already" in ok(on_database("secrets", "rotate"))
    assert "0 encrypted anew, 5 were already" in ok(on_database("secrets", "rotate"))
    with database.superuser() as connection:
        noted = connection.execute("SELECT actor, details FROM audit_log WHERE action = 'secrets.rotate'").fetchall()
    assert [details for _, details in noted] == [{"resealed": 3}]
    assert str(noted[0][0]).startswith("cli:")


def test_many_are_shown_as_they_go(on_database: Run, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_server.cli.secrets._MANY", 2)
    arrange(database, OLD, 3)
    assert "3 encrypted anew" in ok(on_database("secrets", "rotate"))


def test_what_no_key_reads_is_listed_and_the_rest_is_done(on_database: Run, database: Database) -> None:
    arrange(database, OLD, 1)
    arrange(database, STRANGE, 1)
    with database.superuser() as connection:
        rows = connection.execute("SELECT integration_id::text, secrets FROM integrations").fetchall()
    (lost,) = [name for name, blob in rows if SecretBox(STRANGE).is_current(blob)]  # type: ignore[arg-type]
    for already in (0, 1):
        done = on_database("secrets", "rotate")
        assert done.exit_code == 1
        assert f"{1 - already} encrypted anew, {already} were already" in done.output
        assert f"  tenant-a {lost}\n" in done.output
        assert "previous_secret_keys" in done.output


def test_a_configured_key_is_the_operators_to_change(on_database: Run) -> None:
    for command in (["new-key"], ["rotate", "--forget"]):
        done = on_database("secrets", *command)
        assert done.exit_code == DO_NOT_RESTART
        assert "put a new one there and the old one into previous_secret_keys" in done.output


def test_first_the_platform_is_restarted(on_database: Run, database: Database, tmp_path: Path) -> None:
    arrange(database, OLD, 1)
    data = tmp_path / "pulse-data"
    runfiles.publish(data, "deliver", addresses={}, key=key_id(OLD))
    for command in (
        ["secrets", "rotate"],
        ["integrations", "add", "webhook", "--tenant", "tenant-a", "--set", f"secret={SECRET}", "--set", "url=x"],
    ):
        done = on_database(*command)
        assert done.exit_code == DO_NOT_RESTART, done.output
        assert f"deliver (pid {os.getpid()}) still works with another key: restart the platform first" in done.output
    runfiles.publish(data, "deliver", addresses={}, key=key_id(database.secret_key))
    ok(on_database("secrets", "rotate"))


def test_until_the_database_has_learnt_the_new_key_a_previous_one_logs_in(
    on_database: Run, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSE_SECRET_KEY", STRANGE)
    monkeypatch.setenv("PULSE_PREVIOUS_SECRET_KEYS", json.dumps([OLD, database.secret_key]))
    ok(on_database("tenants", "list"))
    done = on_database("secrets", "rotate")
    assert done.exit_code == DO_NOT_RESTART
    assert "run `pulse migrate` with this secret_key" in done.output
    monkeypatch.setenv("PULSE_PREVIOUS_SECRET_KEYS", json.dumps([OLD]))
    assert on_database("tenants", "list").exit_code == DO_NOT_RESTART
