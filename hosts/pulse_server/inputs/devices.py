"""Tenants and devices: what makes, changes and chooses them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import (
    Field,
    StringConstraints,
    field_validator,
)

from pulse_core.device_connections import StaleOnDisconnect
from pulse_core.records import DeviceStatus
from pulse_postgres.device_requests import DeviceChanges
from pulse_postgres.devices import DEVICE_ORDERS
from pulse_postgres.tenants import TENANT_ORDERS
from pulse_server.inputs.fields import (
    Body,
    DeviceId,
    OneOf,
    Page,
    Query,
    SiteId,
    StaleAfter,
    TenantId,
    TenantPage,
    Text,
    given,
)

Label = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f:]+$")]
"""A label's name. Without colon, so that ``name:value`` can be taken apart."""


class TenantBody(Body):
    """A new tenant."""

    tenant_id: TenantId
    name: Text = ""
    stale_after_s: StaleAfter | None = None
    """After so long without a message a device of this tenant is STALE; none: the platform's default."""
    stale_on_disconnect: StaleOnDisconnect = "never"
    """Whether a device is STALE as soon as its last connection has ended: when it was ``lost``, or ``always``, also
    when it said good-bye. It is back with its next message. Over HTTP no connection lasts."""


class OwnDeviceBody(Body):
    """A new device of the caller's tenant."""

    device_id: DeviceId
    """Letters, digits and ``_.:-``; it stays as it is. Not ``new``: its page would be that of the form."""
    site_id: SiteId
    """Where it stands. The device names it in every message; it stays as it is."""
    name: Text = ""
    """What people call it."""
    labels: dict[Label, Text] = Field(default_factory=dict, max_length=32)
    """To find it by, and for routes."""
    stale_after_s: StaleAfter | None = None
    """After so long without a message it is STALE; none: as the tenant says."""

    @field_validator("device_id")
    @classmethod
    def _not_new(cls, value: str) -> str:
        if value == "new":
            raise ValueError("not 'new', please: that is the form's own name")
        return value


class DeviceBody(Body):
    """A new device."""

    tenant_id: TenantId
    device_id: DeviceId
    site_id: SiteId
    name: Text = ""
    labels: dict[Text, Text] = Field(default_factory=dict, max_length=32)
    stale_after_s: StaleAfter | None = None
    """Overrides the tenant's."""


class DevicePatch(Body):
    """What to change of a device."""

    name: Text | None = None
    labels: dict[Label, Text | None] | None = Field(None, max_length=64)
    """Merged into those that are there; null removes one."""
    stale_after_s: StaleAfter | None = None
    """Overrides the tenant's; null: the tenant's. Holds from the device's next message on."""

    _given = field_validator("name", "labels")(given)

    def changes(self) -> DeviceChanges:
        """What it does not mention stays."""
        return DeviceChanges(**self.model_dump(exclude_unset=True))


class RotateBody(Body):
    """How to replace a device's token."""

    grace_s: float = Field(0, ge=0, le=31 * 86400, allow_inf_nan=False)
    """So long the old token stays valid beside the new one."""


class ActivateBody(Body):
    """What a device shows once, to get its token."""

    code: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class OwnTenantPatch(Body):
    """What a tenant's admins change of it."""

    stale_after_s: StaleAfter | None = None
    """Null: the platform's default."""
    stale_on_disconnect: StaleOnDisconnect | None = None
    """Whether a device is STALE as soon as its last connection has ended: when it was ``lost``, or ``always``."""

    _chosen = field_validator("stale_on_disconnect")(given)


class TenantPatch(OwnTenantPatch):
    """What to change of a tenant."""

    name: Text | None = None
    status: Literal["ACTIVE", "SUSPENDED"] | None = None
    """SUSPENDED: its devices and its programs are shut out until it is ACTIVE again."""

    _given = field_validator("name", "status")(given)


class TenantListQuery(Page):
    """Which tenants, in which order."""

    status: Literal["ACTIVE", "SUSPENDED"] | None = None
    search: Text | None = Field(None, min_length=1)
    """What stands in the id or the name, in any case."""
    sort: Annotated[str, OneOf(TENANT_ORDERS.names)] = TENANT_ORDERS.default


class DevicePage(Page):
    """Which devices, in which order."""

    site_id: SiteId | None = None
    status: DeviceStatus | None = None
    prefix: DeviceId | None = None
    """What the id begins with."""
    search: Text | None = Field(None, min_length=1)
    """What stands in the id or the name, in any case."""
    label: Text | None = Field(None, min_length=1)
    """``name:value``, or ``name`` for any value."""
    sort: Annotated[str, OneOf(DEVICE_ORDERS.names)] = DEVICE_ORDERS.default


class DeviceQuery(DevicePage, TenantPage):
    """Which devices."""


class RemoveQuery(Query):
    """That somebody means it."""

    confirm: str
    """The id of what is to be removed, once more."""
