"""The ``pulse`` command, called as from a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from click.testing import CliRunner, Result

from pulse_server.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from support.database import Database


class Pulse(Protocol):
    """``pulse``, with arguments and perhaps standard input."""

    def __call__(self, *arguments: str, text: str | None = None) -> Result: ...


def command_line(monkeypatch: pytest.MonkeyPatch, folder: Path, database: Database) -> Pulse:
    """``pulse`` in an empty folder, with a database."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PULSE_DATABASE_URL", database.url)
    monkeypatch.setenv("PULSE_SECRET_KEY", database.secret_key)

    def run(*arguments: str, text: str | None = None) -> Result:
        return CliRunner().invoke(main, arguments, input=text, prog_name="pulse")

    return run


def ok(result: Result) -> str:
    """Standard output of a command that must succeed."""
    assert result.exit_code == 0, result.output
    return result.stdout
