"""Writes the tables of docs/reference/mqtt.md: ``PYTHONPATH=tests python -m support.mqtt_table``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from pulse_core.api import LONGEST_CLIENT_ID, LONGEST_FILTER, MOST_SUBSCRIPTIONS
from pulse_core.device_sessions import MOST_A_DEVICE
from pulse_mqtt.connection import LONGEST_CONNECT
from pulse_mqtt.conversation import LONGEST_PACKET, WINDOW_BYTES, WINDOW_MESSAGES
from pulse_mqtt.courier import MOST_IN_FLIGHT
from pulse_mqtt.dialects import MOST_ALIASES, RECEIVE_MAXIMUM, Dialect311
from pulse_mqtt.wire import MOST_FILTERS
from support.statements import STANDARDS, Verdict, proofs, standard
from support.tree import ROOT, named

if TYPE_CHECKING:
    from pathlib import Path

    from support.statements import Section, Standard

PAGE = ROOT / "docs/reference/mqtt.md"
MARK = "<!-- What follows is made by support.mqtt_table (make docs) -->\n"


def page() -> str:
    """The page as it should be: what is written by hand, then the tables."""
    by_hand, _, _ = PAGE.read_text().partition(MARK)
    return by_hand + MARK + _limits() + "".join(_tables(decorator) for decorator in STANDARDS)


def _limits() -> str:
    rows = {
        "A client id": f"{LONGEST_CLIENT_ID} characters",
        "Sessions that are kept of a device": f"{MOST_A_DEVICE}; the one that was left longest ago goes first",
        "Subscriptions of a session": f"{MOST_SUBSCRIPTIONS}, of {LONGEST_FILTER} characters each; more are refused",
        "Topic filters in one SUBSCRIBE or UNSUBSCRIBE": f"{MOST_FILTERS}; more end the connection",
        "Commands on their way to a connection": f"{MOST_IN_FLIGHT}, or its Receive Maximum if that is less",
        "A CONNECT": f"{LONGEST_CONNECT:,} bytes after its length",
        "Any other packet": f"{LONGEST_PACKET:,} bytes after its length",
        "Messages of a connection that are read before they are committed": f"{WINDOW_MESSAGES}, or {WINDOW_BYTES:,} "
        "bytes; then it is read on when they are",
        "Messages of QoS 1 and 2 without their answer, or without PUBREL": f"{RECEIVE_MAXIMUM} in MQTT 5.0, "
        f"{Dialect311.receive_maximum:,} in MQTT 3.1.1; more end the connection",
        "Topic aliases of a connection": f"{MOST_ALIASES}",
    }
    return "\n## Limits\n\n| | at most |\n|---|---|\n" + "".join(
        f"| {what} | {most} |\n" for what, most in rows.items()
    )


def _tables(decorator: str) -> str:
    which = standard(decorator)
    proven = proofs(decorator)
    return f"\n## {which.title}, statement by statement\n\n{_sum(which)}\n" + "".join(
        _table(section, proven) for section in which.section
    )


def _sum(which: Standard) -> str:
    count = Counter(one.verdict for one in which.statements.values())
    words = ", ".join(f"{count[verdict]} {verdict}" for verdict in Verdict)
    return f"Of the {count.total()} normative statements of *{which.source}*: {words}.\n"


def _table(section: Section, proven: dict[str, list[tuple[Path, str]]]) -> str:
    head = f"\n### {section.title}\n\n| Number | What it demands | Here | Proof |\n|---|---|---|---|\n"
    rows = []
    for number, one in section.statements.items():
        here = f"{one.verdict}: {one.why}" if one.why else str(one.verdict)
        files = sorted({path for path, _ in proven.get(number, [])})
        links = ", ".join(f"[{path.stem.removeprefix('test_')}](../../{named(path)})" for path in files)
        rows.append(f"| {number} | {one.demands} | {here} | {links} |\n")
    return head + "".join(rows)


if __name__ == "__main__":
    PAGE.write_text(page())
