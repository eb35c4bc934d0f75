"""``pulse restore``: brings back what ``pulse backup`` wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pulse_server.backup import Restored
from pulse_server.backup import restore as bring_back
from pulse_server.cli.backup import progress, written
from pulse_server.cli.base import Session, escaped, out, pass_session

if TYPE_CHECKING:
    from rich.progress import TaskID


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Move an embedded database that is there aside; nothing is removed.")
@click.option("--without-key", is_flag=True, help="Go on without the secret key: every stored secret is lost.")
@pass_session
def restore(session: Session, file: Path, force: bool, without_key: bool) -> None:
    """Bring back what `pulse backup` wrote, into an empty data_dir or the empty database of database_url.

    Stop the platform before. Only from a file that you trust: it can make the database do anything.
    """
    config = session.config()
    with progress() as bar, written(file):
        tasks: dict[str, TaskID] = {}

        def told(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=total)
            bar.update(tasks[what], completed=done, total=total)

        done = bring_back(config, file, force=force, without_key=without_key, told=told)
    _tell(done, file)


def _tell(done: Restored, file: Path) -> None:
    made = done.manifest
    out.print(f"restored {file}, as it was at {made.taken_at:%Y-%m-%d %H:%M:%S} UTC", soft_wrap=True)
    for name in done.migrated:
        out.print(f"applied {name}")
    if done.aside:
        out.print(f"what was there before lies in {done.aside}", soft_wrap=True)
    for reader in done.readers:
        tenant_id, _, name = reader.partition("/")
        out.print(f"next: pulse readers password {escaped(tenant_id)} --name {name}", soft_wrap=True)
    if not made.readings:
        out.print("readings were in another store, and not in this file", soft_wrap=True)
    out.print("next: pulse ledger, then pulse up")
