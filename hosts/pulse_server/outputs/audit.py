"""The audit log."""

from __future__ import annotations

import uuid
from typing import Any

from pulse_server.outputs.answers import Answer, PageOf, Time


class OwnAuditLine(Answer):
    """Who did what in the caller's tenant. Of those who are not its own, without address and agent."""

    audit_id: uuid.UUID
    at: Time
    actor: str
    action: str
    resource: str
    address: str
    agent: str
    request_id: str
    details: dict[str, Any]


class AuditLine(OwnAuditLine):
    """Who did what."""

    tenant_id: str
    """Empty for what concerns no one tenant."""


OwnAuditLineList = PageOf[OwnAuditLine]
AuditLineList = PageOf[AuditLine]
