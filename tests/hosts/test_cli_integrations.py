"""``pulse integrations`` and ``pulse routes``: schedules, fallbacks, and a test from the terminal."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from pulse_server import trial
from support.batches import integrate, judged, register
from support.command_line import Pulse, command_line, ok

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database

HOOK = ("integrations", "add", "webhook", "--tenant", "tenant-a", "--set", "url=https://example.com/",
        "--set", "secret=whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")  # fmt: skip


@pytest.fixture
def pulse(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    register(database, "tenant-a/dev-1")
    return command_line(monkeypatch, tmp_path, database)


def test_an_integration_gets_its_own_schedule(pulse: Pulse, database: Database) -> None:
    ok(pulse(*HOOK, "--retry", '{"waits_s": [1, 2], "every_s": 60, "give_up_s": 120}'))
    assert judged(database, "SELECT retry FROM integrations") == [
        ({"waits_s": [1, 2], "every_s": 60, "give_up_s": 120},)
    ]
    for wrong in ("nonsense", '{"every_s": 5}', '{"colour": 1}'):
        refused = pulse(*HOOK, "--retry", wrong)
        assert (refused.exit_code, "retry" in refused.stderr) == (2, True)


def test_a_route_gets_a_fallback(pulse: Pulse, database: Database) -> None:
    first, second = (str(integrate(database)) for _ in range(2))
    add = ("routes", "add", "--tenant", "tenant-a", "--integration", first)
    ok(pulse(*add, "--fallback", second, "--fallback-after", "30"))
    (listed,) = json.loads(ok(pulse("routes", "list", "--json")))
    assert (listed["fallback_integration_id"], listed["fallback_after_s"]) == (second, 30)
    assert second in ok(pulse("routes", "list"))
    assert "another" in pulse(*add, "--fallback", first).stderr


def test_a_test_that_nobody_delivers_says_so(pulse: Pulse, database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "WAIT_S", 0.0)
    hook = integrate(database)
    result = pulse("integrations", "test", str(hook), "--tenant", "tenant-a")
    assert (result.exit_code, "no attempt yet" in result.stdout) == (1, True)
    told = json.loads(pulse("integrations", "test", str(hook), "--tenant", "tenant-a", "--json").stdout)
    assert (told["status"], told["cause"]) == ("PENDING", "test")
    assert pulse("integrations", "test", str(hook), "--tenant", "tenant-b").exit_code == 1
    assert len(judged(database, "SELECT FROM deliveries")) == 2
    ((actor,),) = judged(database, "SELECT DISTINCT actor FROM audit_log WHERE action = 'integration.test'")
    assert actor.startswith("cli:")
