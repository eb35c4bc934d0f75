"""Refused messages."""

from __future__ import annotations

import uuid
from typing import Any

from pydantic import Base64Bytes, Field

from pulse_core.records import Reason
from pulse_server.outputs.answers import Answer, PageOf, Time


class RefusedMessage(Answer):
    """A refused message that was kept."""

    tenant_id: str
    """Empty when the tenant is not known."""
    reject_id: uuid.UUID
    received_at: Time
    reason: Reason
    detail: str
    device_id: str
    topic: str
    source: str
    """The way in that it came by, as ``mqtt``."""
    payload: Any
    """The parsed payload; null: not kept, or no JSON."""
    raw: Base64Bytes | None
    """The bytes in base64, as far as they were kept."""


class RefusedCount(Answer):
    """How many messages were refused in a minute."""

    tenant_id: str
    """Empty for strangers."""
    minute: Time
    reason: Reason
    rejected: int = Field(ge=1)


RefusedMessageList = PageOf[RefusedMessage]
RefusedCountList = PageOf[RefusedCount]
