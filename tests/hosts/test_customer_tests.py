"""Test deliveries: sent at once by the engine, answered with exactly what happened, five a minute."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest_asyncio

from pulse_core.clock import SystemClock
from pulse_core.config import load_config
from pulse_core.delivery import Channels, DeliveryEngine
from pulse_core.plugins import load_plugins
from pulse_core.secrets import SecretBox
from pulse_postgres.deliveries import PostgresDeliveries
from pulse_postgres.pool import open_pool
from pulse_server.services import Lender
from pulse_server.web.customer import trials
from support.admin import Admin, Caller, admin_api
from support.batches import judged
from support.delivering import running
from support.webhook_receiver import receiving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import pytest

    from support.database import Database

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    async with admin_api(database, tmp_path) as found:
        await found.tenant()
        yield found


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


async def test_while_nobody_delivers_the_answer_is_202(admin: Admin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trials, "WAIT_S", 0.0)
    customer = await admin.customer()
    status, body, _ = await customer.post(f"/integrations/{await hook(customer, 'https://example.com/')}/test")
    assert (status, body["status"], body["attempts"]) == (202, "PENDING", [])
    assert (await customer.get(f"/deliveries/{body['delivery_id']}"))[:2] == (200, body)


async def test_five_a_minute_whoever_asks_and_wherever(
    admin: Admin, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, "WAIT_S", 0.0)
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
