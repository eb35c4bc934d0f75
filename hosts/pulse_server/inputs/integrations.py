"""Integrations and routes: what makes, changes and chooses them."""

from __future__ import annotations

import uuid
from typing import Annotated, Any, Literal

from pydantic import (
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from pulse_core.schedule import CONTRACT
from pulse_postgres.integration_pages import INTEGRATION_ORDERS, ROUTE_ORDERS
from pulse_server.inputs.fields import (
    _DAY_S,
    AlertType,
    Body,
    ChannelType,
    DeviceId,
    OneOf,
    Page,
    Query,
    SeverityNumber,
    SiteId,
    TenantId,
    TenantPage,
    Text,
)


class RetryBody(Body):
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


class IntegrationFields(Body):
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


class IntegrationPatch(Body):
    """What to change of an integration."""

    name: Text | None = Field(None, min_length=1)
    config: dict[str, Any] | None = None
    """Merged into what is there; null removes. A secret that is not given, or reads ``********``, stays."""
    enabled: bool | None = None
    """Enabling clears the reason for which it was disabled."""
    retry: RetryBody | None = None
    """Null: the platform's."""


class RouteFields(Body):
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


def all_optional(schema: dict[str, Any]) -> None:
    """Tell of a model that no field need be given, and that what is not given stays."""
    schema.pop("required", None)
    for field in schema["properties"].values():
        field.pop("default", None)


class RoutePatch(RouteFields):
    """What to change of a route: any of its fields. The whole is then checked as a new one is."""

    model_config = ConfigDict(json_schema_extra=all_optional)


class RouteBody(RouteFields):
    """A new route of some tenant."""

    tenant_id: TenantId


class IntegrationPage(Page):
    """Which integrations, in which order."""

    enabled: bool | None = None
    search: Text | None = Field(None, min_length=1)
    """What stands in the name, in any case."""
    sort: Annotated[str, OneOf(INTEGRATION_ORDERS.names)] = INTEGRATION_ORDERS.default


class IntegrationQuery(IntegrationPage, TenantPage):
    """Which integrations."""

    type: ChannelType | None = None


class TypedPage(IntegrationPage):
    """Which integrations: those of one channel type."""

    type: ChannelType = "webhook"


class RoutePage(Page):
    """Which routes, in which order."""

    integration_id: uuid.UUID | None = None
    """Those that lead to it, at first or as the fallback."""
    enabled: bool | None = None
    sort: Annotated[str, OneOf(ROUTE_ORDERS.names)] = ROUTE_ORDERS.default


class RouteQuery(RoutePage, TenantPage):
    """Which routes."""


class TypeQuery(Query):
    """Of which channel type."""

    type: ChannelType = "webhook"
