"""Connections of devices that last, and what happened besides them. Ingesters tell of both; people read it as one."""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Literal

from msgspec import Struct

from pulse_core.records import DeviceKey

if TYPE_CHECKING:
    from collections.abc import Mapping

MOST_A_DEVICE = 100
"""So many of a device's newest connections are kept, and as many of its newest events of each kind."""


class Ending(StrEnum):
    """How a connection of a device ended."""

    CLIENT_CLOSED = "CLIENT_CLOSED"
    """The device said good-bye."""
    LOST = "LOST"
    """It went without a word: it crashed, or the network did."""
    KEEP_ALIVE = "KEEP_ALIVE"
    """It was silent for longer than it had promised."""
    TAKEN_OVER = "TAKEN_OVER"
    """The same client connected anew."""
    REVOKED = "REVOKED"
    """The device was revoked, its token replaced, or its tenant suspended."""
    PROTOCOL_ERROR = "PROTOCOL_ERROR"
    """It broke the protocol, or asked for what is not its own."""
    NOT_READING = "NOT_READING"
    """It left our answers unread."""
    SERVER_STOPPED = "SERVER_STOPPED"
    """We stopped, or died."""
    SERVER_ERROR = "SERVER_ERROR"
    """Something failed on our side."""


StaleOnDisconnect = Literal["never", "lost", "always"]
"""Whether a tenant wants a device STALE as soon as its last connection has ended: never, when the device was lost (or
had to be sent away), or always, also when it said good-bye."""

_LOST = frozenset({Ending.LOST, Ending.KEEP_ALIVE, Ending.NOT_READING, Ending.PROTOCOL_ERROR})
STALE_ON: Final[Mapping[str, frozenset[Ending]]] = {
    "never": frozenset(),
    "lost": _LOST,
    "always": _LOST | {Ending.CLIENT_CLOSED},
}
"""By what the tenant chooses: the endings that count. What we do (revoke, stop, fail) says nothing of a device."""


class ConnectionEvent(StrEnum):
    """What happens to a device at a way in, besides that a connection begins and ends."""

    REFUSED = "REFUSED"
    """A login in its name was refused; the detail is the reason's name. Many in a short time are noted as one."""
    WILL = "WILL"
    """Its last will was published; the detail says under which topic, and whether it became a reading or why not."""


class DeviceConnection(Struct, gc=False):
    """One connection, whose ``ended_us`` is None while it lasts; or an event, which begins and ends at once."""

    connection_id: uuid.UUID
    key: DeviceKey
    source: str
    """The ingester."""
    protocol: str
    address: str
    client_id: str
    connected_us: int
    ended_us: int | None = None
    ending: Ending | None = None
    event: ConnectionEvent | None = None
    """None: a connection."""
    detail: str = ""
    """More about an event."""
    times: int = 1
    """How many events this stands for."""
