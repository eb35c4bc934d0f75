"""What devices send over HTTP, as the OpenAPI document tells it. The data path checks it by itself, and much faster."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from pulse_core.ingest import MAX_METRICS
from pulse_core.records import MsgType
from pulse_server.inputs.fields import DeviceId, SiteId, TenantId

MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
_Whole = Annotated[int, Field(ge=-(2**63), le=2**63 - 1)]


class ReadingBody(BaseModel):
    """One message of a device."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    site_id: SiteId
    """The site that the device is registered for."""
    ts: datetime | float | None = None
    """The device's time: ISO 8601 (UTC if it names no zone) or epoch milliseconds; none: when we receive it."""
    seq: _Whole | None = None
    """With ``ts``, tells a message that comes again from a new one."""
    metrics: dict[MetricName, _Whole | float | bool | str] = Field(default_factory=dict, max_length=MAX_METRICS)
    version: Literal["1"] | None = None


class BatchMessage(ReadingBody):
    """One message of a batch."""

    tenant_id: TenantId
    device_id: DeviceId
    msg_type: MsgType
    provision_token: str
    """The device's token."""


class BatchBody(BaseModel):
    """Messages of one or more devices."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    messages: list[BatchMessage] = Field(max_length=1000)
