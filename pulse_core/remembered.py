"""What was found out lately, and may be believed for a while: bounded, so that strangers cannot fill the memory."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Remembered(Generic[K, V]):
    """At most so many entries: when there are more, those that nobody asked for longest go.

    How long an entry may be believed is for whoever keeps it to say, in the entry.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """What is known."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: K, value: V) -> None:
        """Remember something, in place of what was known."""
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > self._at_most:
            self._entries.popitem(last=False)

    def forget(self, key: K) -> None:
        """Know it no more."""
        self._entries.pop(key, None)
