"""``pulse ledger``: is everything that came in, and everything that was promised, still there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from pulse_core.plugins import load_plugins
from pulse_postgres.ledger import Ledger
from pulse_server.cli.base import Session, err, escaped, json_option, out, pass_session, print_json, print_table
from pulse_server.cli.work import on_database
from pulse_server.exits import FAILED

if TYPE_CHECKING:
    from pulse_core.ledger import Line


@click.command()
@json_option
@pass_session
def ledger(session: Session, as_json: bool) -> None:
    """Check that nothing is lost: readings, decisions, deliveries. Exits with 1 when a line differs by even one.

    Everything is counted, while everything else works on: ten seconds or more for each hundred million readings.
    """
    config = session.config()
    kept = load_plugins(config).telemetry_store.transactional
    found = on_database(config, lambda pool: Ledger(pool, readings_kept=kept).check(), "pulse_operator")
    if as_json:
        print_json(found.shown())
    else:
        rows = [{"line": each.name, "difference": each.difference, "counted": _counted(each)} for each in found.lines]
        print_table(("line", "difference", "counted"), rows, empty="nothing")
        for each in found.lines:
            _explain(each)
    if not found.balanced:
        click.get_current_context().exit(FAILED)


def _counted(line: Line) -> str:
    if line.note:
        return line.note
    sides = (" + ".join(f"{name} {count:,}" for name, count in side.items()) for side in (line.left, line.right))
    return (" ≠ " if line.difference else " = ").join(sides)


def _explain(line: Line) -> None:
    if not line.difference:
        return
    err.print(f"\n[bold red]{line.name}[/] differ by {line.difference:,}: {line.claim}. Such as:")
    for example in msgspec.to_builtins(line.examples):
        out.print(escaped("  " + ", ".join(f"{name} {value}" for name, value in example.items())), soft_wrap=True)
