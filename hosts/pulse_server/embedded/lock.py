"""Whose data directory it is: a lock that the kernel takes back when its owner ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING

from pulse_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_FILE = "owner.lock"


def take(data_dir: Path) -> int:
    """Take the lock and return its file descriptor; closing that gives it back.

    :raises ConfigError: another live process has it, or the folder is another user's.
    """
    try:
        handle = os.open(data_dir / _FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except PermissionError as error:
        raise ConfigError(f"{data_dir} belongs to another user: run as that one, or choose another data_dir") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.read(handle, 32).decode(errors="replace").strip() or "unknown"
        os.close(handle)
        raise ConfigError(
            f"another process (pid {owner}) runs the database in {data_dir}: stop it first, or choose another data_dir"
        ) from error
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    return handle


def is_taken(data_dir: Path) -> bool:
    """Whether a live process holds the lock."""
    try:
        handle = (data_dir / _FILE).open("rb")
    except FileNotFoundError:
        return False
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
