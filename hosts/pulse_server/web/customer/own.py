"""What the caller's tenant has: its stores, each bound to it by row-level security as well."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pulse_core.routing import route
from pulse_postgres.alert_requests import AlertRequests
from pulse_postgres.delivery.requests import DeliveryRequests
from pulse_postgres.device_requests import DeviceRequests
from pulse_postgres.identity.api_tokens import ApiTokens
from pulse_postgres.identity.user_requests import UserRequests
from pulse_postgres.integrations import Integrations
from pulse_postgres.metric_catalogue import MetricCatalogue
from pulse_postgres.provisioning import Provisioning
from pulse_postgres.tenant_settings import TenantSettings
from pulse_server.web.entrance.principal import principal
from pulse_server.web.services import services

if TYPE_CHECKING:
    from pulse_postgres.connections import TenantPool


@dataclass(frozen=True)
class Own:
    """The caller's tenant. ``actor`` is the caller, for the audit log."""

    tenant_id: str
    actor: str
    pool: TenantPool

    @property
    def integrations(self) -> Integrations:
        """Integrations and routes."""
        return Integrations(self.pool)

    @property
    def devices(self) -> DeviceRequests:
        """What is changed of devices."""
        return DeviceRequests(self.pool)

    @property
    def metrics(self) -> MetricCatalogue:
        """What is said of metrics."""
        return MetricCatalogue(self.pool)

    @property
    def provisioning(self) -> Provisioning:
        """New devices, their codes and tokens, and the end of those."""
        return Provisioning(self.pool)

    @property
    def settings(self) -> TenantSettings:
        """What its admins choose for the whole tenant."""
        return TenantSettings(self.pool)

    @property
    def users(self) -> UserRequests:
        """The tenant's people."""
        return UserRequests(self.pool)

    @property
    def tokens(self) -> ApiTokens:
        """The tenant's programs' tokens."""
        return ApiTokens(self.pool)

    @property
    def alerts(self) -> AlertRequests:
        """What is done to alerts."""
        return AlertRequests(self.pool, route)

    @property
    def requests(self) -> DeliveryRequests:
        """Replays, cancellations, tests."""
        return DeliveryRequests(self.pool)


def own() -> Own:
    """Whose request this is. The tenant comes from the principal, never from what was sent."""
    caller = principal()
    if caller.tenant_id is None:
        raise RuntimeError("the blueprint let somebody in who has no tenant")
    return Own(caller.tenant_id, caller.subject, services().tenant_pool(caller.tenant_id))
