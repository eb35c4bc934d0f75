"""The ledger where people and programs meet it: the command, the operator API, the metrics."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from pulse_core.errors import StoreUnavailable
from pulse_core.principal import Role
from pulse_server import bookkeeping
from pulse_server.bookkeeping import Bookkeeper
from pulse_server.cli import main
from pulse_server.exits import FAILED
from support.admin import admin_api
from support.batches import judged
from support.books import fill, ledger

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pulse_core.ledger import Statement
    from support.database import Database

NAMES = ("readings", "decisions", "causes", "deliveries")


@pytest.fixture
async def filled(database: Database) -> Database:
    await fill(database, "tenant-a/dev-1", "tenant-b/dev-1")
    return database


def lose_a_delivery(database: Database) -> str:
    """Returns its alert's id."""
    query = "DELETE FROM deliveries WHERE ctid = (SELECT min(ctid) FROM deliveries) RETURNING alert_id::text"
    return str(judged(database, query)[0][0])


@pytest.fixture
def pulse(filled: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """``pulse`` with a database in which things happened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PULSE_DATABASE_URL", filled.url)
    monkeypatch.setenv("PULSE_SECRET_KEY", filled.secret_key)
    return lambda *arguments: CliRunner().invoke(main, arguments, prog_name="pulse")


def test_the_command_shows_both_sides_of_each_line(pulse: Callable[..., Result]) -> None:
    said = pulse("ledger")
    assert said.exit_code == 0, said.output
    assert "accepted 12 = stored 12 + expired 0" in said.stdout
    assert "matched 8 = primary 8" in said.stdout
    assert "deliveries 8 = delivered 0 + pending 8 + dead 0 + cancelled 0" in said.stdout


def test_the_command_fails_and_names_what_is_wrong(pulse: Callable[..., Result], filled: Database) -> None:
    alert_id = lose_a_delivery(filled)
    said = pulse("ledger")
    assert said.exit_code == FAILED
    assert "matched 8 ≠ primary 7" in said.stdout
    assert alert_id in said.stdout
    assert "decisions differ by 1" in said.stderr
    as_json = pulse("ledger", "--json")
    assert as_json.exit_code == FAILED
    found = json.loads(as_json.stdout)
    assert found["balanced"] is False
    assert [each["difference"] for each in found["lines"]] == [0, 1, 0, 0]
    assert found["lines"][1]["examples"][0]["alert_id"] == alert_id


async def test_operators_read_it_and_are_written_down(filled: Database, tmp_path: Path) -> None:
    async with admin_api(filled, tmp_path) as admin:
        operator = await admin.operator()
        status, body, _ = await operator.get("/ledger")
        assert (status, body["balanced"]) == (200, True)
        assert [each["name"] for each in body["lines"]] == list(NAMES)
        assert body["lines"][0]["left"] == {"accepted": 12}
        assert sum(each["stored"] for each in body["days"]) == 12
        alert_id = lose_a_delivery(filled)
        status, body, _ = await operator.get("/ledger")
        assert (status, body["balanced"]) == (200, False)
        assert body["lines"][1]["examples"][0]["alert_id"] == alert_id
    seen = judged(filled, "SELECT count(*) FROM audit_log WHERE resource = 'GET /operator/ledger'")
    assert seen == [(2,)]


@pytest.mark.parametrize("role", [Role.CUSTOMER_ADMIN, None])
async def test_nobody_else_reads_it(role: Role | None, database: Database, tmp_path: Path) -> None:
    async with admin_api(database, tmp_path) as admin:
        await admin.tenant()
        headers = (await admin.customer(role=role)).headers if role else {}
        response = await admin.client.get("/operator/ledger", headers=headers)
    assert response.status_code == (403 if role else 401)


def gauge(line: str) -> float | None:
    return REGISTRY.get_sample_value("pulse_ledger_difference", {"line": line})


async def test_the_check_in_the_background_tells_the_metrics_and_the_log(filled: Database) -> None:
    async with ledger(filled) as books:
        keeper = Bookkeeper(books)
        with capture_logs() as logs:
            found = await keeper.once()
        assert ([gauge(name) for name in NAMES], logs) == ([0, 0, 0, 0], [])
        checked = REGISTRY.get_sample_value("pulse_ledger_checked_timestamp_seconds")
        assert checked == found.at.timestamp()
        alert_id = lose_a_delivery(filled)
        with capture_logs() as logs:
            await keeper.once()
    assert [gauge(name) for name in NAMES] == [0, 1, 0, 0]
    (said,) = logs
    assert (said["event"], said["log_level"], said["line"]) == ("ledger.differs", "error", "decisions")
    assert said["examples"][0]["alert_id"] == alert_id


@pytest.mark.parametrize("failure", [StoreUnavailable("away"), ValueError("a bug")], ids=["away", "a bug"])
async def test_a_check_that_could_not_be_made_is_made_soon(
    filled: Database, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    """And not five minutes later: the database was only just being restarted."""
    monkeypatch.setattr(bookkeeping, "_FIRST_AFTER_S", 0.05)
    async with ledger(filled) as books:
        check, asked, made = books.check, asyncio.Event(), asyncio.Event()

        async def fails_at_first(*args: Any, **kwargs: Any) -> Statement:
            if not asked.is_set():
                asked.set()
                raise failure
            made.set()
            return await check(*args, **kwargs)

        monkeypatch.setattr(books, "check", fails_at_first)
        keeper = Bookkeeper(books)
        keeper.start()
        async with asyncio.timeout(30):
            await made.wait()
        await keeper.stop()


async def test_the_background_comes_to_every_day(filled: Database) -> None:
    """Days two before today have readings; the newest days are empty ones, made ahead."""
    judged(filled, "DELETE FROM telemetry WHERE ts < now() - interval '36 hours' RETURNING 1")
    async with ledger(filled) as books:
        keeper = Bookkeeper(books)
        differences = [(await keeper.once(), gauge("readings"))[1] for _ in range(7)]
    assert differences[0] == 0
    assert differences[-1] == 4
    assert differences == sorted(differences, key=bool), "once found, it stays"
