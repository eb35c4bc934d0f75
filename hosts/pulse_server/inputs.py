"""Bodies and query parameters of the admin API. Unknown fields are errors; docstrings are the reference."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from pulse_core.principal import Role
from pulse_core.records import DeviceStatus, Severity

SMALL_ID = r"^[A-Za-z0-9_.:-]{1,64}$"
LONG_ID = r"^[A-Za-z0-9_.:-]{1,128}$"

TenantId = Annotated[str, StringConstraints(pattern=SMALL_ID)]
SiteId = Annotated[str, StringConstraints(pattern=SMALL_ID)]
DeviceId = Annotated[str, StringConstraints(pattern=LONG_ID)]
AlertType = Annotated[str, StringConstraints(pattern=SMALL_ID)]
Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", strip_whitespace=True)]
StaleAfter = Annotated[float, Field(gt=0, le=31 * 86400, allow_inf_nan=False)]


def severity_number(value: Any) -> Any:
    """Take a severity by name (any case) or by number."""
    if isinstance(value, str):
        if value.upper() not in Severity.__members__:
            raise ValueError(f"one of {', '.join(Severity.__members__)}, or 1 to 5")
        return int(Severity[value.upper()])
    return value


SeverityNumber = Annotated[int, BeforeValidator(severity_number), Field(ge=1, le=5)]


class _Body(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)


class TenantBody(_Body):
    """A new tenant."""

    tenant_id: TenantId
    name: Text = ""
    stale_after_s: StaleAfter | None = None
    """After so long without a message a device of this tenant is STALE; none: the platform's default."""


class DeviceBody(_Body):
    """A new device."""

    tenant_id: TenantId
    device_id: DeviceId
    site_id: SiteId
    name: Text = ""
    labels: dict[Text, Text] = Field(default_factory=dict, max_length=32)
    stale_after_s: StaleAfter | None = None
    """Overrides the tenant's."""


class RotateBody(_Body):
    """How to replace a device's token."""

    grace_s: float = Field(0, ge=0, le=31 * 86400, allow_inf_nan=False)
    """So long the old token stays valid beside the new one."""


class ActivateBody(_Body):
    """What a device shows once, to get its token."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class TokenBody(_Body):
    """A new API token."""

    name: Text = Field(min_length=1)
    """What for: the audit log names it."""
    role: Role
    tenant_id: TenantId | None = None
    """Whose: for customers' roles alone."""
    days: int = Field(90, ge=1, le=3650)
    """It expires after so many."""

    @model_validator(mode="after")
    def _of_a_tenant(self) -> Self:
        if self.role.of_a_tenant != (self.tenant_id is not None):
            raise ValueError("a customer's role needs a tenant, an operator's has none")
        return self


class IntegrationBody(_Body):
    """A new integration: one configured channel of one tenant."""

    tenant_id: TenantId
    type: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
    """A channel type, as ``pulse plugins`` lists them."""
    name: Text = Field(min_length=1)
    config: dict[str, Any] = Field(default_factory=dict)
    """By the channel's own model."""
    enabled: bool = True


class RouteBody(_Body):
    """A new route. An empty list matches all."""

    tenant_id: TenantId
    integration_id: uuid.UUID
    name: Text = ""
    alert_types: list[AlertType] = Field(default_factory=list, max_length=100)
    severities: list[SeverityNumber] = Field(default_factory=list, max_length=5)
    """Names or numbers."""
    min_severity: SeverityNumber | None = None
    site_ids: list[SiteId] = Field(default_factory=list, max_length=1000)
    device_prefixes: list[DeviceId] = Field(default_factory=list, max_length=1000)
    deliver_on: list[Literal["OPEN", "ACKNOWLEDGED", "CLOSED"]] = Field(["OPEN"], min_length=1, max_length=3)
    priority: int = Field(100, ge=-1_000_000, le=1_000_000)
    enabled: bool = True


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Page(_Query):
    """Which part of a list."""

    limit: int = Field(50, ge=1, le=200)
    cursor: Annotated[str, StringConstraints(max_length=600)] | None = None
    """``next`` of the page before."""


class TenantPage(Page):
    """A list that can be narrowed to one tenant."""

    tenant_id: TenantId | None = None


class DeviceQuery(TenantPage):
    """Which devices."""

    site_id: SiteId | None = None
    status: DeviceStatus | None = None


class AlertQuery(TenantPage):
    """Which alerts."""

    device_id: DeviceId | None = None
    alert_type: AlertType | None = None
    status: Literal["OPEN", "ACKNOWLEDGED", "CLOSED"] | None = None


class DeliveryQuery(TenantPage):
    """Which deliveries."""

    alert_id: uuid.UUID | None = None
    integration_id: uuid.UUID | None = None
    status: Literal["PENDING", "SENDING", "DELIVERED", "RETRYING", "DEAD", "CANCELLED"] | None = None


class TelemetryQuery(Page):
    """Which readings of a device: newest first, in [start, end)."""

    start: datetime | None = None
    end: datetime | None = None


class IntegrationQuery(TenantPage):
    """Which integrations."""

    type: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")] | None = None
