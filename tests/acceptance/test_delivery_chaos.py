"""Deliver processes killed at random: every transition is told on every channel, and again only where one died."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from support.delivery_chaos import Told, Verdict, experiment, judge

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)


def test_kills_lose_nothing_and_repeat_only_what_was_under_way(tmp_path: Path) -> None:
    verdict = experiment(tmp_path, alerts=300, kills=4, every_s=(1.0, 2.0))
    assert verdict.transitions == 300 * 2 * 4
    assert verdict.holds, str(verdict)


def test_the_comparison_notices_what_a_receiver_has_lost(tmp_path: Path) -> None:
    verdict = experiment(tmp_path, alerts=50, kills=0, every_s=(0.0, 0.0), forget=20)
    assert verdict.lost
    assert {one.channel for one in verdict.lost} == {"webhook"}
    assert not verdict.unexplained


OPEN = Told("webhook", "d1", "a1", "OPEN", "DELIVERED", "", 0)
CLOSED = Told("webhook", "d2", "a1", "CLOSED", "DELIVERED", "", 0)
CANCELLED = replace(OPEN, status="CANCELLED", reason="told by delivery d2: the alert was closed before")
TRAP = Told("snmp", "d3", "a1", "OPEN", "DELIVERED", "", 0)


def judged(ledger: list[Told], *webhooks: str, snmp: tuple[str, ...] = ()) -> Verdict:
    return judge(ledger, {"webhook": Counter(webhooks), "snmp": Counter(snmp)})


def test_judging() -> None:
    assert judged([OPEN, CLOSED, TRAP], "d1", "d2", snmp=("a1/OPEN",)).holds
    assert judged([OPEN, CLOSED], "d2").lost == (OPEN,)
    assert judged([CANCELLED, CLOSED], "d2").holds
    assert judged([CANCELLED, CLOSED], "d2").told_by_closed == 1
    assert judged([CANCELLED, CLOSED]).lost == (CANCELLED, CLOSED)
    assert judged([replace(CANCELLED, reason="by a person"), CLOSED], "d2").lost
    assert judged([OPEN], "d1", "d1").unexplained == (OPEN,)
    again = judged([replace(OPEN, lost_attempts=1)], "d1", "d1")
    assert again.holds
    assert again.repeated == 1
    assert judged([OPEN], "d1", "d9").strangers == 1
    assert judged([replace(OPEN, status="RETRYING")]).lost
