"""Kill -9 under load: nothing is lost, nothing is visible twice, the alerts are the same, and the books balance.

The load comes with QoS 1 and with QoS 2.
"""

from __future__ import annotations

import re
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support import hasty
from support.chaos import AlertsSeen, Outcome, experiment
from support.product import Product
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOME = ("pipeline", "postgres", "pipeline", "postgres", "pipeline")
LINES = 4
FIVE_EACH = ("pipeline", "postgres") * 5

pytestmark = pytest.mark.timeout(400)


@contextmanager
def running(product: Product) -> Iterator[Product]:
    try:
        product.start()
        yield product
    finally:
        product.stop()


def expected_alerts() -> AlertsSeen:
    """What the script asks for: each silent device once, open and then closed; nobody else."""
    return AlertsSeen({(f"silent-{number:06}", "NO_HEARTBEAT", "CLOSED"): 1 for number in range(4)})


def demand_balance(outcome: Outcome) -> None:
    """The ledger finds nothing wrong, and it has seen what happened."""
    assert outcome.books["balanced"], outcome.books
    assert all(verdict.acknowledged > 100 for verdict in outcome.verdicts.values()), outcome.verdicts
    assert outcome.counted("readings")["stored"] >= outcome.verdict.acknowledged
    opened_and_closed = 2 * sum(expected_alerts().values())
    assert outcome.counted("decisions") == {"matched": opened_and_closed, "primary": opened_and_closed}


def background_found_nothing(product: Product) -> bool:
    """The web process has checked, and every line of it is 0."""
    with urllib.request.urlopen(f"http://127.0.0.1:{product.web_port}/metrics", timeout=10) as answer:
        lines = re.findall(r"^pulse_ledger_difference\{line=.(\w+).\} (\S+)$", answer.read().decode(), re.MULTILINE)
    assert all(float(difference) == 0 for _, difference in lines), lines
    return len(lines) == LINES


def run(folder: Path, kills: tuple[str, ...]) -> Outcome:
    with running(Product(folder)) as product:
        outcome = experiment(product, folder, kills=kills)
        until_sync(lambda: background_found_nothing(product), within_s=60, what="the ledger's check in the background")
        return outcome


def test_a_run_without_kills_is_the_measure(tmp_path: Path) -> None:
    outcome = run(tmp_path, ())
    assert outcome.verdict.acknowledged > 500
    assert outcome.verdict.holds, str(outcome.verdict)
    assert outcome.alerts == expected_alerts()
    demand_balance(outcome)


@pytest.mark.parametrize("kills", [SOME, pytest.param(FIVE_EACH, marks=pytest.mark.slow)], ids=["some", "five each"])
def test_kills_lose_nothing_and_change_no_alert(tmp_path: Path, kills: tuple[str, ...]) -> None:
    outcome = run(tmp_path, kills)
    assert outcome.verdict.acknowledged > 500
    assert outcome.verdict.holds, str(outcome.verdict)
    assert outcome.alerts == expected_alerts()
    demand_balance(outcome)


def test_the_proof_notices_an_acknowledgement_before_the_commit(tmp_path: Path) -> None:
    product = Product(tmp_path, mqtt_plugin="hasty", extra_path=hasty.install(tmp_path / "hasty"))
    with running(product):
        outcome = experiment(product, tmp_path, kills=("pipeline", "pipeline", "pipeline"))
    assert outcome.verdict.lost
