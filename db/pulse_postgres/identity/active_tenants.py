"""Which tenants may log in: for tokens that somebody else issued, so that no query of ours stands behind them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from pulse_core.remembered import Remembered
from pulse_postgres.acting import asking

if TYPE_CHECKING:
    import asyncpg

HOLDS_S = 2.0
"""So long a look is believed: whoever is suspended is in no longer than that."""
_REMEMBERED = 10_000

_IS_ACTIVE = "SELECT EXISTS (SELECT FROM tenants WHERE tenant_id = $1 AND status = 'ACTIVE')"


class ActiveTenants:
    """See :class:`pulse_core.identity.TenantStates`. ``pool`` logs in as pulse_auth."""

    def __init__(self, pool: asyncpg.Pool[Any], *, holds_s: float = HOLDS_S) -> None:
        self._pool = pool
        self._holds_s = holds_s
        self._seen: Remembered[str, tuple[float, bool]] = Remembered(_REMEMBERED)

    async def is_active(self, tenant_id: str) -> bool:
        """Whether this tenant is there and not suspended."""
        now = time.monotonic()
        looked_at, active = self._seen.get(tenant_id) or (now - self._holds_s, False)
        if now - looked_at < self._holds_s:
            return active
        with asking():
            active = bool(await self._pool.fetchval(_IS_ACTIVE, tenant_id))
        self._seen.put(tenant_id, (now, active))
        return active
