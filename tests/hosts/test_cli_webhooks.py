"""``pulse webhooks verify``, as the author of a receiver calls it."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner, Result

from pulse_server.cli import main
from pulse_webhook.signing import signatures

if TYPE_CHECKING:
    from pathlib import Path

SECRET, OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_" + "QUJD" * 10
BODY = b'{"alert_id":"1"}'


def arguments(*, at_s: int = 0, secrets: tuple[str, ...] = (SECRET,)) -> list[str]:
    stamp = int(time.time()) + at_s
    signature = signatures(secrets, "msg-1", stamp, BODY)
    return ["webhooks", "verify", "--id", "msg-1", "--timestamp", str(stamp), "--signature", signature]


def run(*more: str, body: bytes = BODY, secret: str | None = SECRET, at_s: int = 0) -> Result:
    environment = {"PULSE_WEBHOOK_SECRET": secret}
    done = CliRunner().invoke(main, [*arguments(at_s=at_s), *more], input=body, env=environment)
    assert secret is None or secret not in done.output
    return done


def test_it_says_yes_and_exits_with_0() -> None:
    done = run()
    assert (done.exit_code, done.stdout) == (0, "verified: the signature is right\n")


@pytest.mark.parametrize(
    ("body", "secret", "at_s", "told"),
    [
        (BODY, OTHER, 0, "wrong secret, or another message"),
        (BODY, "hunter2", 0, "malformed secret"),
        (BODY + b"\n", SECRET, 0, "a line break was added"),
        (BODY, SECRET, -1000, "timestamp outside the tolerance"),
    ],
)
def test_it_says_why_not_and_exits_with_1(body: bytes, secret: str, at_s: int, told: str) -> None:
    done = run(body=body, secret=secret, at_s=at_s)
    assert done.exit_code == 1
    assert done.stdout.startswith("not verified (")
    assert told in done.stdout


def test_the_tolerance_can_be_another() -> None:
    assert run("--tolerance", "2000", at_s=-1000).exit_code == 0
    assert run("--tolerance", "-1").exit_code == 2


def test_the_secret_may_stand_in_another_variable_or_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOOK", SECRET)
    assert run("--secret-env", "HOOK", secret=None).exit_code == 0
    file = tmp_path / "secret"
    file.write_text(f"{SECRET}\n")
    assert run("--secret-file", str(file), secret=None).exit_code == 0
    assert run("--secret-file", str(file), "--secret-env", "HOOK").exit_code == 2
    done = run("--secret-env", "NOT_THERE")
    assert (done.exit_code, "NOT_THERE" in done.output) == (2, True)


def test_the_body_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(BODY)
    assert run("--body", str(file), body=b"").exit_code == 0


def test_it_may_be_typed_unseen(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(BODY)
    done = run("--body", str(file), body=f"{SECRET}\n".encode(), secret=None)
    assert done.exit_code == 0
    assert SECRET not in done.output


def test_without_a_terminal_nobody_is_asked(tmp_path: Path) -> None:
    """As in a script or a container: what is asked for would be read from the body, and shown."""
    done = subprocess.run(
        [sys.executable, "-m", "pulse_server", *arguments()],
        input=BODY,
        capture_output=True,
        cwd=tmp_path,
        timeout=60,
        check=False,
        start_new_session=True,
    )
    assert done.returncode == 2
    assert b"PULSE_WEBHOOK_SECRET" in done.stderr


def test_a_wrong_configuration_is_none_of_its_business(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("pulse.toml").write_text("mod = 1")
    assert run().exit_code == 0
