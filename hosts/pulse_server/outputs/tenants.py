"""Tenants."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pulse_core.device_connections import StaleOnDisconnect
from pulse_server.inputs.fields import TenantId
from pulse_server.outputs.answers import Answer, PageOf, Time, Versioned


class OwnTenant(Versioned):
    """What a tenant's admins choose for it."""

    stale_after_s: float | None
    """After so long without a message its devices are STALE; null: the platform's default."""
    stale_on_disconnect: StaleOnDisconnect
    """Whether its devices are STALE as soon as their last connection has ended."""


class Tenant(OwnTenant):
    """A tenant."""

    tenant_id: TenantId
    name: str
    status: Literal["ACTIVE", "SUSPENDED"]
    created_at: Time


TenantList = PageOf[Tenant]


class TenantDetail(Tenant):
    """A tenant, and since when it is suspended."""

    suspended_at: Time | None


class RemovedData(Answer):
    """How much went with a tenant."""

    readings: int = Field(ge=0)


class TenantRemoved(Answer):
    """A tenant is gone."""

    removed: RemovedData
