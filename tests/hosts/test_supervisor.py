"""Programs are kept running, stopped when told, and never outlive their supervisor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

from pulse_server import supervisor
from pulse_server.exits import DO_NOT_RESTART
from pulse_server.supervisor import Program, Supervisor, how
from support.waiting import until, until_sync

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


async def test_a_crashed_program_is_started_again_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF_S", 0.01)
    said: list[str] = []
    watching = Supervisor(said.append)
    kept = await watching.start(Program("sleeper", SLEEP))
    first = kept.pid
    assert first
    os.kill(first, signal.SIGKILL)
    await until(lambda: kept.pid not in (None, first))
    assert said == ["sleeper ended (killed by SIGKILL); starting it again in 0.01 s"]
    second = kept.pid
    await watching.stop()
    assert second
    assert gone(second)


async def test_back_off_grows_while_a_program_keeps_crashing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_BACKOFF_S", 0.01)
    said: list[str] = []
    watching = Supervisor(said.append)
    kept = await watching.start(Program("crasher", [sys.executable, "-c", "raise SystemExit(3)"]))
    await until(lambda: len(said) >= 3)
    await watching.stop()
    assert [line.rpartition(" in ")[2] for line in said[:3]] == ["0.01 s", "0.02 s", "0.04 s"]
    assert "exit code 3" in said[0]
    assert kept.pid is None


async def test_a_program_that_says_do_not_restart_is_believed() -> None:
    watching = Supervisor(lambda _: None)
    await watching.start(Program("misconfigured", [sys.executable, "-c", f"raise SystemExit({DO_NOT_RESTART})"]))
    assert await watching.failed == ("misconfigured", DO_NOT_RESTART)
    await watching.stop()


async def test_a_program_that_ignores_sigterm_is_killed_in_time(tmp_path: Path) -> None:
    said: list[str] = []
    watching = Supervisor(said.append)
    log = tmp_path / "log" / "stubborn.log"
    kept = await watching.start(Program("stubborn", STUBBORN, log_file=log, stop_s=0.3))
    pid = kept.pid
    assert pid
    await until(lambda: log.exists() and "deaf" in log.read_text())
    await watching.stop()
    assert gone(pid)
    assert said == ["stubborn did not stop within 0.3 s and was killed"]


async def test_ctrl_c_reaches_the_supervisor_alone() -> None:
    watching = Supervisor(lambda _: None)
    kept = await watching.start(Program("sleeper", SLEEP))
    assert kept.pid
    assert os.getpgid(kept.pid) != os.getpgid(0)
    await watching.stop()


SUPERVISE = """
import asyncio, sys
from pathlib import Path
from pulse_server.supervisor import Program, Supervisor

async def main():
    watching = Supervisor(print)
    kept = await watching.start(Program("sleeper", [sys.executable, "-c", "import time; time.sleep(600)"]))
    print(kept.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


def test_kill_9_of_the_supervisor_takes_its_programs_along() -> None:
    with subprocess.Popen([sys.executable, "-c", SUPERVISE], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        until_sync(lambda: str(supervisor.CHILD) not in psutil.Process(pid).cmdline(), what="the program itself")
        parent.kill()
    until_sync(lambda: gone(pid), within_s=10, what="the end of the program")


def test_a_parent_that_is_gone_already_is_noticed() -> None:
    """The race between fork and prctl: whoever starts late must not start at all."""
    command = [sys.executable, "-I", "-S", str(supervisor.CHILD), "1", sys.executable, "-c", "print('ran')"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")


WATCH = """
import os, runpy, sys
child = runpy.run_path(sys.argv[1])
raise SystemExit(child["watch"](os.getppid(), [sys.executable, "-c", "print('ran')"]))
"""


def test_without_help_of_the_kernel_a_watcher_passes_the_exit_on() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WATCH, str(supervisor.CHILD)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "ran\n")


def test_exit_codes_are_told_in_words() -> None:
    assert how(-9) == "killed by SIGKILL"
    assert how(1) == "exit code 1"
