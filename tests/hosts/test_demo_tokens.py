"""The demo's API tokens: fresh at each start, and the ones before end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.config import load_config
from pulse_core.plugins import load_plugins
from pulse_core.principal import Principal, Role
from pulse_postgres.identity.token_check import TokenCheck
from pulse_postgres.pool import open_pool
from pulse_server.demo.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database


async def test_the_tokens_of_the_run_before_end(database: Database, tmp_path: Path) -> None:
    runs = []
    plugins = load_plugins(load_config(None, mode="dev", data_dir=tmp_path))
    for _ in range(2):
        async with Registry(database.url, [database.secret_key], plugins) as registry:
            await registry.tenants()
            customer = await registry.api_token(Role.CUSTOMER_ADMIN, "tenant-a")
            runs.append((customer, await registry.api_token(Role.OPERATOR)))
    pool = await open_pool(database.dsn("pulse_auth"), name="test", max_size=1)
    try:
        found = [[await TokenCheck(pool).principal(token) for token in run] for run in runs]
    finally:
        await pool.close()
    assert found == [
        [None, None],
        [Principal("token:demo", Role.CUSTOMER_ADMIN, "tenant-a"), Principal("token:demo", Role.OPERATOR)],
    ]
