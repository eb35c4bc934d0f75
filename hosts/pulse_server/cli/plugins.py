"""``pulse plugins``: what is installed and how it is doing."""

from __future__ import annotations

import asyncio

import click
import msgspec
from rich.table import Table

from pulse_core.plugins import PluginState, checked_survey
from pulse_server.cli.base import Session, escaped, json_option, out, pass_session, print_json

_COLOURS = {
    PluginState.ENABLED: "green",
    PluginState.DISABLED: "dim",
    PluginState.LOAD_ERROR: "red",
    PluginState.CONFIG_ERROR: "red",
    PluginState.FAILED_SELF_CHECK: "yellow",
}


@click.command()
@json_option
@pass_session
def plugins(session: Session, as_json: bool) -> None:
    """List the installed plugins: version, what each contributes, how it is doing, and what to do about it."""
    found = asyncio.run(checked_survey(session.config()))
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("plugin", "version", "distribution", "contributes", "status"):
        table.add_column(column, overflow="fold")
    for each in found:
        table.add_row(
            each.name,
            each.version or "-",
            each.distribution or "-",
            ", ".join(each.contributes) or "-",
            f"[{_COLOURS[each.status]}]{each.status}[/]",
        )
    out.print(table)
    for each in found:
        if each.error:
            out.print(f"\n[red]{each.name}[/]: {escaped(each.error)}", soft_wrap=True)
