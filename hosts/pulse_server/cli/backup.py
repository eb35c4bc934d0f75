"""``pulse backup``: everything in the database as one file, while everything works on."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from pulse_core.errors import ConfigError, PermanentFailure
from pulse_core.plugins import load_plugins
from pulse_server import key_file
from pulse_server.backup import save
from pulse_server.cli.base import Session, err, out, pass_session
from pulse_server.database import embedded, known_url
from pulse_server.secret_key import path_of, secret_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pulse_core.config import Config

_MEGABYTE = 1_000_000


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--with-key", is_flag=True, help="Put the secret key in, too: whoever has the file then reads everything."
)
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@pass_session
def backup(session: Session, file: Path, with_key: bool, force: bool) -> None:
    """Write everything in the database into FILE, while everything works on."""
    config = session.config()
    readings = load_plugins(config).telemetry_store.transactional
    keys = secret_keys(config)
    if with_key and not all(map(key_file.fits, keys)):
        raise ConfigError(
            "secret_key of the configuration cannot stand in a key file: back up the configuration itself"
        )
    with _database(config) as url, progress() as bar, written(file):
        task = bar.add_task("backing up", total=None)
        made = save(
            url,
            file,
            keys=keys,
            with_key=with_key,
            readings=readings,
            force=force,
            told=lambda done, total: bar.update(task, completed=done, total=total),
        )
    size_mb = file.stat().st_size / _MEGABYTE
    out.print(f"{file}: {size_mb:,.1f} MB, as it was at {made.taken_at:%Y-%m-%d %H:%M:%S} UTC", soft_wrap=True)
    if with_key:
        out.print("the secret key is in it: keep the file like the key", soft_wrap=True)
    else:
        where = "secret_key of the configuration" if config.secret_key is not None else str(path_of(config))
        out.print(
            f"the secret key is NOT in it: keep {where} as well, elsewhere; without it stored secrets cannot be read",
            soft_wrap=True,
        )
    if not readings:
        out.print(
            f"readings are NOT in it: back up the store {config.telemetry_store!r} by its own means", soft_wrap=True
        )


@contextmanager
def _database(config: Config) -> Iterator[str]:
    """As :func:`pulse_server.database.database`, but an embedded one is left as it is: nothing is migrated."""
    if url := known_url(config):
        yield url
        return
    server = embedded(config)
    try:
        yield server.start()
    finally:
        server.stop()


def progress() -> Progress:
    """A bar on a terminal; nothing in a file."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    return Progress(*columns, console=err, transient=True, disable=not err.is_terminal)


@contextmanager
def written(file: Path) -> Iterator[None]:
    """What the system refuses becomes one clear line."""
    try:
        yield
    except OSError as error:
        raise PermanentFailure(f"{error.filename or file}: {error.strerror or error}") from error
