"""``pulse migrate``: the schema, brought up to date."""

from __future__ import annotations

import click

from pulse_postgres.migrate import migrate as apply
from pulse_postgres.reader_logins import sweep
from pulse_server.cli.base import Session, out, pass_session
from pulse_server.database import database
from pulse_server.secret_key import secret_key


@click.command()
@pass_session
def migrate(session: Session) -> None:
    """Create or repair the login roles and bring the database's schema up to date. Safe to run again."""
    config = session.config()
    with database(config) as url:
        applied = apply(url, secret_key(config))
        sweep(url, secret_key(config))
    for name in applied:
        out.print(f"applied {name}")
    out.print("the schema is up to date")
