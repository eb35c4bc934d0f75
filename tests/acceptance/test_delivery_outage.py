"""The database is away for a minute while alerts are being delivered: afterwards all are, and each was sent once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from pulse_core.masking import split_secrets
from pulse_core.secrets import SecretBox
from pulse_postgres.delivery.outbox import PostgresDeliveries
from pulse_postgres.pool import open_pool
from pulse_server.embedded import running_url
from pulse_webhook.config import WebhookConfig
from support.faults import SIGNING_SECRET, now_us
from support.outages import without_database
from support.outbox import PostgresOutbox, make
from support.product import SECRET_KEY, Product
from support.slow_http import Arrival, slow_server
from support.waiting import until, until_sync

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from pulse_core.outbox import StoredIntegration
    from pulse_core.records import Delivery

RECEIVERS, EACH = 4, 400
ANSWER_S = 0.1
BACK_WITHIN_S = 30.0
OUTAGE_S = 60.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def product(tmp_path: Path) -> Iterator[Product]:
    running = Product(tmp_path / "product")
    try:
        running.start()
        yield running
    finally:
        running.stop()


@asynccontextmanager
async def outbox_of(product: Product) -> AsyncIterator[PostgresOutbox]:
    """The product's outbox, to arrange and to look into."""
    url = running_url(product.data_dir / "postgres")
    assert url
    admin = await open_pool(url, name="test", max_size=2)
    try:
        yield PostgresOutbox(PostgresDeliveries(admin, url), admin, admin)
    finally:
        await admin.close()


async def integrate(outbox: PostgresOutbox, tenant_id: str, url: str) -> StoredIntegration:
    public, secrets = split_secrets(WebhookConfig.model_validate({"url": url, "secret": SIGNING_SECRET}))
    return await outbox.integrate(tenant_id, type="webhook", config=public, secrets=SecretBox(SECRET_KEY).seal(secrets))


async def settled(product: Product, deliveries: list[Delivery], within_s: float) -> dict[str, int]:
    """Wait until nothing is under way any more."""
    end_s = time.monotonic() + within_s
    until_sync(product.ready, within_s=within_s, what="the database")
    async with outbox_of(product) as outbox:
        while set(found := await outbox.statuses()) & {"PENDING", "SENDING", "RETRYING"}:
            assert time.monotonic() < end_s, found
            await asyncio.sleep(0.2)
    assert sum(found.values()) == len(deliveries)
    return found


@pytest.mark.parametrize("how", ["gone", "frozen"])
async def test_the_database_is_away_for_a_minute(product: Product, how: str) -> None:
    async def think(_: Arrival) -> None:
        await asyncio.sleep(ANSWER_S)

    def arrived() -> int:
        return len(server.arrivals) + len(other.arrivals)

    worker = product.process("deliver").pid
    async with slow_server(think) as server, slow_server(think) as other:
        async with outbox_of(product) as outbox:
            urls = [f"{(server, other)[number % 2].url}/{number}" for number in range(RECEIVERS)]
            integrations = [await integrate(outbox, f"tenant-{number}", url) for number, url in enumerate(urls)]
            deliveries = [make(each, due_us=now_us()) for each in integrations for _ in range(EACH)]
            await outbox.insert(deliveries)
        await until(lambda: arrived() > 100, what="the first ones", every_s=0.01)
        with without_database(product, how):
            before = arrived()
            await asyncio.sleep(OUTAGE_S)
            meanwhile = arrived()
        await until(lambda: arrived() > meanwhile, within_s=BACK_WITHIN_S, what="the first one afterwards")
        assert meanwhile < len(deliveries), "nothing was left for afterwards"
        assert meanwhile - before < 300, "what was claimed goes out, and nothing else"
        assert await settled(product, deliveries, within_s=90) == {"DELIVERED": len(deliveries)}
    sent = Counter(each.delivery_id for each in (*server.arrivals, *other.arrivals))
    assert set(sent) == {str(each.delivery_id) for each in deliveries}, "something was lost"
    assert product.process("deliver").pid == worker, "the worker lived all the time"
    assert set(sent.values()) == {1}, "something was sent twice although its worker lived"
