"""``pulse telemetry``: readings, to take away."""

from __future__ import annotations

import asyncio
import datetime as dt
import os
import sys
import time
from contextlib import aclosing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from pulse_core.api import Selection
from pulse_core.plugins import load_plugins
from pulse_postgres.audit import AuditLog
from pulse_postgres.export_work import devices_in_order
from pulse_postgres.tenants import Tenants
from pulse_server.cli.base import Session, err, pass_session
from pulse_server.cli.work import actor, checked, on_database
from pulse_server.exporting.encoding import CSV, FORMATS, lines_of
from pulse_server.exporting.pages import Share, pages_of
from pulse_server.exporting.resuming import Resumed, resumed
from pulse_server.inputs.telemetry import ExportBody

if TYPE_CHECKING:
    from collections.abc import Iterator

    import asyncpg

    from pulse_core.config import Config
    from pulse_server.exporting.encoding import CsvLines, JsonLines

_PAGE = 5000
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_US = dt.timedelta(microseconds=1)


@click.group()
def telemetry() -> None:
    """Readings: take them away as a file."""


@telemetry.command("export")
@click.argument("tenant_id")
@click.option("--device", "devices", multiple=True, help="Of this device alone; may be given several times.")
@click.option("--site", "sites", multiple=True, help="At this site alone; may be given several times.")
@click.option("--metric", "metrics", multiple=True, help="This metric alone; may be given several times.")
@click.option("--from", "since", help="The first moment, as 2026-01-02 or 2026-01-02T15:04:05Z.")
@click.option("--to", "to", help="The moment before which it ends. [default: now]")
@click.option("--format", "format_", type=click.Choice(FORMATS), default=CSV, show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="A file. [default: standard output]")
@click.option("--resume", is_flag=True, help="Go on behind the last whole line of the file, instead of anew.")
@pass_session
def export(
    session: Session,
    tenant_id: str,
    devices: tuple[str, ...],
    sites: tuple[str, ...],
    metrics: tuple[str, ...],
    since: str | None,
    to: str | None,
    format_: str,
    output: Path | None,
    resume: bool,
) -> None:
    """Write a tenant's readings, by device and time. What was begun with --output can be resumed.

    In CSV, a text that a spreadsheet would take for a formula gets an apostrophe before it; JSON lines have it as it
    is.
    """
    if resume and output is None:
        raise click.UsageError("--resume goes with --output")
    lists = {"devices": list(devices) or None, "sites": list(sites) or None, "metrics": list(metrics) or None}
    wanted = checked(ExportBody, format=format_, since=since, to=to, **lists)
    config, lines = session.config(), lines_of(format_, wanted.wanted.metrics)
    with _written(output, resume=resume) as file:
        begin = resumed(file, format_, lines.head) if resume else Resumed(0, None)
        if output is not None:
            file.truncate(begin.length)
            file.seek(begin.length)
        if not begin.length:
            file.write(lines.head)
        many = on_database(
            config, lambda pool: _write(pool, config, tenant_id, wanted, lines, file, begin), "pulse_operator"
        )
    err.print(f"{many:,} readings written" + (f", from byte {begin.length:,} on" if resume else ""))


async def _write(
    pool: asyncpg.Pool[Any],
    config: Config,
    tenant_id: str,
    body: ExportBody,
    lines: CsvLines | JsonLines,
    file: IO[bytes],
    begin: Resumed,
) -> int:
    """Write page after page; return how many readings that were."""
    await Tenants(pool).get(tenant_id)
    selection = _selection(tenant_id, body)
    await AuditLog(pool).note(actor(), "operator.export", "pulse telemetry export", {}, tenant_id=tenant_id)
    share = Share(selection, await devices_in_order(pool, tenant_id, body.devices, body.sites))
    store_type = (plugins := load_plugins(config)).telemetry_store
    store = store_type(plugins.config_of(store_type))
    await store.open(pool)
    many, columns = 0, (TextColumn("{task.fields[many]} readings"), BarColumn(), TaskProgressColumn())
    try:
        with Progress(*columns, TimeRemainingColumn(), console=err, disable=not err.is_terminal) as progress:
            task = progress.add_task("", total=1.0, many=0)
            async with aclosing(pages_of(store, selection, limit=_PAGE, after=begin.after)) as pages:
                async for page in pages:
                    await asyncio.to_thread(lambda some: file.write(lines.encode(some)), page)
                    many += len(page)
                    progress.update(task, completed=share.at(page), many=f"{many:,}")
            progress.update(task, completed=1.0)
    finally:
        await store.close()
        file.flush()
    return many


def _selection(tenant_id: str, body: ExportBody) -> Selection:
    wanted = body.wanted
    start_us = (wanted.starts_at - _EPOCH) // _US if wanted.starts_at else 0
    end_us = (body.to - _EPOCH) // _US if body.to else time.time_ns() // 1000
    chosen = {
        name: tuple(each) if (each := getattr(wanted, name)) else None for name in ("devices", "sites", "metrics")
    }
    return Selection(tenant_id, start_us, end_us, **chosen)


@contextmanager
def _written(output: Path | None, *, resume: bool) -> Iterator[IO[bytes]]:
    """Where it goes: a file that its owner alone may read, or standard output."""
    if output is None:
        yield sys.stdout.buffer
        return
    how = os.O_RDWR | os.O_CREAT | (0 if resume else os.O_TRUNC)
    with os.fdopen(os.open(output, how, 0o600), "r+b") as file:
        yield file
