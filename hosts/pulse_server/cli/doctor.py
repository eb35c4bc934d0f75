"""``pulse doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

import asyncio

import click

from pulse_server.cli.base import Session, escaped, out, pass_session
from pulse_server.doctor import Finding, examine
from pulse_server.exits import FAILED

_MARKS = {"ok": "[green]ok    [/]", "note": "[yellow]note  [/]", "failed": "[red]failed[/]"}


@click.command()
@pass_session
def doctor(session: Session) -> None:
    """Check this machine and its configuration. Changes nothing; exits with 1 when something must be done."""
    findings = asyncio.run(examine(session.config_file))
    for finding in findings:
        _show(finding)
    if any(finding.verdict == "failed" for finding in findings):
        click.get_current_context().exit(FAILED)


def _show(finding: Finding) -> None:
    out.print(f"{_MARKS[finding.verdict]} {finding.subject}: {escaped(finding.text)}", soft_wrap=True)
    if finding.remedy:
        out.print(f"       [bold]→[/] {escaped(finding.remedy)}", soft_wrap=True)
