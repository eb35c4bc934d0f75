"""The ``pulse`` command: provisioning by hand, plugins, doctor, and errors as one clear line."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from pulse_server.cli import main
from pulse_server.exits import DO_NOT_RESTART, TRY_LATER

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.database import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``pulse`` in an empty folder, without any configuration."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, text: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, input=text, prog_name="pulse")

    return run


@pytest.fixture
def pulse(nowhere: Callable[..., Result], database: Database, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``pulse`` with a database."""
    monkeypatch.setenv("PULSE_DATABASE_URL", database.url)
    monkeypatch.setenv("PULSE_SECRET_KEY", database.secret_key)
    return nowhere


def ok(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_help_names_every_command_and_every_command_has_help(nowhere: Callable[..., Result]) -> None:
    listed = ok(nowhere("--help"))
    for command in (
        "up",
        "run",
        "migrate",
        "doctor",
        "plugins",
        "tenants",
        "devices",
        "integrations",
        "routes",
        "tokens",
        "secrets",
        "webhooks",
        "ledger",
        "docs",
    ):
        assert f"\n  {command} " in listed
        assert "Usage: pulse" in ok(nowhere(command, "--help"))
    assert nowhere("dance").exit_code == 2
    assert "0.1.0" in ok(nowhere("--version"))


def test_plugins_are_listed_with_what_they_contribute(nowhere: Callable[..., Result]) -> None:
    found = {each["name"]: each for each in json.loads(ok(nowhere("plugins", "--json")))}
    assert found["webhook"]["status"] == "enabled"
    assert found["webhook"]["contributes"] == ["channel webhook"]
    assert found["webhook"]["distribution"] == "opsconductor-pulse"
    table = ok(nowhere("plugins"))
    assert "channel webhook" in table
    assert "enabled" in table


def test_a_plugin_that_cannot_be_loaded_is_shown_with_what_to_do(
    nowhere: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSE_PLUGINS__ENABLED", '["webhok", "postgres"]')
    shown = ok(nowhere("plugins"))
    assert "load error" in shown
    assert "did you mean 'webhook'" in shown
    assert "webhook" in shown


def test_a_device_from_registration_to_revocation(pulse: Callable[..., Result], database: Database) -> None:
    ok(pulse("tenants", "add", "tenant-a", "--name", "Aurora", "--stale-after", "20", "--stale-on-disconnect", "lost"))
    assert json.loads(ok(pulse("tenants", "list", "--json")))[0]["stale_on_disconnect"] == "lost"
    ok(pulse("devices", "add", "tenant-a", "dev-1", "--site", "site-1", "--name", "Pump [1]"))
    code = ok(pulse("devices", "code", "tenant-a", "dev-1")).strip()
    token = ok(pulse("devices", "activate", code)).strip()
    assert len(token) >= 40
    assert pulse("devices", "activate", code).exit_code == 1
    newer = ok(pulse("devices", "rotate-token", "tenant-a", "dev-1", "--grace", "60")).strip()
    assert newer != token
    ok(pulse("devices", "revoke", "tenant-a", "dev-1"))
    (listed,) = json.loads(ok(pulse("devices", "list", "--tenant", "tenant-a", "--json")))
    assert (listed["status"], listed["site_id"]) == ("REVOKED", "site-1")
    assert "Pump [1]" in ok(pulse("devices", "list"))
    assert "Aurora" in ok(pulse("tenants", "list"))
    assert token not in ok(pulse("devices", "list", "--json"))
    with database.superuser() as connection:
        actors = connection.execute("SELECT DISTINCT actor FROM audit_log").fetchall()
    assert all(str(actor[0]).startswith("cli:") for actor in actors)


def test_an_activation_code_may_be_typed_unseen(pulse: Callable[..., Result]) -> None:
    ok(pulse("tenants", "add", "tenant-a"))
    ok(pulse("devices", "add", "tenant-a", "dev-1", "--site", "site-1"))
    code = ok(pulse("devices", "code", "tenant-a", "dev-1")).strip()
    result = pulse("devices", "activate", text=f"{code}\n")
    assert result.exit_code == 0
    assert code not in result.output


@pytest.mark.parametrize("way", ["--set", "prompt", "stdin", "environment"])
def test_an_integrations_secret_is_given_unseen_and_never_shown(
    pulse: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    ok(pulse("tenants", "add", "tenant-a"))
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    command = ["integrations", "add", "webhook", "--tenant", "tenant-a", "--name", "on call"]
    command += ["--set", "url=https://example.com/hook", "--set", 'headers={"Authorization": "Bearer x1y2"}']
    more = {
        "--set": ["--set", f"secret={SECRET}"],
        "prompt": [],
        "stdin": ["--set-stdin", "secret"],
        "environment": ["--set-env", "secret=HOOK_SECRET"],
    }[way]
    made = pulse(*command, *more, text=f"{SECRET}\n")
    assert made.exit_code == 0, made.output
    assert SECRET not in made.output
    (listed,) = json.loads(ok(pulse("integrations", "list", "--json")))
    assert listed["config"]["secret"] == "********"
    assert listed["config"]["headers"] == {"Authorization": "********"}
    shown = ok(pulse("integrations", "list", "--tenant", "tenant-a"))
    assert SECRET not in shown
    assert "on call" in shown
    ok(
        pulse(
            *("routes", "add", "--tenant", "tenant-a", "--integration", listed["integration_id"]),
            *("--severity", "critical", "--severity", "4", "--min-severity", "3", "--on", "OPEN", "--on", "CLOSED"),
        )
    )
    (route,) = json.loads(ok(pulse("routes", "list", "--json")))
    assert (route["severities"], route["min_severity"]) == ([4, 5], 3)
    assert route["deliver_on"] == ["CLOSED", "OPEN"]
    assert listed["integration_id"] in ok(pulse("routes", "list"))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["tenants", "add", "a b"], 2, "tenant_id"),
        (["tenants", "add", "t", "--stale-after", "-1"], 2, "stale_after_s"),
        (["tenants", "add", "t", "--stale-on-disconnect", "maybe"], 2, "lost"),
        (["devices", "add", "tenant-a", "dev-1", "--site", "s"], 1, "no tenant"),
        (["devices", "code", "tenant-a", "nobody"], 1, "no such device"),
        (["devices", "list", "--status", "ASLEEP"], 2, "status"),
        (["integrations", "add", "pigeon", "--tenant", "t"], 1, "webhook"),
        (["integrations", "add", "webhook", "--tenant", "t", "--set", "url"], 2, "KEY=VALUE"),
        (["integrations", "add", "webhook", "--tenant", "t", "--set-env", "secret=NOT_THERE"], 2, "NOT_THERE"),
        (["integrations", "add", "webhook", "--tenant", "t", "--set", "url=x", "--set", "secret=hunter2"], 2, "url"),
        (["routes", "add", "--tenant", "t", "--integration", "42"], 2, "integration_id"),
        (["routes", "add", "--tenant", "t", "--integration", "42", "--severity", "AWFUL"], 2, "severities"),
    ],
)
def test_wrong_input_is_one_clear_line(
    pulse: Callable[..., Result], arguments: list[str], code: int, said: str
) -> None:
    result = pulse(*arguments)
    assert result.exit_code == code, result.output
    assert said in result.output
    assert "Traceback" not in result.output
    assert "hunter2" not in result.output
    assert not isinstance(result.exception, Exception) or isinstance(result.exception, SystemExit)


