"""The delivery engine over PostgreSQL: at once, in order whoever races whom, and through the database's absences."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from pulse_core.api import PluginConfig, TemporaryFailure
from pulse_core.clock import SystemClock
from pulse_core.delivery import Channels, DeliveryEngine
from pulse_core.outbound import HttpClient, Outbound
from pulse_core.testing.receivers import http_receiver
from pulse_postgres.integrations import Integrations
from pulse_postgres.pool import listen, open_pool
from pulse_server.services import PluginServices
from support.channels_of_tests import BOX, RecordingChannel, channels
from support.delivering import config, running
from support.outbox import Outbox, PostgresOutbox, make, promise
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_core.records import Delivery, Notification
    from support.database import Database


@pytest.fixture(autouse=True)
def _fresh_channels() -> None:
    RecordingChannel.reset()


@pytest.fixture
async def outbox(database: Database) -> AsyncIterator[PostgresOutbox]:
    opened = await PostgresOutbox.open(database)
    yield opened
    await opened.close()


def an_engine(outbox: Outbox, lines: Channels | None = None, **changes: Any) -> DeliveryEngine:
    return DeliveryEngine(outbox.store, lines or channels(), config(**changes), clock=SystemClock())


@asynccontextmanager
async def guarded_channels() -> AsyncIterator[Channels]:
    """Lines that may call loopback, through the guard."""
    outbound = Outbound(["127.0.0.0/8"])
    async with HttpClient(outbound, allow_plain_http=True) as http:
        lent = PluginServices(http, outbound, structlog.get_logger("tests"))
        yield Channels({"recording": RecordingChannel}, lambda _: PluginConfig(), BOX, lambda _: lent)


def now_us() -> int:
    return SystemClock().now_us()


def listeners(database: Database) -> set[int]:
    with database.superuser() as connection:
        query = "SELECT pid FROM pg_stat_activity WHERE datname = %s AND application_name LIKE 'pulse listen%%'"
        return {int(str(row[0])) for row in connection.execute(query, (database.name,))}


async def settled(outbox: PostgresOutbox, within_s: float = 25) -> dict[str, int]:
    """Wait until nothing is under way; the lease is 30 s, so what was forgotten fails here."""
    end = time.monotonic() + within_s
    while set(found := await outbox.statuses()) & {"PENDING", "SENDING", "RETRYING"}:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.05)
    return found


async def test_a_new_delivery_is_sent_at_once(outbox: PostgresOutbox) -> None:
    arrived: dict[str, float] = {}

    async def note(_: object, notification: Notification) -> None:
        arrived[notification.delivery_id] = time.monotonic()

    RecordingChannel.behaviours["note"] = note
    integration = await outbox.integrate(config={"behaviour": "note"})
    async with running(an_engine(outbox)):
        await promise(outbox, integration, due_us=now_us())
        await settled(outbox)
        waits = []
        for _ in range(20):
            delivery = make(integration, due_us=now_us())
            await outbox.insert([delivery])
            committed = time.monotonic()
            while str(delivery.delivery_id) not in arrived:
                assert time.monotonic() < committed + 20
                await asyncio.sleep(0.001)
            waits.append(arrived[str(delivery.delivery_id)] - committed)
    assert sorted(waits)[10] < 0.1, waits


async def test_order_holds_and_nothing_is_forgotten_while_everybody_races(outbox: PostgresOutbox) -> None:
    """OPEN is being recorded by one engine while CLOSED is made, and claimed by another."""
    integrations = [await outbox.integrate(f"tenant-{i}", config={"endpoint": f"e{i}"}) for i in range(4)]
    alerts = [(integration, uuid.uuid4()) for integration in integrations for _ in range(100)]
    dice = random.Random(7)

    async def live(integration_alert: tuple[object, uuid.UUID]) -> list[Delivery]:
        integration, alert = integration_alert
        routes = [uuid.uuid4() for _ in range(dice.choice([1, 1, 2]))]
        await asyncio.sleep(dice.random() * 3)
        made = [make(integration, "OPEN", alert, now_us(), route_id=route) for route in routes]  # type: ignore[arg-type]
        await outbox.insert(made)
        await asyncio.sleep(dice.random() * 0.06)
        ends = [make(integration, "CLOSED", alert, now_us(), route_id=route) for route in routes]  # type: ignore[arg-type]
        await outbox.insert(ends)
        return made + ends

    async with running(an_engine(outbox)), running(an_engine(outbox)):
        deliveries = [each for group in await asyncio.gather(*map(live, alerts)) for each in group]
        found = await settled(outbox)
    assert set(found) <= {"DELIVERED", "CANCELLED"}
    assert sum(found.values()) == len(deliveries)
    sent = [each.delivery_id for each in RecordingChannel.sent]
    assert len(sent) == len(set(sent)) == found["DELIVERED"]
    closed: set[str] = set()
    for each in RecordingChannel.sent:
        assert not (each.event == "OPEN" and each.alert_id in closed), "told that it is open after it was closed"
        if each.event == "CLOSED":
            closed.add(each.alert_id)
    assert len(closed) == len(alerts)


async def test_the_database_may_go_away_and_come_back(outbox: PostgresOutbox, database: Database) -> None:
    integrations = [await outbox.integrate(f"tenant-{i}", config={"endpoint": f"e{i}"}) for i in range(4)]
    deliveries = [make(integration, due_us=now_us()) for integration in integrations for _ in range(250)]
    await outbox.insert(deliveries)
    async with running(an_engine(outbox)) as task:
        for _ in range(3):
            await asyncio.sleep(0.2)
            with database.superuser() as connection:
                kill = (
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = %s AND application_name LIKE %s"
                )
                connection.execute(kill, (database.name, "pulse test deliver%"))
                connection.execute(kill, (database.name, "pulse listen%"))
        found = await settled(outbox)
        assert not task.done()
    assert found == {"DELIVERED": 1000}
    sent = {each.delivery_id for each in RecordingChannel.sent}
    assert len(sent) == 1000
    assert len(RecordingChannel.sent) == 1000, "nothing was repeated: no engine died"


async def test_after_the_listening_connection_is_lost_it_listens_again(
    outbox: PostgresOutbox, database: Database
) -> None:
    integration = await outbox.integrate()
    async with running(an_engine(outbox)):
        await promise(outbox, integration, due_us=now_us())
        await settled(outbox)
        former = listeners(database)
        with database.superuser() as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM unnest(%s::int[]) AS pid", (list(former),))
        await until(lambda: listeners(database) - former, what="a new listening connection")
        await promise(outbox, integration, due_us=now_us())
        await settled(outbox, within_s=10)


async def test_only_a_delivery_that_was_made_wakes_anybody(outbox: PostgresOutbox, database: Database) -> None:
    integration = await outbox.integrate()
    delivery = await promise(outbox, integration)
    heard = listen(database.dsn("pulse_deliver"), "pulse_deliveries")
    await anext(heard)
    with database.superuser() as connection:
        connection.execute(
            "INSERT INTO deliveries SELECT * FROM deliveries WHERE delivery_id = %s ON CONFLICT DO NOTHING",
            (delivery.delivery_id,),
        )
        connection.execute("SELECT pg_notify('pulse_deliveries', 'the end')")
    assert await asyncio.wait_for(anext(heard), 20) == "the end"
    await heard.aclose()


async def test_the_ledger_says_whom_each_attempt_met_and_what_follows(
    outbox: PostgresOutbox, database: Database
) -> None:
    async with http_receiver() as receiver:

        async def post(channel: RecordingChannel, _: object) -> str:
            return (await channel.services.http.post(receiver.url)).raise_for_failure().receipt

        RecordingChannel.behaviours["post"] = post
        receiver.mood = "temporary"
        integration = await outbox.integrate(config={"behaviour": "post"})
        async with guarded_channels() as lines, running(an_engine(outbox, lines)):
            delivery = await promise(outbox, integration, due_us=now_us())
            await until_status(outbox, delivery, "RETRYING")
            receiver.mood = "ok"
            await until_status(outbox, delivery, "DELIVERED")
    with database.superuser() as connection:
        rows = connection.execute(
            "SELECT address, tls, next_at > started_at + interval '3 s' FROM delivery_attempts ORDER BY attempt"
        ).fetchall()
    assert rows == [(f"127.0.0.1:{receiver.port}", "", True), (f"127.0.0.1:{receiver.port}", "", None)]


async def test_breakers_are_stored_while_they_are_open(outbox: PostgresOutbox, database: Database) -> None:
    async def fail(*_: object) -> None:
        raise TemporaryFailure("out of order")

    RecordingChannel.behaviours["fail"] = fail
    integration = await outbox.integrate(config={"behaviour": "fail"})
    engine = an_engine(outbox, breaker_failures=3, breaker_probe_s=0.5, breaker_longest_s=0.5)
    async with running(engine):
        deliveries = [make(integration, due_us=now_us()) for _ in range(6)]
        await outbox.insert(deliveries)
        await until_stored(database, [(integration.integration_id, "out of order")])
        RecordingChannel.behaviours["fail"] = RecordingChannel.behaviours["deliver"]
        await until_stored(database, [])
        await settled(outbox)


async def test_an_edit_reaches_the_engine(outbox: PostgresOutbox, database: Database) -> None:
    async def fail(*_: object) -> None:
        raise TemporaryFailure("out of order")

    RecordingChannel.behaviours["fail"] = fail
    integration = await outbox.integrate(config={"behaviour": "fail"})
    async with running(an_engine(outbox, breaker_failures=1, breaker_probe_s=600)):
        deliveries = [make(integration, due_us=now_us()) for _ in range(3)]
        await outbox.insert(deliveries)
        await until_stored(database, [(integration.integration_id, "out of order")])
        RecordingChannel.behaviours["fail"] = RecordingChannel.behaviours["deliver"]
        pool = await open_pool(database.dsn("pulse_admin"), name="test")
        await Integrations(pool).update("tenant-a", integration.integration_id, actor="me", name="mended")
        await pool.close()
        await settled(outbox)
        await until_stored(database, [])


async def until_status(outbox: PostgresOutbox, delivery: Delivery, wanted: str) -> None:
    end = time.monotonic() + 30
    while (found := (await outbox.state(delivery)).status) != wanted:
        assert time.monotonic() < end, found
        await asyncio.sleep(0.02)


async def until_stored(database: Database, wanted: list[tuple[uuid.UUID, str]]) -> None:
    """Wait until these, and no other, breakers are open in the database."""

    def stored() -> bool:
        with database.superuser() as connection:
            return connection.execute("SELECT integration_id, last_error FROM breakers").fetchall() == wanted

    await until(stored, what=f"open breakers {wanted}")
