"""What operators and programs look at: devices, alerts, deliveries, refusals and counts, across tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_postgres.audit_pages import AuditFilter, audit_page
from pulse_postgres.command_pages import CommandFilter, command_page
from pulse_postgres.counts import count_all, count_events, count_tenants
from pulse_postgres.delivery.pages import DeliveryFilter, delivery_page, one_delivery
from pulse_postgres.devices import DeviceFilter, device_page, one_device
from pulse_postgres.incidents import AlertFilter, alert_page, one_alert
from pulse_postgres.intake import intake_history, intake_now
from pulse_postgres.integration_health import health_of_several
from pulse_postgres.integration_pages import integration_page, route_page
from pulse_postgres.paging import parted
from pulse_postgres.platform import platform_now
from pulse_postgres.refusals import quarantine_page, refused_page
from pulse_postgres.tenant_health import all_tenants

if TYPE_CHECKING:
    import uuid
    from collections.abc import Sequence

    import asyncpg

    from pulse_postgres.paging import Page


class Overview:
    """The read side. ``pool`` logs in as pulse_operator; without ``tenant_id`` a list is of all tenants.

    Lists are newest first (devices, integrations and routes by id) unless ``sort`` says otherwise, in pages of at most
    200.
    """

    def __init__(self, pool: asyncpg.Pool[Any]) -> None:
        self._pool = pool

    async def devices(self, *, tenant_id: str | None = None, **asked: Any) -> Page:
        """Devices with their derived status, by tenant and id.

        :param asked: ``sort``, ``limit``, ``cursor``; the fields of a :class:`~pulse_postgres.devices.DeviceFilter`.
        """
        part, wanted = parted(asked)
        return await device_page(self._pool, DeviceFilter(**wanted), tenant_id=tenant_id, **part)

    async def device(self, tenant_id: str, device_id: str) -> dict[str, Any]:
        """One device with its derived status. Raises NotFound."""
        return await one_device(self._pool, tenant_id, device_id)

    async def integrations(self, **asked: Any) -> Page:
        """Integrations without their secrets; see :func:`pulse_postgres.integration_pages.integration_page`."""
        return await integration_page(self._pool, **asked)

    async def routes(self, **asked: Any) -> Page:
        """Routes; see :func:`pulse_postgres.integration_pages.route_page`."""
        return await route_page(self._pool, **asked)

    async def alerts(self, *, tenant_id: str | None = None, **asked: Any) -> Page:
        """Alerts, the newest first.

        :param asked: ``sort``, ``limit``, ``cursor``; the fields of an :class:`~pulse_postgres.incidents.AlertFilter`.
        """
        part, wanted = parted(asked)
        return await alert_page(self._pool, AlertFilter(**wanted), tenant_id=tenant_id, **part)

    async def alert(self, tenant_id: str, alert_id: uuid.UUID) -> dict[str, Any]:
        """One alert with its ``changes``, each with what every route decided about it. Raises NotFound."""
        return await one_alert(self._pool, tenant_id, alert_id)

    async def deliveries(self, *, tenant_id: str | None = None, **asked: Any) -> Page:
        """Deliveries, the newest first, each with its ``attempts`` in order.

        :param asked: ``sort``, ``limit``, ``cursor``; the fields of a
            :class:`~pulse_postgres.delivery.pages.DeliveryFilter`.
        """
        part, wanted = parted(asked)
        return await delivery_page(self._pool, DeliveryFilter(**wanted), tenant_id=tenant_id, **part)

    async def delivery(self, tenant_id: str, delivery_id: uuid.UUID) -> dict[str, Any]:
        """One delivery with its ``attempts``. Raises NotFound."""
        return await one_delivery(self._pool, tenant_id, delivery_id)

    async def commands(self, *, tenant_id: str | None = None, **asked: Any) -> Page:
        """Commands to devices, the newest first.

        :param asked: ``sort``, ``limit``, ``cursor``; the fields of a
            :class:`~pulse_postgres.command_pages.CommandFilter`.
        """
        part, wanted = parted(asked)
        return await command_page(self._pool, CommandFilter(**wanted), tenant_id=tenant_id, **part)

    async def refused(self, **asked: Any) -> Page:
        """How many messages were refused; see :func:`pulse_postgres.refusals.refused_page`."""
        return await refused_page(self._pool, **asked)

    async def quarantine(self, **asked: Any) -> Page:
        """Refused messages that were kept; see :func:`pulse_postgres.refusals.quarantine_page`."""
        return await quarantine_page(self._pool, **asked)

    async def counts(self, *, tenant_id: str | None = None) -> dict[str, dict[str, int]]:
        """The dashboard: devices by status, alerts not closed by severity name, deliveries by status, refusals.

        Deliveries that are finished count if they were made in the last 24 hours.
        """
        return await count_all(self._pool, tenant_id=tenant_id)

    async def events(self) -> dict[str, dict[str, int]]:
        """As :meth:`counts`, without the devices."""
        return await count_events(self._pool)

    async def tenant_health(self) -> list[dict[str, Any]]:
        """Every tenant, the worst first; see :func:`pulse_postgres.tenant_health.all_tenants`."""
        return await all_tenants(self._pool)

    async def intake(self) -> dict[str, Any]:
        """What came in lately; see :func:`pulse_postgres.intake.intake_now`."""
        return await intake_now(self._pool)

    async def intake_history(self) -> list[dict[str, Any]]:
        """What came in within a day; see :func:`pulse_postgres.intake.intake_history`."""
        return await intake_history(self._pool)

    async def platform(self) -> dict[str, Any]:
        """Of the database and what is connected to it; see :func:`pulse_postgres.platform.platform_now`."""
        return await platform_now(self._pool)

    async def tenants_by_status(self) -> dict[str, int]:
        """How many tenants there are."""
        return await count_tenants(self._pool)

    async def audit_log(self, *, tenant_id: str | None = None, **asked: Any) -> Page:
        """Who did what, the newest first.

        :param asked: ``sort``, ``limit``, ``cursor``; the fields of an
            :class:`~pulse_postgres.audit_pages.AuditFilter`.
        """
        part, wanted = parted(asked)
        return await audit_page(self._pool, AuditFilter(**wanted), tenant_id=tenant_id, **part)

    async def health(self, integrations: Sequence[dict[str, Any]]) -> dict[tuple[str, uuid.UUID], dict[str, Any]]:
        """The health of integrations of any tenants, by tenant and id.

        See :func:`pulse_postgres.integration_health.health_of_several`.
        """
        return await health_of_several(self._pool, integrations)
