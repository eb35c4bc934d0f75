"""What docs/how-to/accounts.md has people type, typed."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from pulse_core.config import Listen
from pulse_server.serving import HttpServer, bind
from support.batches import judged, register
from support.command_line import command_line, ok
from support.people import PASSWORD, person
from support.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from support.admin import Admin
    from support.database import Database

PAGE = (ROOT / "docs/how-to/accounts.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    return str(found)


def test_the_commands_work_in_this_order(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(database, "tenant-a/dev-1")
    pulse = command_line(monkeypatch, tmp_path, database)
    commands = re.findall(r"^\$ pulse (.*)$", block("console"), re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        ok(pulse(*command.split(), text=PASSWORD))
    assert judged(database, "SELECT username, disabled_at FROM users ORDER BY username") == [
        ("ada", None),
        ("olga", None),
    ]


async def test_a_program_logs_in_renews_and_logs_out(admin: Admin, database: Database) -> None:
    person(database)
    server = HttpServer(admin.client.app, bind(Listen(port=0), "web"))
    await server.start()
    try:
        shell = await asyncio.create_subprocess_exec(
            *("bash", "-euo", "pipefail", "-c", block("sh")),
            env={"PATH": "/usr/bin:/bin", "WEB": server.url, "PASSWORD": PASSWORD},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await shell.communicate()
    finally:
        await server.stop()
    assert shell.returncode == 0, said
    assert b'"subject":"user:ada"' in said
    assert judged(database, "SELECT action FROM audit_log WHERE actor = 'user:ada' ORDER BY at") == [
        ("user.login",),
        ("user.logout",),
    ]
