"""A database in which things happened, and its ledger."""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.records import AlertEvent, Decision, WriteSet
from pulse_postgres.ledger import Ledger
from pulse_postgres.pool import open_pool
from support.batches import ALL, NOW_US, S, alert, delivery, integrate, lane_stores, reading, register, state, step

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_core.ledger import Line, Statement
    from pulse_postgres.ledger_lines import Choice
    from support.database import Database

DAY_US = 86_400 * S
ROUTES = [uuid.UUID(int=number) for number in (1, 2, 3)]
"""The first two match, the third does not."""


@asynccontextmanager
async def ledger(database: Database, *, readings_kept: bool = True) -> AsyncIterator[Ledger]:
    """The ledger of a database, as the web role has it."""
    pool = await open_pool(database.dsn("pulse_operator"), name="test", max_size=2)
    try:
        yield Ledger(pool, readings_kept=readings_kept)
    finally:
        await pool.close()


async def statement(database: Database, choose: Choice = list) -> Statement:
    """The books as they are now."""
    async with ledger(database) as books:
        return await books.check(choose)


def line(found: Statement, name: str) -> Line:
    """One line of a statement."""
    return next(each for each in found.lines if each.name == name)


def told(told_of: Any, integration_id: uuid.UUID, event: AlertEvent, tenant_id: str) -> list[Any]:
    """The primary deliveries of the routes that match."""
    made = (delivery(told_of, integration_id, event, tenant_id) for _ in ROUTES[:2])
    return [msgspec.structs.replace(one, route_id=route_id) for one, route_id in zip(made, ROUTES[:2], strict=True)]


async def fill(database: Database, *names: str, days: int = 3) -> None:
    """Have each device (``tenant/device``) say something on each of the last days, and an alert open and close."""
    register(database, *names)
    async with lane_stores(database) as stores:
        lane = await stores.open(0, ALL)
        for name in names:
            tenant_id = name.split("/")[0]
            integration_id, what = integrate(database, tenant_id), alert(name)
            for event, at_us in ((AlertEvent.OPEN, NOW_US), (AlertEvent.CLOSED, NOW_US + S)):
                change, _ = step(what, event, name, at_us)
                decisions = tuple(Decision(route_id, matched=route_id in ROUTES[:2]) for route_id in ROUTES)
                readings = [reading(name, ts_us=at_us - number * DAY_US) for number in range(days)]
                deliveries = told(what, integration_id, event, tenant_id)
                await lane.commit(
                    WriteSet(
                        readings=readings,
                        states=[state(name)],
                        changes=[(change, decisions)],
                        deliveries=deliveries,
                    )
                )
        await lane.close()
