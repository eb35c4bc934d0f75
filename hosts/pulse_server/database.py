"""Which database a command works on: the configured one, or the embedded one, started for it if need be.

What the embedded one and migrations need is imported only where they are used: a role's process needs neither.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pulse_server.secret_key import secret_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pulse_core.config import Config
    from pulse_server.embedded import EmbeddedPostgres


def postgres_dir(config: Config) -> Path:
    """Where the embedded PostgreSQL lives."""
    return config.data_dir / "postgres"


def embedded(config: Config) -> EmbeddedPostgres:
    """The embedded PostgreSQL of this configuration, not started."""
    from pulse_server.embedded import EmbeddedPostgres  # noqa: PLC0415 - see the module

    return EmbeddedPostgres(postgres_dir(config))


def known_url(config: Config) -> str | None:
    """The administrator's address of a database that runs already; None when the embedded one is down."""
    if config.database_url is not None:
        return config.database_url.get_secret_value()
    from pulse_server.embedded import running_url  # noqa: PLC0415 - see the module

    return running_url(postgres_dir(config))


@contextmanager
def database(config: Config) -> Iterator[str]:
    """The administrator's address of the database, for as long as the block runs.

    An embedded one that nobody runs is started, brought up to date, and stopped at the end. Call it from the main
    thread.
    """
    if url := known_url(config):
        yield url
        return
    from pulse_postgres.migrate import migrate  # noqa: PLC0415 - see the module

    server = embedded(config)
    try:
        url = server.start()
        migrate(url, secret_key(config))
        yield url
    finally:
        server.stop()
