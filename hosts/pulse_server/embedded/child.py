"""Becomes PostgreSQL: demotes itself, ties its life to its parent's, and execs. Standard library only.

``python -I -S child.py PARENT_PID UID GID DIRECTORY COMMAND ARGUMENT…`` (UID and GID ``-``: stay who you are).

The order matters. The directory is entered before the demotion, because the unprivileged user may not be able to
walk there by name. PR_SET_PDEATHSIG comes after it, because a change of credentials clears the setting; exec keeps
it. SIGINT is what PostgreSQL calls a fast shutdown. Where the kernel has no such service (it is Linux's) this process
stays as PostgreSQL's parent and watches.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_LOOK_EVERY_S = 0.25
_PRIVATE = 0o077


def demote(uid: int, gid: int) -> None:
    """Give up root for good: supplementary groups first, the user last."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)


def tie_to_parent() -> bool:
    """Ask the kernel for SIGINT when the thread that started this process ends; False where it cannot."""
    if not sys.platform.startswith("linux"):
        return False
    return bool(ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0) == 0)


def watch(parent: int, command: list[str]) -> int:
    """Run the command and pass signals on; shut it down when ``parent`` is no longer our parent."""
    with subprocess.Popen(command) as process:  # noqa: S603 - the launcher's own command line
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
            signal.signal(number, lambda got, _frame: process.send_signal(got))
        told = False
        while process.poll() is None:
            if not told and os.getppid() != parent:
                process.send_signal(signal.SIGINT)
                told = True
            time.sleep(_LOOK_EVERY_S)
        return process.returncode


def main(arguments: list[str]) -> int:  # noqa: RET503 - execv does not return
    """See the module."""
    parent, uid, gid, directory, *command = arguments
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.umask(_PRIVATE)
    os.chdir(directory)
    if uid != "-":
        demote(int(uid), int(gid))
    tied = os.environ.pop("PULSE_EMBEDDED_WATCH", "") == "" and tie_to_parent()
    if os.getppid() != int(parent):
        return 1
    if not tied:
        return watch(int(parent), command)
    os.execv(command[0], command)  # noqa: S606 - the launcher's own command line


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
