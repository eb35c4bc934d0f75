"""Trying an integration: a test delivery, and what became of it."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from pulse_core.trial import a_test
from pulse_postgres.delivery.pages import one_delivery
from pulse_postgres.delivery.requests import DeliveryRequests

if TYPE_CHECKING:
    import uuid

    from pulse_postgres.connections import TenantPool

WAIT_S = 20.0
"""So long a caller waits for the outcome; then it can be looked up."""

_LOOK_EVERY_S = 0.2


async def begun(pool: TenantPool, tenant_id: str, integration_id: uuid.UUID, *, actor: str) -> uuid.UUID:
    """Have a test delivered; return the delivery's id.

    :raises NotFound: there is no such integration.
    :raises Conflict: it is disabled.
    :raises TooMany: the tenant has tested too often.
    """
    return await DeliveryRequests(pool).test(
        tenant_id, integration_id, lambda made: a_test(tenant_id, made, actor), actor=actor
    )


async def tried(pool: TenantPool, tenant_id: str, integration_id: uuid.UUID, *, actor: str) -> dict[str, Any]:
    """As :func:`begun`; return the delivery when it is finished, or after a while as it is (``next`` says so)."""
    delivery_id = await begun(pool, tenant_id, integration_id, actor=actor)
    until = time.monotonic() + WAIT_S
    while True:
        delivery = await one_delivery(pool, tenant_id, delivery_id)
        if delivery["next"] is None or time.monotonic() > until:
            return delivery
        await asyncio.sleep(_LOOK_EVERY_S)
