"""Starts, watches and stops the embedded PostgreSQL: one owner a data directory, nothing left running behind it."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import psycopg
import structlog

from pulse_core.errors import ConfigError, StoreUnavailable
from pulse_server.embedded import account, binaries, child, cluster, survivors

if TYPE_CHECKING:
    from collections.abc import Mapping

DATABASE = "pulse"

_LONGEST_SOCKET_PATH = 107
_READY_WITHIN_S = 300.0
_LOOK_EVERY_S = 0.01
_WATCH_EVERY_S = 0.2
_STOP_STEPS = ((30.0, signal.SIGINT), (5.0, signal.SIGQUIT), (5.0, signal.SIGKILL))
_BACKOFF_S = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
_STEADY_AFTER_S = 30.0
_LOG_KEPT_BYTES = 8 * 1024 * 1024

log = structlog.get_logger("pulse.embedded")


class EmbeddedPostgres:
    """One PostgreSQL server that lives as long as this process, and no longer.

    The kernel ties the server to the *thread* that starts it: call :meth:`start` (and await :meth:`supervise`) in the
    main thread, or in one that lives as long.

    :param data_dir: a folder of ours alone; made at the first start. It may lie where no other user can walk.
    :param settings: server settings for the command line, ``{"log_statement": "all"}`` say.
    """

    def __init__(self, data_dir: Path, *, settings: Mapping[str, str] | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.cluster = self.data_dir / "cluster"
        self._settings = dict(settings or {})
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_dir: Path | None = None
        self._port = 0
        self._stopping = False
        self._turn = threading.Lock()
        self._account: account.Account | None = None
        self._install = Path()

    @property
    def url(self) -> str:
        """Of the superuser, over the unix socket; known once :meth:`start` returned."""
        return self._url_of(DATABASE)

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None when it does not run."""
        return self._process.pid if self.running and self._process else None

    @property
    def running(self) -> bool:
        """Whether the postmaster's process lives."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> str:
        """Start the server, making its cluster if there is none, and return :attr:`url`. Blocks until it answers.

        :raises ConfigError: another live process owns the data directory, or there is nothing to run.
        :raises StoreUnavailable: it does not come up; the text ends with what it logged last.
        """
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = _take_lock(self.data_dir)
        self._stopping = False
        try:
            self._settle()
            self._launch()
            self._ensure_database()
        except BaseException:
            self.stop()
            raise
        cluster.write(self.data_dir / "url", self.url, None)
        return self.url

    def stop(self) -> None:
        """Shut down in order (clients are disconnected, everything is on disk), and let the data directory go.

        Blocks for as long as the last checkpoint takes. Does nothing when nothing runs.
        """
        self._stopping = True
        with self._turn:
            self._end_process()
            self._remove_socket_dir()
            if self._lock is not None:
                (self.data_dir / "url").unlink(missing_ok=True)
                os.close(self._lock)
                self._lock = None

    async def supervise(self) -> None:
        """Bring a killed server back, for as long as this is not cancelled and :meth:`stop` not called.

        Its address stays. Restarts back off while it keeps dying.
        """
        failures = 0
        while not self._stopping:
            since = time.monotonic()
            while self.running and not self._stopping:  # noqa: ASYNC110 - a process gives no event
                await asyncio.sleep(_WATCH_EVERY_S)
            if self._stopping:
                return
            failures = 0 if time.monotonic() - since > _STEADY_AFTER_S else failures
            log.warning("postgres ended", exit=self._process and self._process.returncode, failures=failures)
            await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
            failures += 1
            await self._revive()

    async def _revive(self) -> None:
        """Clear and wait in a thread, but spawn in this one: the server is tied to the thread that spawned it."""
        try:
            await asyncio.to_thread(self._make_way)
            self._spawn()
            await asyncio.to_thread(self._wait_until_ready)
        except (StoreUnavailable, OSError) as error:
            log.error("postgres does not come back", error=str(error))  # noqa: TRY400 - the text says all
        else:
            log.info("postgres is back", pid=self.pid)

    def _settle(self) -> None:
        """Everything between holding the lock and being ready to spawn."""
        self._account = account.service_account(self.cluster)
        self._install = binaries.locate(self._account)
        cluster.remove_drafts(self.data_dir)
        if not self.cluster.exists():
            cluster.create(self.cluster, self._account, self._initdb)
        self._make_way()
        cluster.prepare(self.cluster, self._account)
        self._rotate_log()

    def _make_way(self) -> None:
        left = survivors.clear(self.cluster)
        if left:
            raise StoreUnavailable(f"processes {left} of an earlier server still hold {self.cluster} and do not die")
        cluster.forget_dead_server(self.cluster)

    def _launch(self) -> None:
        for attempts_left in (2, 1, 0):
            self._port = cluster.kept_port(self.data_dir)
            self._make_socket_dir()
            self._spawn()
            try:
                return self._wait_until_ready()
            except StoreUnavailable:
                if not attempts_left:
                    raise
                self._make_way()
        return None

    def _spawn(self) -> None:
        with self._turn:
            if self._stopping:
                raise StoreUnavailable("the server is being stopped")
            with (self.data_dir / "server.log").open("ab") as out:
                self._process = self._start_child(
                    self.cluster, self._command(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )

    def _command(self) -> list[str]:
        settings = {
            "port": str(self._port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self._socket_dir or "."),
            "unix_socket_permissions": "0700",
            **self._settings,
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [str(self._install / "bin" / "postgres"), "-D", self._named(self.cluster), *options]

    def _named(self, folder: Path) -> str:
        """The working directory's name that PostgreSQL can use, whoever may or may not walk there from the root."""
        return "/proc/self/cwd" if self._account and Path("/proc/self/cwd").exists() else str(folder)

    def _initdb(self, data: Path, password: Path) -> None:
        command = [
            str(self._install / "bin" / "initdb"),
            f"--pgdata={self._named(data)}",
            f"--pwfile={password}",
            f"--username={cluster.SUPERUSER}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        process = self._start_child(data, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said, _ = process.communicate()
        if process.returncode != 0:
            raise StoreUnavailable(f"initdb failed:\n{said.decode(errors='replace')[-2000:]}")

    def _start_child(self, folder: Path, command: list[str], **pipes: Any) -> subprocess.Popen[bytes]:
        whom = [str(self._account.uid), str(self._account.gid)] if self._account else ["-", "-"]
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        if "PULSE_EMBEDDED_WATCH" in os.environ:
            environment["PULSE_EMBEDDED_WATCH"] = "1"
        return subprocess.Popen(  # noqa: S603 - our own child module
            [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *whom, str(folder), *command],
            env=environment,
            start_new_session=True,
            **pipes,
        )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            if not self.running:
                raise StoreUnavailable(f"PostgreSQL did not start; {self._last_words()}")
            if _says_ready(self.cluster / "postmaster.pid"):
                return
            time.sleep(_LOOK_EVERY_S)
        raise StoreUnavailable(f"PostgreSQL is not ready after {_READY_WITHIN_S:.0f} s; {self._last_words()}")

    def _last_words(self) -> str:
        path = self.data_dir / "server.log"
        said = path.read_bytes()[-2000:].decode(errors="replace") if path.exists() else ""
        return f"{path} ends with:\n{said}"

    def _ensure_database(self) -> None:
        with psycopg.connect(self._url_of("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone()
            if not found:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _url_of(self, database: str) -> str:
        password = quote(cluster.kept_password(self.data_dir), safe="")
        where = urlencode({"host": str(self._socket_dir or self.cluster), "port": str(self._port)}, safe="/")
        return f"postgresql://{cluster.SUPERUSER}:{password}@/{database}?{where}"

    def _make_socket_dir(self) -> None:
        """The socket lies in the cluster itself, unless that makes a longer path than the kernel takes."""
        if len(os.fsencode(self.cluster / f".s.PGSQL.{self._port}")) <= _LONGEST_SOCKET_PATH:
            return
        self._remove_socket_dir()
        self._socket_dir = Path(tempfile.mkdtemp(prefix="pulse-pg-", dir="/tmp"))
        if self._account:
            self._account.own(self._socket_dir)
        cluster.write(self.data_dir / "socket_dir", str(self._socket_dir), None)

    def _remove_socket_dir(self) -> None:
        """Remove the short socket folder, and the one that a killed owner left."""
        kept = self.data_dir / "socket_dir"
        if self._lock is not None and kept.exists():
            shutil.rmtree(kept.read_text(), ignore_errors=True)
            kept.unlink()
        self._socket_dir = None

    def _end_process(self) -> None:
        if self._process is None:
            return
        for patience_s, number in _STOP_STEPS:
            if self.running:
                self._process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience_s)
        if self._process.poll() != 0:
            survivors.clear(self.cluster, ((0.5, None), (3.0, signal.SIGQUIT), (5.0, signal.SIGKILL)))
        self._process = None

    def _rotate_log(self) -> None:
        path = self.data_dir / "server.log"
        if path.exists() and path.stat().st_size > _LOG_KEPT_BYTES:
            path.replace(path.with_name("server.log.1"))


def running_url(data_dir: Path) -> str | None:
    """The superuser's address of the server that another process runs in ``data_dir``; None when nobody does."""
    path, lock = data_dir / "url", data_dir / "owner.lock"
    if not path.exists() or not lock.exists():
        return None
    with lock.open("rb") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return path.read_text()
    return None


def _take_lock(data_dir: Path) -> int:
    """Take the owner's lock, which the kernel gives back when we end, however we end."""
    try:
        handle = os.open(data_dir / "owner.lock", os.O_RDWR | os.O_CREAT, 0o600)
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


def _says_ready(pid_file: Path) -> bool:
    """Whether the postmaster wrote ``ready`` into the last line of its pid file (PostgreSQL, miscinit.h)."""
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004 - LOCK_FILE_LINE_PM_STATUS is 8
