"""``pulse docs``: the reference pages that are made from code."""

from __future__ import annotations

from pathlib import Path

import click

from pulse_server.cli.base import Session, out, pass_session


@click.command()
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), default=Path("docs/reference"), show_default=True
)
@pass_session
def docs(session: Session, into: Path) -> None:
    """Write the reference of hooks, plugins and configuration from the code itself."""
    from pulse_server.reference import write_reference  # noqa: PLC0415 - needed by this command alone

    for path in write_reference(into, session.config()):
        out.print(f"wrote {path}")
