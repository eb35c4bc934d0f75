"""Keeps programs running: restarts what crashes, with back-off, and takes every one of them down with it.

Each program leads a session of its own, so that Ctrl-C reaches the supervisor alone and the order of stopping is ours;
:mod:`pulse_server.child` sees to it that none outlives us, kill -9 included. Programs must be started from the main
thread: the kernel ties them to the thread that forked them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pulse_server.exits import DO_NOT_RESTART

CHILD = Path(__file__).with_name("child.py")
FIRST_BACKOFF_S = 0.5
LONGEST_BACKOFF_S = 30.0
_SETTLED_S = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Program:
    """A command to keep running. An exit code of DO_NOT_RESTART ends its supervision; any other is a crash.

    ``environment`` is all it gets; ours if not given.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    log_file: Path | None = None
    stop_s: float = 10.0


class Supervised:
    """One program, kept running until it is stopped."""

    def __init__(self, program: Program, say: Say, fatal: Callable[[str, int], None]) -> None:
        self.program = program
        self.pid: int | None = None
        self.restarts = 0
        self._say = say
        self._fatal = fatal
        self._stopping = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._keeping: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start it, and keep it running from now on."""
        self._process = await self._spawn()
        self._keeping = asyncio.create_task(self._keep(), name=f"keep {self.program.name}")

    async def stop(self) -> None:
        """Ask it to end (SIGTERM), insist after ``stop_s`` (SIGKILL), and wait until it has."""
        self._stopping.set()
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()
            try:
                async with asyncio.timeout(self.program.stop_s):
                    await self._process.wait()
            except TimeoutError:
                self._say(f"{self.program.name} did not stop within {self.program.stop_s:g} s and was killed")
                with suppress(ProcessLookupError):
                    self._process.kill()
                await self._process.wait()
        if self._keeping is not None:
            await self._keeping

    async def _spawn(self) -> asyncio.subprocess.Process:
        with _Output(self.program.log_file) as output:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-I",
                "-S",
                str(CHILD),
                str(os.getpid()),
                *self.program.command,
                env=dict(self.program.environment),
                stdin=subprocess.DEVNULL,
                stdout=output or None,
                stderr=output or None,
                start_new_session=True,
            )
        self.pid = process.pid
        return process

    async def _keep(self) -> None:
        backoff_s = FIRST_BACKOFF_S
        while self._process is not None:
            started = time.monotonic()
            code = await self._process.wait()
            self.pid = None
            if self._stopping.is_set():
                return
            if code == DO_NOT_RESTART:
                self._fatal(self.program.name, code)
                return
            if time.monotonic() - started > _SETTLED_S:
                backoff_s = FIRST_BACKOFF_S
            self._say(f"{self.program.name} ended ({how(code)}); starting it again in {backoff_s:g} s")
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), backoff_s)
            if self._stopping.is_set():
                return
            backoff_s = min(backoff_s * 2, LONGEST_BACKOFF_S)
            self.restarts += 1
            self._process = await self._spawn()


class _Output:
    """Where a program's output goes: a file that is appended to, or where ours goes."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._handle: int | None = None

    def __enter__(self) -> int | None:
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return self._handle

    def __exit__(self, *_: object) -> None:
        if self._handle is not None:
            os.close(self._handle)


class Supervisor:
    """Several programs."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._programs: dict[str, Supervised] = {}
        self.failed: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
        """Set when a program says that a restart cannot help: its name and exit code."""

    async def start(self, program: Program) -> Supervised:
        """Start a program and keep it running."""
        supervised = Supervised(program, self._say, self._give_up)
        self._programs[program.name] = supervised
        await supervised.start()
        return supervised

    async def stop_one(self, name: str) -> None:
        """Stop one program; one that does not run is stopped already."""
        if name in self._programs:
            await self._programs.pop(name).stop()

    async def stop(self) -> None:
        """Stop every program that is left, one after the other."""
        for name in list(self._programs):
            await self.stop_one(name)

    def names(self) -> list[str]:
        """Which programs are kept running."""
        return list(self._programs)

    def pids(self) -> dict[str, int]:
        """Who runs, and as which process."""
        return {name: each.pid for name, each in self._programs.items() if each.pid is not None}

    def _give_up(self, name: str, code: int) -> None:
        if not self.failed.done():
            self.failed.set_result((name, code))


def how(code: int) -> str:
    """An exit code for people: ``killed by SIGKILL``, ``exit code 1``."""
    if code < 0:
        with suppress(ValueError):
            return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"
