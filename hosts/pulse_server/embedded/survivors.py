"""Processes of an earlier server that still hold a cluster: found by the folder they work in, and ended.

When a postmaster is killed, its idle backends notice at once, but a busy one works on until it next looks up; and an
orphaned postmaster may still be shutting down. PostgreSQL refuses to start beside either.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

_LOOK_EVERY_S = 0.02
_STEPS = ((5.0, None), (5.0, signal.SIGINT), (3.0, signal.SIGQUIT), (5.0, signal.SIGKILL))
"""How long to wait (s), after which signal: none, fast shutdown, immediate shutdown, kill."""


def survivors(cluster: Path) -> list[int]:
    """Return the pids of PostgreSQL processes whose working directory is ``cluster``; empty where there is no /proc."""
    try:
        place = cluster.stat()
    except FileNotFoundError:
        return []
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "comm").read_text().strip() != "postgres":
                continue
            there = (entry / "cwd").stat()
            if (there.st_dev, there.st_ino) == (place.st_dev, place.st_ino):
                found.append(int(entry.name))
    return found


def clear(cluster: Path, steps: tuple[tuple[float, signal.Signals | None], ...] = _STEPS) -> list[int]:
    """Wait for survivors to end by themselves, then end them; return those that do not even die.

    Blocks for as long as ``steps`` say. Only the holder of the owner's lock may call this.
    """
    left: list[int] = []
    for patience_s, number in steps:
        left = survivors(cluster)
        if number is not None:
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
        deadline = time.monotonic() + patience_s
        while left and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
            left = survivors(cluster)
        if not left:
            break
    return left
