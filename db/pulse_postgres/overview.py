"""What operators and programs look at: devices, alerts, deliveries, refusals and counts, across tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_postgres.counts import count_all
from pulse_postgres.delivery.pages import DeliveryFilter, delivery_page, one_delivery
from pulse_postgres.devices import device_page, one_device
from pulse_postgres.incidents import alert_page, one_alert
from pulse_postgres.integration_pages import integration_page, route_page
from pulse_postgres.refusals import quarantine_page, refused_page

if TYPE_CHECKING:
    import uuid

    import asyncpg

    from pulse_postgres.paging import Page


class Overview:
    """The read side. ``pool`` logs in as pulse_operator; without ``tenant_id`` a list is of all tenants.

    Lists are newest first (devices, integrations and routes by id), in pages of at most 200.
    """

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def devices(
        self,
        *,
        tenant_id: str | None = None,
        site_id: str | None = None,
        status: str | None = None,
        prefix: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Devices with their derived status; see :func:`pulse_postgres.devices.device_page`."""
        return await device_page(
            self._pool,
            tenant_id=tenant_id,
            site_id=site_id,
            status=status,
            prefix=prefix,
            limit=limit,
            cursor=cursor,
        )

    async def device(self, tenant_id: str, device_id: str) -> dict[str, Any]:
        """One device with its derived status. Raises NotFound."""
        return await one_device(self._pool, tenant_id, device_id)

    async def integrations(
        self,
        *,
        tenant_id: str | None = None,
        type_: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Integrations without their secrets."""
        return await integration_page(self._pool, tenant_id=tenant_id, type_=type_, limit=limit, cursor=cursor)

    async def routes(self, *, tenant_id: str | None = None, limit: int = 50, cursor: str | None = None) -> Page:
        """Routes."""
        return await route_page(self._pool, tenant_id=tenant_id, limit=limit, cursor=cursor)

    async def alerts(
        self,
        *,
        tenant_id: str | None = None,
        device_id: str | None = None,
        alert_type: str | None = None,
        status: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Alerts, the newest first."""
        return await alert_page(
            self._pool,
            tenant_id=tenant_id,
            device_id=device_id,
            alert_type=alert_type,
            status=status,
            limit=limit,
            cursor=cursor,
        )

    async def alert(self, tenant_id: str, alert_id: uuid.UUID) -> dict[str, Any]:
        """One alert with its ``changes``, each with what every route decided about it. Raises NotFound."""
        return await one_alert(self._pool, tenant_id, alert_id)

    async def deliveries(
        self, *, tenant_id: str | None = None, limit: int = 50, cursor: str | None = None, **wanted: Any
    ) -> Page:
        """Deliveries, the newest first, each with its ``attempts`` in order.

        :param wanted: the fields of a :class:`~pulse_postgres.delivery.pages.DeliveryFilter`.
        """
        return await delivery_page(
            self._pool, DeliveryFilter(**wanted), tenant_id=tenant_id, limit=limit, cursor=cursor
        )

    async def delivery(self, tenant_id: str, delivery_id: uuid.UUID) -> dict[str, Any]:
        """One delivery with its ``attempts``. Raises NotFound."""
        return await one_delivery(self._pool, tenant_id, delivery_id)

    async def refused(
        self,
        *,
        tenant_id: str | None = None,
        reason: str | None = None,
        since_us: int = 0,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """How many messages were refused, by minute, tenant ('' for strangers) and reason; the newest first."""
        return await refused_page(
            self._pool, tenant_id=tenant_id, reason=reason, since_us=since_us, limit=limit, cursor=cursor
        )

    async def quarantine(
        self,
        *,
        tenant_id: str | None = None,
        reason: str | None = None,
        limit: int = 50,
        cursor: str | None = None,
    ) -> Page:
        """Refused messages that were kept, the newest first; ``raw`` is base64 in JSON."""
        return await quarantine_page(self._pool, tenant_id=tenant_id, reason=reason, limit=limit, cursor=cursor)

    async def counts(self, *, tenant_id: str | None = None) -> dict[str, dict[str, int]]:
        """The dashboard: devices by status, alerts not closed by severity name, deliveries by status.

        Deliveries that are finished count if they were made in the last 24 hours.
        """
        return await count_all(self._pool, tenant_id=tenant_id)
