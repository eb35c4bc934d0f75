"""Waiting for a condition instead of for a time."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def until(
    condition: Callable[[], Any],
    *,
    within_s: float = 30.0,
    every_s: float = 0.02,
    what: str = "the condition",
) -> Any:
    """Return the first truthy value of ``condition``; fail the test if there is none ``within_s``."""
    end = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {within_s} s")
        await asyncio.sleep(every_s)
    return found


async def eventually(
    condition: Callable[[], Awaitable[Any]],
    *,
    within_s: float = 30.0,
    every_s: float = 0.05,
    what: str = "the condition",
) -> Any:
    """As :func:`until`, for a condition that has to be awaited."""
    end = time.monotonic() + within_s
    while not (found := await condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {within_s} s")
        await asyncio.sleep(every_s)
    return found


def until_sync(
    condition: Callable[[], Any],
    *,
    within_s: float = 30.0,
    every_s: float = 0.05,
    what: str = "the condition",
) -> Any:
    """As :func:`until`, outside an event loop."""
    end = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {within_s} s")
        time.sleep(every_s)
    return found
