"""Commands to devices: what a customer asks of one, until the device acknowledges it or its time is over."""

from __future__ import annotations

import uuid
from enum import StrEnum

from msgspec import Struct

MOST_OPEN = 100
"""A device has at most so many commands that are neither acknowledged nor expired."""
MAX_PAYLOAD_BYTES = 8192
"""Of a command's payload, as JSON without spaces."""
MOST_NUMBER = 65_535
"""Numbers of a device's commands go from 1 to this, then from 1 again: MQTT's packet identifiers, and others' ids."""
DEFAULT_EXPIRES_S = 3600
MAX_EXPIRES_S = 7 * 86_400


class CommandStatus(StrEnum):
    """The life of a command. The first two are open, the others final."""

    QUEUED = "QUEUED"
    SENT = "SENT"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    EXPIRED = "EXPIRED"


class Command(Struct, frozen=True, gc=False):
    """A command as its device gets it, perhaps more than once: ``command_id`` tells. ``payload`` is JSON text.

    ``number``, 1 to MOST_NUMBER, tells it from the device's other open commands. ``sent``: it was SENT before now.
    """

    command_id: uuid.UUID
    name: str
    payload: str
    created_us: int
    expires_us: int
    number: int
    sent: bool = False
