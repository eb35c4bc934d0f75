"""Tests and replays through the real engine: a test answers with exactly what happened, five a minute."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.clock import SystemClock
from pulse_core.config import load_config
from pulse_core.delivery import Channels, DeliveryEngine
from pulse_core.plugins import load_plugins
from pulse_core.secrets import SecretBox
from pulse_core.trial import a_test
from pulse_postgres.delivery.outbox import PostgresDeliveries
from pulse_postgres.pool import open_pool
from pulse_server import trial
from pulse_server.services import Lender
from support.batches import judged
from support.delivering import running
from support.told import a_delivery
from support.waiting import until
from support.webhook_receiver import receiving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import pytest

    from support.admin import Admin, Caller
    from support.database import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@asynccontextmanager
async def delivering(database: Database) -> AsyncIterator[None]:
    """The deliver role's engine, which may call loopback."""
    config = load_config(None, mode="dev", outbound={"allow": ["127.0.0.0/8"]})
    plugins = load_plugins(config)
    lender = Lender(config)
    dsn = database.dsn("pulse_deliver")
    pool = await open_pool(dsn, name="test", max_size=4)
    channels = Channels(plugins.channels, plugins.config_of, SecretBox(database.secret_key), lender.to)
    engine = DeliveryEngine(PostgresDeliveries(pool, dsn), channels, config.delivery, clock=SystemClock())
    try:
        async with running(engine):
            yield
    finally:
        await lender.close()
        await pool.close()


async def hook(customer: Caller, url: str, **more: Any) -> str:
    body = {"name": "n", "config": {"url": url, "secret": SECRET}, **more}
    return str((await customer.post("/integrations", body))[1]["integration_id"])


async def test_a_test_says_exactly_what_happened(admin: Admin, database: Database) -> None:
    customer = await admin.customer()
    with receiving(SECRET) as receiver:
        mine = await hook(customer, receiver.url)
        async with delivering(database):
            for path in (f"/integrations/{mine}/test", f"/integrations/webhook/{mine}/test"):
                status, body, _ = await customer.post(path)
                assert (status, body["status"], body["cause"], body["next"]) == (200, "DELIVERED", "test", None), body
                (attempt,) = body["attempts"]
                assert (attempt["outcome"], attempt["tls"]) == ("DELIVERED", "")
                assert attempt["address"] == receiver.url.split("/")[2]
                assert attempt["duration_ms"] >= 0
                assert "204" in attempt["receipt"]
    told = receiver.got[0]
    assert told["delivery_id"] == told["alert_id"]
    assert (told["alert_type"], told["severity"], told["severity_name"]) == ("TEST", 1, "INFO")
    assert (told["device_id"], told["site_id"], told["event"]) == ("test-device", "test-site", "OPEN")
    assert "token:customer_admin of tenant-a" in told["summary"]
    assert [row for row in judged(database, "SELECT action FROM audit_log") if row == ("integration.test",)] == [
        ("integration.test",)
    ] * 2


async def test_a_test_that_fails_is_over_after_one_attempt(admin: Admin, database: Database) -> None:
    customer = await admin.customer()
    async with delivering(database):
        status, body, _ = await customer.post(f"/integrations/{await hook(customer, 'http://127.0.0.1:9/')}/test")
    assert (status, body["status"], body["next"]) == (200, "DEAD", None)
    (attempt,) = body["attempts"]
    assert (attempt["outcome"], attempt["next_at"]) == ("TEMPORARY", None)
    assert attempt["detail"]


async def test_a_replay_is_delivered_under_its_own_id(admin: Admin, database: Database) -> None:
    customer = await admin.customer()
    with receiving(SECRET) as receiver:
        mine = uuid.UUID(await hook(customer, receiver.url))
        notification = a_test("tenant-a", uuid.uuid4(), "nobody")
        dead = a_delivery(database, mine, "DEAD", notification=msgspec.json.encode(notification).decode())
        async with delivering(database):
            made = (await customer.post(f"/deliveries/{dead}/replay"))[1]["delivery_id"]
            status = "SELECT FROM deliveries WHERE delivery_id = %s AND status = 'DELIVERED'"
            await until(lambda: judged(database, status, made), what="the replay")
    assert [each["delivery_id"] for each in receiver.got] == [made] != [str(dead)]
    assert receiver.got[0]["summary"] == notification.summary
    assert (await customer.get(f"/deliveries/{dead}"))[1]["status"] == "DEAD", "what was, stays in the ledger"


async def test_while_nobody_delivers_the_answer_is_202(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "WAIT_S", 0.0)
    customer = await admin.customer()
    status, body, _ = await customer.post(f"/integrations/{await hook(customer, 'https://example.com/')}/test")
    assert (status, body["status"], body["attempts"]) == (202, "PENDING", [])
    assert (await customer.get(f"/deliveries/{body['delivery_id']}"))[:2] == (200, body)


async def test_five_a_minute_whoever_asks_and_wherever(
    admin: Admin, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "WAIT_S", 0.0)
    await admin.tenant("tenant-b")
    customer, colleague, other = await admin.customer(), await admin.customer(), await admin.customer("tenant-b")
    first, second = [await hook(customer, "https://example.com/") for _ in range(2)]
    answers = await asyncio.gather(
        *(customer.post(f"/integrations/{first}/test") for _ in range(4)),
        *(colleague.post(f"/integrations/{second}/test") for _ in range(4)),
    )
    assert sorted(status for status, _, _ in answers) == [202] * 5 + [429] * 3
    refused = next(each for each in answers if each[0] == 429)
    assert 1 <= int(refused[2]["Retry-After"]) <= 60
    assert (await other.post(f"/integrations/{await hook(other, 'https://example.com/')}/test"))[0] == 202
    assert judged(database, "SELECT tenant_id, count(*) FROM deliveries GROUP BY 1 ORDER BY 1") == [
        ("tenant-a", 5),
        ("tenant-b", 1),
    ]
    judged(database, "UPDATE deliveries SET created_at = created_at - interval '1 minute' RETURNING true")
    assert (await customer.post(f"/integrations/{first}/test"))[0] == 202


async def test_what_cannot_be_tested(admin: Admin, database: Database) -> None:
    customer = await admin.customer()
    disabled = await hook(customer, "https://example.com/", enabled=False)
    status, body, _ = await customer.post(f"/integrations/{disabled}/test")
    assert (status, "enable it" in body["detail"]) == (409, True)
    await customer.delete(f"/integrations/{disabled}")
    assert (await customer.post(f"/integrations/{disabled}/test"))[0] == 404
    assert (await customer.post("/integrations/00000000-0000-4000-8000-000000000000/test"))[0] == 404
    assert judged(database, "SELECT FROM deliveries") == []
