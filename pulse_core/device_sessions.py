"""Sessions of devices: what a device subscribed to, kept from one connection of a client of its to the next.

A session belongs to a tenant, a device and a client id. Ingesters open, save and leave it; how long it outlives its
connection is its expiry.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from pulse_core.records import DeviceKey

MOST_A_DEVICE = 32
"""So many sessions of a device are kept; beyond that the one goes that was left longest ago, then the oldest."""
MOST_SUBSCRIPTIONS = 32
"""So many filters a session holds."""
LONGEST_FILTER = 512
"""Of a filter, in characters."""
LONGEST_CLIENT_ID = 256
"""Of a client id, in characters."""
MOST_EXPIRY_S = 0xFFFF_FFFF
"""MQTT 5.0, 3.1.2.11.2: what it calls "does not expire"; here it does, after 136 years."""

SessionId = tuple[DeviceKey, str]
"""The device and the client id: of whom a session is."""


class SessionDeed(Struct, frozen=True, gc=False):
    """What was done to a session, and when (epoch µs)."""

    key: DeviceKey
    client_id: str
    at_us: int

    @property
    def session(self) -> SessionId:
        """Whose it is."""
        return self.key, self.client_id


class Opening(SessionDeed, frozen=True, gc=False):
    """A connection begins: the session goes on, or a new one begins.

    ``clean``: what there was is forgotten. ``expiry_s`` 0: the session is not kept, it lives with its connection.
    """

    clean: bool
    expiry_s: int


class Saving(SessionDeed, frozen=True, gc=False):
    """Its subscriptions are these now: for each filter a number, which its ingester understands."""

    subscriptions: Mapping[str, int]


class Leaving(SessionDeed, frozen=True, gc=False):
    """Its connection has ended: it is over ``expiry_s`` after that."""

    expiry_s: int


def check_session(client_id: str, *, expiry_s: int = 0, subscriptions: Mapping[str, int] | None = None) -> None:
    """Raise ValueError for what no session can be: an ingester refuses that itself, in the words of its protocol."""
    if len(client_id) > LONGEST_CLIENT_ID:
        raise ValueError(f"a client id has at most {LONGEST_CLIENT_ID} characters")
    if not 0 <= expiry_s <= MOST_EXPIRY_S:
        raise ValueError(f"a session's expiry is from 0 to {MOST_EXPIRY_S} s")
    filters = subscriptions or {}
    if len(filters) > MOST_SUBSCRIPTIONS:
        raise ValueError(f"a session has at most {MOST_SUBSCRIPTIONS} subscriptions")
    if any(len(each) > LONGEST_FILTER for each in filters):
        raise ValueError(f"a filter has at most {LONGEST_FILTER} characters")
    for text in (client_id, *filters):
        if "\0" in text:
            raise ValueError("no text of a session holds NUL")
        text.encode()  # UnicodeEncodeError, a ValueError, for half a surrogate pair
