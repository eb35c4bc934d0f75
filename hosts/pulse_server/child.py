"""Runs a command that ends when its parent does, kill -9 included. A script of its own: standard library only.

``python -I -S child.py PARENT_PID COMMAND ARGUMENT…`` asks the kernel (PR_SET_PDEATHSIG, which survives exec) to
kill us with our parent, looks whether the parent went before we asked, and becomes the command. Where the kernel has
no such service it stays, as the command's parent, and watches.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 0.5
_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def tie_to_parent() -> bool:
    """Ask the kernel to kill this process when the thread that started it ends; False where it cannot."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0)


def watch(parent: int, command: list[str]) -> int:
    """Run the command; kill it when ``parent`` is no longer our parent. Returns its exit code."""
    process = subprocess.Popen(command)  # noqa: S603 - the supervisor's own command line
    for number in _STOP_SIGNALS:
        signal.signal(number, lambda got, _frame: process.send_signal(got))
    while process.poll() is None:
        if os.getppid() != parent:
            process.kill()
        time.sleep(_LOOK_EVERY_S)
    return process.returncode


def main() -> int:
    """See the module."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    tied = tie_to_parent()
    if os.getppid() != parent:
        return 1
    if not tied:
        return watch(parent, command)
    return os.execvp(command[0], command)  # noqa: S606 - the supervisor's own command line


if __name__ == "__main__":
    sys.exit(main())
