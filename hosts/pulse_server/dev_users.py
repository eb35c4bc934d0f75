"""Makes the development users, in dev mode: see CONTRACTS, and :mod:`pulse_accounts.development`."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import structlog

from pulse_accounts.development import PASSWORD, USERS
from pulse_accounts.passwords import Passwords
from pulse_core.errors import Conflict, NotFound
from pulse_postgres.identity.users import Users

if TYPE_CHECKING:
    import asyncpg

log = structlog.get_logger(__name__)

ACTOR = "development"


async def make(pool: asyncpg.Pool[Any]) -> None:
    """Make those that are missing and whose tenant is there; the others stay as they are.

    :param pool: logs in as pulse_admin.
    """
    users = Users(pool)
    missing = await users.missing([each.username for each in USERS])
    if not missing:
        return
    hashed = await asyncio.to_thread(Passwords().hash, PASSWORD)
    for each in (each for each in USERS if each.username in missing):
        with suppress(Conflict, NotFound):  # another process was faster; its tenant is not there
            await users.add(each.username, each.role, hashed, tenant_id=each.tenant_id, actor=ACTOR)
            log.info("development_user.made", username=each.username)
