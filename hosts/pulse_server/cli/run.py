"""``pulse run``: one role, or all of them in one process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pulse_core.errors import ConfigError
from pulse_server.cli.base import Session, pass_session
from pulse_server.database import database, known_url
from pulse_server.logging_setup import set_up_logging
from pulse_server.runner import ROLES, run_roles
from pulse_server.secret_key import secret_keys

if TYPE_CHECKING:
    from pulse_core.config import Config


@click.command()
@click.option("--role", type=click.Choice([*ROLES, "all"]), required=True)
@pass_session
def run(session: Session, role: str) -> None:
    """Run one role, or all of them in one process, until SIGTERM. Several hosts may share one database."""
    config = session.config()
    set_up_logging(role, json_lines=config.mode == "prod")
    if role == "all":
        with database(config) as url:
            run_roles(config, url, secret_keys(config), list(ROLES))
    else:
        run_roles(config, _url(config), secret_keys(config), [role])


def _url(config: Config) -> str:
    if url := known_url(config):
        return url
    raise ConfigError(
        "database_url is not set, and no embedded PostgreSQL runs: `pulse up` starts one and every role; "
        "a role by itself needs a database to share with the others"
    )