def test_what_the_operator_must_change_has_an_exit_code_of_its_own(
    nowhere: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("pulse.toml").write_text('mod = "dev"\n')
    result = nowhere("up")
    assert (result.exit_code, "did you mean 'mode'" in result.output) == (DO_NOT_RESTART, True)
    tmp_path.joinpath("pulse.toml").write_text("")
    monkeypatch.setenv("PULSE_ADMIN_KEY", "dev-admin-key")
    assert nowhere("up").exit_code == DO_NOT_RESTART
    monkeypatch.delenv("PULSE_ADMIN_KEY")
    result = nowhere("run", "--role", "web")
    assert (result.exit_code, "pulse up" in result.output) == (1, True) or result.exit_code == DO_NOT_RESTART


def test_a_database_that_does_not_answer_is_worth_another_try(
    nowhere: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSE_DATABASE_URL", "postgresql://nobody:secret-word@127.0.0.1:1/none")
    monkeypatch.setenv("PULSE_SECRET_KEY", "0123456789abcdef" * 4)
    for section in ("WEB", "DEVICE_HTTP", "METRICS_DELIVER", "PLUGINS__MQTT"):
        monkeypatch.setenv(f"PULSE_{section}__PORT", "0")  # whoever else listens on this machine
    for command in (["tenants", "list"], ["migrate"], ["up"]):
        result = nowhere(*command)
        assert result.exit_code == TRY_LATER, result.output
        assert "does not answer" in result.output
        assert "secret-word" not in result.output


def test_migrate_can_be_repeated(pulse: Callable[..., Result]) -> None:
    assert "up to date" in ok(pulse("migrate"))


def findings(result: Result) -> dict[str, Any]:
    lines = [line for line in result.stdout.splitlines() if line.startswith(("ok", "note", "failed"))]
    return {line.split(":")[0].split(maxsplit=1)[1]: line.split()[0] for line in lines}


def test_doctor_finds_nothing_wrong_where_nothing_is(
    pulse: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WEB", "DEVICE_HTTP", "METRICS_DELIVER"):
        monkeypatch.setenv(f"PULSE_{name}__PORT", "0")
    result = pulse("doctor")
    assert result.exit_code == 0, result.output
    found = findings(result)
    assert found["schema"] == "ok"
    assert found["clock"] == "ok"
    assert found["admin_key"] == "note"
    assert found["plugin webhook"] == "ok"


def test_doctor_says_what_to_do(
    nowhere: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o777)
    (data / "secret.key").write_text("short")
    (data / "secret.key").chmod(stat.S_IRUSR | stat.S_IWUSR)
    monkeypatch.setenv("PULSE_DATA_DIR", str(data))
    monkeypatch.setenv("PULSE_DATABASE_URL", "postgresql://nobody:secret-word@127.0.0.1:1/none")
    monkeypatch.setenv("PULSE_PLUGINS__ENABLED", '["htp", "postgres"]')
    monkeypatch.setenv("PULSE_DEVICE_HTTP__PORT", "0")
    result = nowhere("doctor")
    assert result.exit_code == 1
    found = findings(result)
    assert {found[name] for name in ("data_dir", "secret_key", "plugin htp", "schema")} == {"failed"}
    assert "chmod go-w" in result.stdout
    assert "secret-word" not in result.output
    monkeypatch.setenv("PULSE_MODE", "chaos")
    assert findings(nowhere("doctor"))["configuration"] == "failed"


def test_the_embedded_database_is_started_for_a_command(nowhere: Callable[..., Result], tmp_path: Path) -> None:
    ok(nowhere("tenants", "add", "tenant-a"))
    assert "tenant-a" in ok(nowhere("tenants", "list"))
    assert not (tmp_path / "pulse-data" / "postgres" / "url").exists(), "and stopped again"


def test_docs_are_written_where_they_are_wanted(nowhere: Callable[..., Result], tmp_path: Path) -> None:
    ok(nowhere("docs", "--into", str(tmp_path / "out")))
    assert sorted(path.name for path in (tmp_path / "out").iterdir())
