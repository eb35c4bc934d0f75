"""Fixtures for every test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import hypothesis
import pytest
import structlog

from support import no_skips

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.database import Database, PostgresServer

# Timings of a busy machine say nothing about the code.
hypothesis.settings.register_profile(
    "pulse", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("pulse")

# Pretty tracebacks take a second each.
structlog.configure(
    processors=[
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


def pytest_configure(config: pytest.Config) -> None:
    """With PULSE_NO_SKIPS=1 (as CI has it), a skipped test is a failed one."""
    if os.environ.get("PULSE_NO_SKIPS") == "1":
        config.pluginmanager.register(no_skips)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """The session's PostgreSQL server, started at first use."""
    from support.database import PostgresServer

    server = PostgresServer()
    yield server
    server.stop()


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[Database]:
    """A freshly migrated database of this test alone."""
    fresh = postgres.fresh()
    yield fresh
    fresh.drop()
