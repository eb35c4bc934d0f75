"""Writes the tables of docs/reference/mqtt.md: ``PYTHONPATH=tests python -m support.mqtt_table``."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

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
    return by_hand + MARK + "".join(_tables(decorator) for decorator in STANDARDS)


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
