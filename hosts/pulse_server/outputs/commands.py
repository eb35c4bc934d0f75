"""Commands to devices, as they are shown."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from pulse_core.commands import CommandStatus
from pulse_server.outputs.answers import Answer, PageOf


class CommandAnswer(Answer):
    """One command."""

    tenant_id: str
    command_id: uuid.UUID
    device_id: str
    name: str
    payload: Any
    status: CommandStatus
    """EXPIRED with a ``sent_at``: the device got it, and did not acknowledge it in time."""
    created_at: datetime
    created_by: str
    expires_at: datetime
    sent_at: datetime | None
    """When the device got it first."""
    acknowledged_at: datetime | None
    way: str | None
    """By which way in the device got it, as ``http``."""


class CommandsAnswer(PageOf[CommandAnswer]):
    """Commands, the newest first."""
