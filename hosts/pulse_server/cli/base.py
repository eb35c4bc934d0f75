"""What all commands share: the configuration, errors as one clear line, tables."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from pulse_core.config import Config, load_config
from pulse_core.errors import PulseError
from pulse_server.exits import code_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_NO_TERMINAL = 1000
"""So wide is what goes into a file or a pipe: nothing is folded that somebody looks for with grep."""

out = Console(highlight=False, width=None if sys.stdout.isatty() else _NO_TERMINAL)
err = Console(stderr=True, highlight=False)


class Session:
    """One invocation: which configuration file was asked for."""

    def __init__(self, config_file: Path | None) -> None:
        if config_file is None and Path("pulse.toml").is_file():
            config_file = Path("pulse.toml")
        self.config_file = config_file

    def config(self, **overrides: Any) -> Config:
        """Read the configuration; ConfigError names what is wrong."""
        return load_config(self.config_file, **overrides)


pass_session = click.make_pass_decorator(Session)


class PulseGroup(click.Group):
    """A group that imports a command only to run it, and ends with one clear line when the platform raises.

    :param summaries: one line for each command; its module in this package has the command under the same name.
    """

    def __init__(self, *args: Any, summaries: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._summaries = summaries

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every command, in the order in which people meet them."""
        return list(self._summaries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command of that name, imported now."""
        if cmd_name not in self._summaries:
            return None
        found = getattr(importlib.import_module(f"pulse_server.cli.{cmd_name}"), cmd_name)
        return found if isinstance(found, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's signature
        """The list in the help, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self._summaries.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except PulseError as error:
            err.print(f"[bold red]error:[/] {escaped(str(error))}", soft_wrap=True)
            ctx.exit(code_of(error))


def escaped(text: str) -> str:
    """Text that rich takes as it is."""
    return text.replace("[", r"\[")


json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


def print_items(items: Sequence[Mapping[str, Any]], columns: Sequence[str], *, empty: str, as_json: bool) -> None:
    """A list: all of it for programs, ``columns`` of it for people."""
    if as_json:
        print_json(items)
    else:
        print_table(columns, items, empty=empty)


def print_json(value: Any) -> None:
    """For programs: JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=_plain) + "\n")


def _plain(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


def print_table(columns: Sequence[str], rows: Iterable[Mapping[str, Any]], *, empty: str) -> None:
    """For people: a table of ``columns``, or what to do when there is nothing to show."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*(escaped(_cell(row.get(column))) for column in columns))
    if table.row_count:
        out.print(table)
    else:
        out.print(empty)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple | set | frozenset):
        return ", ".join(str(item) for item in value) or "-"
    return f"{value:%Y-%m-%d %H:%M:%S}" if hasattr(value, "strftime") else str(value)
