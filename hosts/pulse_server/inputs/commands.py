"""Commands to devices: what makes and chooses them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field, StringConstraints, field_validator

from pulse_core.commands import DEFAULT_EXPIRES_S, MAX_EXPIRES_S, MAX_PAYLOAD_BYTES, CommandStatus
from pulse_postgres.command_pages import COMMAND_ORDERS
from pulse_server.inputs.fields import SMALL_ID, Body, DeviceId, OneOf, Page, TenantPage

CommandName = Annotated[str, StringConstraints(pattern=SMALL_ID)]


class CommandBody(Body):
    """A new command for a device."""

    name: CommandName
    """What the device is to do. Over MQTT it ends the topic."""
    payload: Any = Field(default_factory=dict)
    """Any JSON value of at most 8,192 bytes, written without spaces."""
    expires_in_s: int = Field(DEFAULT_EXPIRES_S, ge=1, le=MAX_EXPIRES_S)
    """After so long it is neither given to the device nor acknowledged any more."""

    @field_validator("payload")
    @classmethod
    def _not_too_large(cls, value: Any) -> Any:
        try:
            size = len(msgspec.json.encode(value))
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise ValueError(f"cannot be stored: {error}") from error
        if size > MAX_PAYLOAD_BYTES:
            raise ValueError(f"{size} bytes as JSON; at most {MAX_PAYLOAD_BYTES}")
        return value

    def payload_json(self) -> str:
        """The payload as it is stored."""
        return msgspec.json.encode(self.payload).decode()


class DeviceCommandPage(Page):
    """Which commands of one device, in which order."""

    status: CommandStatus | None = None
    sort: Annotated[str, OneOf(COMMAND_ORDERS.names)] = COMMAND_ORDERS.default


class CommandPage(DeviceCommandPage):
    """Which commands, in which order."""

    device_id: DeviceId | None = None


class CommandQuery(CommandPage, TenantPage):
    """Which commands."""
