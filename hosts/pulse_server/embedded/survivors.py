"""Processes of an earlier server that still hold a cluster: found by the folder they work in, and ended.

When a postmaster is killed, its idle backends notice at once, but a busy one works on until it next looks up; and an
orphaned postmaster may still be shutting down. PostgreSQL refuses to start beside either.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

_LOOK_EVERY_S = 0.02

# How long to wait (s), after which signal. A server whose postmaster lives may shut down in order; without one, nothing
# that its backends still do can be told from a crash, so they are ended soon.
_ORDERLY = ((5.0, None), (10.0, signal.SIGINT), (3.0, signal.SIGQUIT), (5.0, signal.SIGKILL))
_HEADLESS = ((0.3, None), (2.0, signal.SIGQUIT), (5.0, signal.SIGKILL))


def survivors(cluster: Path) -> list[int]:
    """Return the pids of the PostgreSQL processes whose working directory is ``cluster``.

    Where there is no /proc only the postmaster can be found, by its pid file.
    """
    try:
        place = cluster.stat()
    except FileNotFoundError:
        return []
    if not Path("/proc/self").exists():
        return _by_pid_file(cluster)
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (entry / "comm").read_text().strip() != "postgres":
                continue
            there = (entry / "cwd").stat()
            if (there.st_dev, there.st_ino) == (place.st_dev, place.st_ino):
                found.append(int(entry.name))
    return found


def clear(cluster: Path) -> list[int]:
    """Wait for survivors to end by themselves, then end them; return those that do not even die.

    Blocks for some seconds at the most. Only the holder of the owner's lock may call this.
    """
    left = survivors(cluster)
    for patience_s, number in _ORDERLY if _postmaster(cluster) in left else _HEADLESS:
        _tell(left, number, _postmaster(cluster))
        deadline = time.monotonic() + patience_s
        while left and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
            left = survivors(cluster)
        if not left:
            break
    return left


def _tell(pids: list[int], number: signal.Signals | None, postmaster: int | None) -> None:
    """Send a signal. SIGINT is for the postmaster alone: to other processes of PostgreSQL it means other things."""
    for pid in pids:
        if number is None or (number is signal.SIGINT and pid != postmaster):
            continue
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _postmaster(cluster: Path) -> int | None:
    try:
        return int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def _by_pid_file(cluster: Path) -> list[int]:
    pid = _postmaster(cluster)
    if pid is None:
        return []
    said = subprocess.run(  # noqa: S603 - a fixed program and a number
        ["/bin/ps", "-o", "comm=", "-p", str(pid)], capture_output=True, text=True, check=False, timeout=10
    )
    return [pid] if "postgres" in said.stdout else []
