"""Commands to devices, as they are shown."""

from __future__ import annotations

import uuid
from typing import Any, Literal

from pulse_core.commands import CommandStatus
from pulse_server.outputs.answers import Answer, PageOf, Time


class Command(Answer):
    """One command."""

    tenant_id: str
    command_id: uuid.UUID
    device_id: str
    name: str
    payload: Any
    status: CommandStatus
    """EXPIRED with a ``sent_at``: the device got it, and did not acknowledge it in time."""
    created_at: Time
    created_by: str
    expires_at: Time
    sent_at: Time | None
    """When the device got it first."""
    acknowledged_at: Time | None
    way: str | None
    """By which way in the device got it, as ``http``."""


CommandList = PageOf[Command]


class CommandToDo(Answer):
    """A command, as its device gets it."""

    command_id: uuid.UUID
    name: str
    payload: Any
    created_at: Time
    expires_at: Time


class CommandsToDo(Answer):
    """What a device is asked to do, the oldest first. It is given again until it is acknowledged."""

    commands: list[CommandToDo]


class CommandAcknowledged(Answer):
    """It is noted that the device has done it."""

    status: Literal["acknowledged"]
