"""What acceptance stands on: a running product, a bench for the tables of faults, a Keycloak."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from support.faults import Bench
from support.faults import bench as a_bench
from support.product import Product

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from support.database import Database
    from support.keycloak import Keycloak

OTHERS = ("aiohttp.access", "aiohttp.server", "mail.log")
"""Logs of those who receive: they live in this process, but are not the product."""


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    """The product as it comes, running in a folder of its own."""
    running = Product(tmp_path / "product")
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def bench(
    database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> AsyncIterator[Bench]:
    """A bench; whatever was done with it, no secret stands in the ledger or in a log afterwards."""
    caplog.set_level(logging.DEBUG)
    async with a_bench(database, tmp_path) as made:
        yield made
        written = made.written()
    records = [each for phase in ("setup", "call") for each in caplog.get_records(phase)]
    logged = "".join(capsys.readouterr()) + "\n".join(each.getMessage() for each in records if each.name not in OTHERS)
    assert not made.betrayed(written), "the ledger tells a secret"
    assert not made.betrayed(logged), "a log tells a secret"


@pytest.fixture(scope="module")
def keycloak() -> Iterator[Keycloak]:
    """A real one, started at first use; it takes its time. Two modules in two processes wait for each other."""
    from support.keycloak import keycloak

    with keycloak() as running:
        yield running
