"""Bodies and query parameters of the admin API. Unknown fields are errors; docstrings are the reference."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from pulse_core.principal import Role
from pulse_core.records import Cause, DeviceStatus, Reason, Severity
from pulse_core.schedule import CONTRACT

SMALL_ID = r"^[A-Za-z0-9_.:-]{1,64}$"
LONG_ID = r"^[A-Za-z0-9_.:-]{1,128}$"
_DAY_S = 24 * 3600

USERNAME = r"^[a-z0-9][a-z0-9._@+-]{0,63}$"
Username = Annotated[str, StringConstraints(pattern=USERNAME)]
TenantId = Annotated[str, StringConstraints(pattern=SMALL_ID)]
SiteId = Annotated[str, StringConstraints(pattern=SMALL_ID)]
DeviceId = Annotated[str, StringConstraints(pattern=LONG_ID)]
AlertType = Annotated[str, StringConstraints(pattern=SMALL_ID)]
Text = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$", strip_whitespace=True)]
ChannelType = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
StaleAfter = Annotated[float, Field(gt=0, le=31 * 86400, allow_inf_nan=False)]


def severity_number(value: Any) -> Any:
    """Take a severity by name (any case) or by number."""
    if isinstance(value, str):
        if value.upper() not in Severity.__members__:
            raise ValueError(f"one of {', '.join(Severity.__members__)}, or 1 to 5")
        return int(Severity[value.upper()])
    return value


def in_utc(moment: datetime) -> datetime:
    """A time without a zone is UTC."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


Moment = Annotated[datetime, AfterValidator(in_utc)]
SeverityNumber = Annotated[int, BeforeValidator(severity_number), Field(ge=1, le=5)]


def demand_tenant(role: Role, tenant_id: str | None) -> None:
    """A customer's role and a tenant come together. Raises ValueError."""
    if role.of_a_tenant != (tenant_id is not None):
        raise ValueError("a customer's role needs a tenant, an operator's has none")


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
        demand_tenant(self.role, self.tenant_id)
        return self


class LoginBody(_Body):
    """A name and its password."""

    username: str = Field(min_length=1, max_length=64)
    password: SecretStr = Field(min_length=1, max_length=1024)


class RefreshBody(_Body):
    """What continues, or ends, a session."""

    refresh_token: SecretStr = Field(min_length=1, max_length=200)


class UserBody(_Body):
    """A new user."""

    username: Username
    role: Role
    tenant_id: TenantId | None = None
    """Whose: for customers' roles alone."""
    email: Annotated[str, StringConstraints(max_length=254, pattern=r"^([^@\s]+@[^@\s]+)?$")] = ""

    @model_validator(mode="after")
    def _of_a_tenant(self) -> Self:
        demand_tenant(self.role, self.tenant_id)
        return self


class RetryBody(_Body):
    """An integration's own retry schedule; what is not given is the platform's."""

    waits_s: list[Annotated[float, Field(ge=1, le=_DAY_S)]] = Field(list(CONTRACT.waits_s), min_length=1, max_length=20)
    """So long after each failed attempt the next is made, give or take a fifth."""
    every_s: float = Field(CONTRACT.every_s, ge=60, le=_DAY_S)
    """After those, so often."""
    give_up_s: float = Field(CONTRACT.give_up_s, ge=60, le=7 * _DAY_S)
    """So long after the first attempt the last one is made."""


def schedule(retry: RetryBody | None) -> dict[str, Any] | None:
    """What is stored of it."""
    return None if retry is None else retry.model_dump()


class IntegrationFields(_Body):
    """A new integration: one configured channel."""

    name: Text = Field(min_length=1)
    config: dict[str, Any] = Field(default_factory=dict)
    """By the channel's own model."""
    enabled: bool = True
    retry: RetryBody | None = None


class IntegrationBody(IntegrationFields):
    """A new integration of some tenant."""

    tenant_id: TenantId
    type: ChannelType
    """A channel type, as ``pulse plugins`` lists them."""


class IntegrationPatch(_Body):
    """What to change of an integration."""

    name: Text | None = Field(None, min_length=1)
    config: dict[str, Any] | None = None
    """Merged into what is there; null removes. A secret that is not given, or reads ``********``, stays."""
    enabled: bool | None = None
    """Enabling clears the reason for which it was disabled."""
    retry: RetryBody | None = None
    """Null: the platform's."""


