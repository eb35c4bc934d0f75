"""Connections that have not said who they are yet: bounded, so that a flood of them costs only other strangers."""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from pulse_core.api import Ending


class Stranger(Protocol):
    """A connection, as far as it matters here."""

    def abort(self, why: str, ending: Ending) -> None:
        """Be rid of it."""


StrangerT = TypeVar("StrangerT", bound=Stranger)


class Strangers(Generic[StrangerT]):
    """Those who are at the door, in the order in which they came."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._waiting: dict[StrangerT, None] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, connection: StrangerT) -> None:
        """Somebody has come. When there are too many, the one who has had the longest time is sent away."""
        self._waiting[connection] = None
        if len(self._waiting) > self._at_most:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.abort("too many connections that have not said who they are", Ending.SERVER_ERROR)

    def leave(self, connection: StrangerT) -> None:
        """Somebody has said who it is, or gone; also one who was sent away."""
        self._waiting.pop(connection, None)
