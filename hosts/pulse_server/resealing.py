"""Encrypts every stored secret anew with the current key, while everything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from msgspec import Struct

from pulse_core.errors import SecretUnreadable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from pulse_core.secrets import SecretBox


class Secret(Protocol):
    """Something that is stored encrypted; its text names it for people."""

    @property
    def secrets(self) -> bytes:
        """What is stored."""


SecretT = TypeVar("SecretT", bound=Secret)


class Store(Protocol[SecretT]):
    """Where they are."""

    def pages(self) -> AsyncIterator[list[SecretT]]:
        """All of them, page by page."""

    async def replace(self, changes: Sequence[tuple[SecretT, bytes]]) -> int:
        """Store what was encrypted anew, where it is still what was read; return where it was."""


class Resealed(Struct, Generic[SecretT], frozen=True):
    """What one pass did. ``missed``: changed by others in between. ``unreadable``: sealed with none of our keys."""

    resealed: int
    current: int
    missed: int
    unreadable: tuple[SecretT, ...]


async def reseal(
    store: Store[SecretT], box: SecretBox, tell: Callable[[int], None] = lambda _: None
) -> Resealed[SecretT]:
    """Go through all of a store until none was changed in between. Safe to end at any point, and to run again.

    :param tell: called with how many more were looked at.
    """
    total = 0
    while True:
        done = await _one_pass(store, box, tell)
        if not done.missed:
            return Resealed(total + done.resealed, done.current - total, 0, done.unreadable)
        total += done.resealed


async def _one_pass(store: Store[SecretT], box: SecretBox, tell: Callable[[int], None]) -> Resealed[SecretT]:
    resealed = current = missed = 0
    unreadable: list[SecretT] = []
    async for page in store.pages():
        changes: list[tuple[SecretT, bytes]] = []
        for each in page:
            if box.is_current(each.secrets):
                current += 1
                continue
            try:
                changes.append((each, box.reseal(each.secrets)))
            except SecretUnreadable:
                unreadable.append(each)
        replaced = await store.replace(changes) if changes else 0
        resealed += replaced
        missed += len(changes) - replaced
        tell(len(page))
    return Resealed(resealed, current, missed, tuple(unreadable))
