"""Encrypts every stored secret anew with the current key, while everything runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pulse_core.errors import SecretUnreadable
from pulse_postgres.resealing import Sealed

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulse_core.secrets import SecretBox
    from pulse_postgres.resealing import Resealing


class Resealed(Struct, frozen=True):
    """What one pass did. ``missed``: changed by others in between. ``unreadable``: sealed with none of our keys."""

    resealed: int
    current: int
    missed: int
    unreadable: tuple[Sealed, ...]


async def reseal(store: Resealing, box: SecretBox, tell: Callable[[int], None] = lambda _: None) -> Resealed:
    """Go through all integrations until none was changed in between. Safe to end at any point, and to run again.

    :param tell: called with how many more were looked at.
    """
    total = 0
    while True:
        done = await _one_pass(store, box, tell)
        if not done.missed:
            return Resealed(total + done.resealed, done.current - total, 0, done.unreadable)
        total += done.resealed


async def _one_pass(store: Resealing, box: SecretBox, tell: Callable[[int], None]) -> Resealed:
    resealed = current = missed = 0
    unreadable: list[Sealed] = []
    async for page in store.pages():
        changes: list[tuple[Sealed, bytes]] = []
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
