"""Running a plugin's code so that whatever it does costs nobody else anything.

A coroutine of a plugin runs in a task of its own, inside a handler that lets nothing out: SystemExit and
KeyboardInterrupt would otherwise go right through the event loop and end the process. Its time is limited; one
that ignores its cancellation is left behind, and counted until it ends.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_GRACE_S = 1.0
"""How long a cancelled coroutine may take to clean up."""

_left_behind: set[asyncio.Task[Any]] = set()


class Returned(Struct, frozen=True):
    """It returned."""

    value: Any


class Raised(Struct, frozen=True):
    """It raised: anything at all."""

    error: BaseException


class TimedOut(Struct, frozen=True):
    """It took too long. ``hanging``: it has not even ended after its cancellation."""

    hanging: bool


async def contained(
    work: Callable[[], Awaitable[Any]],
    timeout_s: float,
    *,
    when_left: Callable[[], None] | None = None,
    grace_s: float = _GRACE_S,
) -> Returned | Raised | TimedOut:
    """Await ``work()`` for at most ``timeout_s`` and tell what came of it; never raises what it raises.

    :param when_left: called when a coroutine that was left behind hanging ends after all.
    """
    task = asyncio.ensure_future(_caught(work))
    try:
        await asyncio.wait({task}, timeout=timeout_s)
        if task.done():
            return task.result()
        task.cancel()
        await asyncio.wait({task}, timeout=grace_s)
    except asyncio.CancelledError:
        task.cancel()
        _leave(task, None)
        raise
    hanging = not task.done()
    if hanging:
        _leave(task, when_left)
    return TimedOut(hanging)


async def _caught(work: Callable[[], Awaitable[Any]]) -> Returned | Raised:
    try:
        return Returned(await work())
    except BaseException as error:  # noqa: BLE001 - the point of this module
        return Raised(error)


def _leave(task: asyncio.Task[Any], when_left: Callable[[], None] | None) -> None:
    _left_behind.add(task)

    def ended(_: asyncio.Task[Any]) -> None:
        _left_behind.discard(task)
        if when_left is not None:
            when_left()

    task.add_done_callback(ended)
