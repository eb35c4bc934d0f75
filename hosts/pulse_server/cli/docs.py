"""``pulse docs``: the reference pages that are made from code."""

from __future__ import annotations

from pathlib import Path

import click

from pulse_core.config import PluginsConfig
from pulse_server.cli.base import Session, out, pass_session


@click.command()
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), default=Path("docs/reference"), show_default=True
)
@click.option("--bundled", is_flag=True, help="Describe every bundled plugin instead of those that are enabled.")
@pass_session
def docs(session: Session, into: Path, *, bundled: bool) -> None:
    """Write the reference of hooks, plugins and configuration from the code itself."""
    from pulse_server.reference import bundled_plugins, write_reference  # noqa: PLC0415 - needed by this command alone

    config = session.config()
    if bundled:
        config = config.model_copy(update={"plugins": PluginsConfig(enabled=bundled_plugins())})
    for path in write_reference(into, config):
        out.print(f"wrote {path}")
