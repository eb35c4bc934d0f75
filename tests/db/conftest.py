"""The outbox, in PostgreSQL and as its in-memory twin: what is tested here must hold for both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.outbox import MemoryOutbox, Outbox, PostgresOutbox

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture(params=["memory", "postgres"])
async def outbox(request: pytest.FixtureRequest) -> AsyncIterator[Outbox]:
    if request.param == "memory":
        yield MemoryOutbox()
        return
    opened = await PostgresOutbox.open(request.getfixturevalue("database"))
    yield opened
    await opened.close()