class RouteFields(_Body):
    """A new route. An empty list matches all."""

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
    fallback_integration_id: uuid.UUID | None = None
    """Is told instead when the first is given up, or was not reachable for ``fallback_after_s``."""
    fallback_after_s: int = Field(600, ge=0, le=_DAY_S)

    @field_validator("fallback_integration_id")
    @classmethod
    def _another(cls, value: uuid.UUID | None, info: ValidationInfo) -> uuid.UUID | None:
        if value is not None and value == info.data.get("integration_id"):
            raise ValueError("must be another integration")
        return value


class RouteBody(RouteFields):
    """A new route of some tenant."""

    tenant_id: TenantId


class ReplayBody(_Body):
    """Which deliveries to make again. Those replayed before are left out, and those that cannot be delivered."""

    status: Literal["DEAD", "CANCELLED", "DELIVERED"] = "DEAD"
    integration_id: uuid.UUID | None = None
    alert_id: uuid.UUID | None = None
    cause: Cause | None = None
    created_from: Moment | None = None
    created_before: Moment | None = None
    dry_run: bool = True
    """Only count them."""
    count: int | None = Field(None, ge=0)
    """As many as a dry run counted: if it is another number by now, nothing is done."""


class _Query(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Page(_Query):
    """Which part of a list."""

    limit: int = Field(50, ge=1, le=200)
    cursor: Annotated[str, StringConstraints(max_length=600)] | None = None
    """``next`` of the page before."""


class TenantPatch(_Body):
    """What to change of a tenant."""

    name: Text | None = None
    stale_after_s: StaleAfter | None = None
    """Null: the platform's default."""
    status: Literal["ACTIVE", "SUSPENDED"] | None = None
    """SUSPENDED: its devices and its programs are shut out until it is ACTIVE again."""

    @field_validator("name", "status")
    @classmethod
    def _not_null(cls, value: str | None) -> str:
        if value is None:
            raise ValueError("leave it out, or give a value")
        return value


class TenantPage(Page):
    """A list that can be narrowed to one tenant."""

    tenant_id: TenantId | None = None


class DevicePage(Page):
    """Which devices, by tenant and id."""

    site_id: SiteId | None = None
    status: DeviceStatus | None = None
    prefix: DeviceId | None = None
    """What the id begins with."""
    search: Text | None = Field(None, min_length=1)
    """What stands in the id or the name, in any case."""
    label: Text | None = Field(None, min_length=1)
    """``name:value``, or ``name`` for any value."""


class DeviceQuery(DevicePage, TenantPage):
    """Which devices."""


class AlertPage(Page):
    """Which alerts, the newest first."""

    device_id: DeviceId | None = None
    alert_type: AlertType | None = None
    status: Literal["OPEN", "ACKNOWLEDGED", "CLOSED"] | None = None


class AlertQuery(AlertPage, TenantPage):
    """Which alerts."""


class DeliveryPage(Page):
    """Which deliveries, the newest first."""

    status: Literal["PENDING", "SENDING", "DELIVERED", "RETRYING", "DEAD", "CANCELLED"] | None = None
    integration_id: uuid.UUID | None = None
    alert_id: uuid.UUID | None = None
    cause: Cause | None = None
    created_from: Moment | None = None
    """Made then or later."""
    created_before: Moment | None = None


class DeliveryQuery(DeliveryPage, TenantPage):
    """Which deliveries."""


class TelemetryQuery(Page):
    """Which readings of a device: newest first, in [start, end)."""

    start: datetime | None = None
    end: datetime | None = None


class QuarantineQuery(TenantPage):
    """Which refused messages, the newest first."""

    reason: Reason | None = None


class AuditPage(Page):
    """Which lines of the audit log, the newest first."""

    actor: Text | None = None
    action: Text | None = None
    since: Moment | None = Field(None, alias="from")
    """Written then or later."""
    before: Moment | None = None


class AuditQuery(AuditPage, TenantPage):
    """Which lines of the audit log."""


class RemoveQuery(_Query):
    """That somebody means it."""

    confirm: str
    """The id of what is to be removed, once more."""


class IntegrationQuery(TenantPage):
    """Which integrations."""

    type: ChannelType | None = None


class TypedPage(Page):
    """Which integrations: those of one channel type."""

    type: ChannelType = "webhook"


class TypeQuery(_Query):
    """Of which channel type."""

    type: ChannelType = "webhook"
