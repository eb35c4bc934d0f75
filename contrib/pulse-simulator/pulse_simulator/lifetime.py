"""When to end: SIGTERM, SIGINT, or the death of the process that started us."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine

PARENT_CHECK_S = 0.5
"""How often we look whether the parent is still there. Looking needs no operating system's special help."""


async def until_told(work: Coroutine[Any, Any, None]) -> None:
    """Run ``work`` until it ends by itself, a signal comes, or the parent process dies."""
    running = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.cancel)
    watching = asyncio.create_task(_outlive_nobody(running))
    try:
        await asyncio.wait({running})
    finally:
        watching.cancel()
    if not running.cancelled():
        running.result()


async def _outlive_nobody(running: asyncio.Future[None]) -> None:
    parent = os.getppid()
    while os.getppid() == parent:  # noqa: ASYNC110 - nothing tells us; we must look
        await asyncio.sleep(PARENT_CHECK_S)
    running.cancel()


def say(event: str, **facts: Any) -> None:
    """Write one JSON line for whoever started us. Nobody reading any more is no reason to fail."""
    try:
        sys.stdout.write(json.dumps({"event": event, **facts}) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nor at exit
