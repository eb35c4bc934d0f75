"""What failed last: of each channel the newest, found by an index however many attempts there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_postgres.delivery import failures
from pulse_postgres.delivery.failures import last_failures
from pulse_postgres.pool import open_pool
from support import two_tenants
from support.two_tenants import TENANTS, an_id

if TYPE_CHECKING:
    from support.database import Database

MANY = """
    INSERT INTO delivery_attempts (tenant_id, delivery_id, attempt, started_at, duration_ms, outcome, detail)
    SELECT %s, %s, n, now() - n * interval '1 second', 1,
           CASE WHEN n %% 10 = 0 THEN 'TEMPORARY' ELSE 'DELIVERED' END, 'number ' || n
    FROM generate_series(2, 5000) n
"""


async def test_of_each_channel_the_newest(database: Database) -> None:
    two_tenants.fill(database)
    with database.superuser() as hand:
        for tenant_id in TENANTS:
            hand.execute(MANY, (tenant_id, an_id(tenant_id)))
        hand.execute("UPDATE integrations SET type = 'email' WHERE tenant_id = %s", (TENANTS[1],))
        hand.execute("ANALYZE delivery_attempts")
    pool = await open_pool(database.dsn("pulse_operator"), name="test", max_size=1)
    found = await last_failures(pool, 3)
    plan = str(await pool.fetch(f"EXPLAIN {failures._FAILURES}", 3))
    await pool.close()
    for channel in ("webhook", "email"):
        assert [each["detail"] for each in found[channel]] == ["number 10", "number 20", "number 30"]
    assert {each["tenant_id"] for each in found["email"]} == {TENANTS[1]}
    assert "attempts_failed" in plan
