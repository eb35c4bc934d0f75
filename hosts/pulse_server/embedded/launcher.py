"""Starts, watches and stops the embedded PostgreSQL: one owner a data directory, nothing left running behind it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

import psycopg
import structlog

from pulse_core.errors import StoreUnavailable
from pulse_server.embedded import account, binaries, cluster, lock, survivors
from pulse_server.embedded.spawn import Programs

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
        self._programs = Programs(Path(), None)
        self._lock: int | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._socket_dir: Path | None = None
        self._port = 0
        self._stopping = False
        self._turn = threading.Lock()

    @property
    def url(self) -> str:
        """Of the superuser, over the unix socket; known once :meth:`start` returned."""
        return self._url_of(DATABASE)

    @property
    def port(self) -> int:
        """The port on 127.0.0.1, for those who cannot use the socket."""
        return self._port

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None when it does not run."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def running(self) -> bool:
        """Whether the postmaster's process lives."""
        return self.pid is not None

    def start(self) -> str:
        """Start the server, making its cluster if there is none, and return :attr:`url`. Blocks until it answers.

        :raises ConfigError: another live process owns the data directory, or there is nothing to run.
        :raises StoreUnavailable: it does not come up; the text ends with what it logged last.
        """
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = lock.take(self.data_dir)
        self._stopping = False
        try:
            self._settle()
            self._launch()
            self._ensure_database()
            cluster.write(self.data_dir / "url", self.url, None)
        except BaseException:
            self.stop()
            raise
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
        """Bring a killed server back, at the same address, until :meth:`stop` is called or this is cancelled.

        Restarts back off while it keeps dying.
        """
        failures = 0
        since = time.monotonic()
        while not self._stopping:
            if self.running:
                await asyncio.sleep(_WATCH_EVERY_S)
                continue
            failures = 0 if time.monotonic() - since > _STEADY_AFTER_S else failures
            log.warning("postgres ended", exit=self._process and self._process.returncode, failures=failures)
            await asyncio.sleep(_BACKOFF_S[min(failures, len(_BACKOFF_S) - 1)])
            failures += 1
            await self._revive()
            since = time.monotonic()

    async def _revive(self) -> None:
        """Clear and wait in a thread, but spawn in this one: the server is tied to the thread that spawned it."""
        try:
            await asyncio.to_thread(self._make_way)
            self._spawn()
            await asyncio.to_thread(self._wait_until_ready)
        except (StoreUnavailable, OSError) as error:
            if not self._stopping:
                log.warning("postgres does not come back", error=str(error))
        else:
            log.info("postgres is back", pid=self.pid)

    def _settle(self) -> None:
        """Everything between holding the lock and being ready to spawn."""
        lent = account.service_account(self.cluster)
        self._programs = Programs(binaries.locate(lent), lent)
        cluster.remove_drafts(self.data_dir)
        if not self.cluster.exists():
            cluster.create(self.cluster, lent, self._programs.initdb)
        self._make_way()
        cluster.prepare(self.cluster, lent)

    def _make_way(self) -> None:
        if left := survivors.clear(self.cluster):
            raise StoreUnavailable(f"processes {left} of an earlier server still hold {self.cluster} and do not die")
        cluster.forget_dead_server(self.cluster)

    def _launch(self) -> None:
        """Spawn and wait; again with a fresh port, because somebody may take ours between the look and the use."""
        for attempts_left in (2, 1, 0):
            self._port = cluster.kept_port(self.data_dir)
            self._make_socket_dir()
            self._spawn()
            try:
                self._wait_until_ready()
            except StoreUnavailable:
                if not attempts_left or self.running:
                    raise
                self._make_way()
            else:
                return

    def _spawn(self) -> None:
        settings = {
            "port": str(self._port),
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self._socket_dir or "."),
            "unix_socket_permissions": "0700",
            **self._settings,
        }
        with self._turn:
            if self._stopping:
                raise StoreUnavailable("the server is being stopped")
            said = self._open_log()
            try:
                self._process = self._programs.postgres(self.cluster, settings, said)
            finally:
                os.close(said)

    def _open_log(self) -> int:
        path = self.data_dir / "server.log"
        if path.exists() and path.stat().st_size > _LOG_KEPT_BYTES:
            path.replace(path.with_name("server.log.1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_WITHIN_S
        while time.monotonic() < deadline:
            if not self.running:
                raise StoreUnavailable(f"PostgreSQL did not start; {self._last_words()}")
            if cluster.says_ready(self.cluster):
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
        """Have the socket in the cluster itself, unless that makes a longer path than the kernel takes."""
        self._remove_socket_dir()
        if len(os.fsencode(self.cluster / f".s.PGSQL.{self._port}")) <= _LONGEST_SOCKET_PATH:
            return
        self._socket_dir = Path(tempfile.mkdtemp(prefix="pulse-pg-", dir="/tmp"))
        if self._programs.account:
            self._programs.account.own(self._socket_dir)
        cluster.write(self.data_dir / "socket_dir", str(self._socket_dir), None)

    def _remove_socket_dir(self) -> None:
        """Remove the short socket folder: ours, or the one that a killed owner left."""
        kept = self.data_dir / "socket_dir"
        if self._lock is not None and kept.exists():
            shutil.rmtree(kept.read_text(), ignore_errors=True)
            kept.unlink()
        self._socket_dir = None

    def _end_process(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for patience_s, number in _STOP_STEPS:
            if process.poll() is None:
                process.send_signal(number)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(patience_s)
        if process.returncode != 0:
            survivors.clear(self.cluster)


def running_url(data_dir: Path) -> str | None:
    """The superuser's address of the server that a live process runs in ``data_dir``; None when none does."""
    path = data_dir / "url"
    return path.read_text() if lock.is_taken(data_dir) and path.exists() else None
