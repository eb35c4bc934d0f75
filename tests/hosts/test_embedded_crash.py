"""What becomes of the embedded PostgreSQL when something is killed: its owner, its postmaster, its initdb."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
import pytest

from pulse_server.embedded import cluster
from pulse_server.embedded.launcher import EmbeddedPostgres
from pulse_server.embedded.spawn import WATCH
from pulse_server.embedded.survivors import clear, survivors
from support import postgres_owner, unprivileged
from support.waiting import until, until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTS = Path(__file__).parents[1]
SCRIPT = str(Path(postgres_owner.__file__))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(tmp_path / "pg")
    yield made
    made.stop()
    clear(made.cluster)


@contextlib.contextmanager
def owner(command: list[str], **more: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, **more, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path[1:]])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line, f"the owner ended with {process.wait()}"
    found: dict[str, Any] = json.loads(line)
    return found


@pytest.mark.parametrize("more", [{}, {WATCH: "1"}], ids=["the kernel tells", "a watcher looks"])
def test_nothing_outlives_a_killed_owner(server: EmbeddedPostgres, more: dict[str, str]) -> None:
    with owner([sys.executable, SCRIPT, str(server.data_dir)], **more) as process:
        url = said(process)["url"]
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
            process.kill()
            process.wait()
            until_sync(lambda: not survivors(server.cluster), within_s=20, what="the server's end")
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


def test_a_new_owner_need_not_wait_for_the_old_server_to_leave(server: EmbeddedPostgres) -> None:
    with owner([sys.executable, SCRIPT, str(server.data_dir)]) as process:
        said(process)
        process.kill()
        process.wait()
        with psycopg.connect(server.start()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_works_for_an_ordinary_user(tmp_path: Path) -> None:
    aside = tmp_path / "aside"
    aside.mkdir()
    with tempfile.TemporaryDirectory(prefix="pulse-nobody-") as folder:
        if os.geteuid() == 0:
            os.chown(folder, unprivileged.NOBODY, unprivileged.NOBODY)
        with owner(unprivileged.command(aside, SCRIPT, f"{folder}/pg")) as process:
            found = said(process)
            assert psutil.Process(found["pid"]).uids().real != 0
            with psycopg.connect(found["url"]) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            process.kill()
            process.wait()
            until_sync(lambda: not survivors(Path(folder, "pg", "cluster")), within_s=20, what="the server's end")


async def test_a_killed_postmaster_comes_back_and_nothing_committed_is_lost(server: EmbeddedPostgres) -> None:
    url = server.start()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE written (writer integer, n bigint, PRIMARY KEY (writer, n))")
    writers = [Writer(url, number) for number in range(3)]
    supervising = asyncio.create_task(server.supervise())
    try:
        for _ in range(3):
            await until(lambda: all(writer.since_connect > 20 for writer in writers), what="writing")
            pid = server.pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await until(lambda: server.pid not in (None, pid), what="a new postmaster")  # noqa: B023 - waited for here
            for writer in writers:
                writer.since_connect = 0
        await until(lambda: all(writer.since_connect > 20 for writer in writers), what="writing")
    finally:
        for writer in writers:
            await asyncio.to_thread(writer.end)
        supervising.cancel()
    assert server.url == url
    with psycopg.connect(url) as connection:
        rows = set(connection.execute("SELECT writer, n FROM written"))
    acknowledged = {(writer.number, n) for writer in writers for n in writer.acknowledged}
    assert len(acknowledged) > 200
    assert acknowledged <= rows


class Writer(threading.Thread):
    """Commits one row after the other and notes those whose commit was acknowledged; reconnects for ever."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.number = number
        self.acknowledged: list[int] = []
        self.since_connect = 0
        self._ending = threading.Event()
        self.start()

    def run(self) -> None:
        n = 0
        while not self._ending.is_set():
            try:
                with psycopg.connect(self.url, autocommit=True) as connection:
                    self.since_connect = 0
                    while not self._ending.is_set():
                        n += 1
                        connection.execute("INSERT INTO written VALUES (%s, %s)", (self.number, n))
                        self.acknowledged.append(n)
                        self.since_connect += 1
            except psycopg.Error:
                self._ending.wait(0.02)

    def end(self) -> None:
        self._ending.set()
        self.join()


async def test_a_backend_that_hangs_on_does_not_keep_the_server_down(server: EmbeddedPostgres) -> None:
    url = server.start()
    hanging = psycopg.connect(url, autocommit=True)
    backend = hanging.info.backend_pid
    os.kill(backend, signal.SIGSTOP)
    first = server.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    supervising = asyncio.create_task(server.supervise())
    await until(lambda: server.pid not in (None, first) and cluster.says_ready(server.cluster), what="the return")
    assert backend not in survivors(server.cluster)
    supervising.cancel()
    hanging.close()
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_interrupted_initdb_leaves_no_half_of_a_cluster(server: EmbeddedPostgres) -> None:
    with owner([sys.executable, SCRIPT, str(server.data_dir)]) as process:
        until_sync(
            lambda: list(server.data_dir.glob(f"{cluster.DRAFT}*/data/PG_VERSION")), every_s=0.001, what="initdb"
        )
        process.kill()
        process.wait()
    assert not server.cluster.exists()
    with psycopg.connect(server.start()) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert not list(server.data_dir.glob(f"{cluster.DRAFT}*"))


def test_a_failing_initdb_leaves_nothing(server: EmbeddedPostgres) -> None:
    def broken(data: Path, _password: Path) -> None:
        (data / "PG_VERSION").write_text("18\n")
        raise OSError("no space left on device")

    server.data_dir.mkdir()
    with pytest.raises(OSError, match="no space left"):
        cluster.create(server.cluster, None, broken)
    assert [path.name for path in server.data_dir.iterdir()] == ["password"]


def test_a_stale_pid_file_that_names_a_living_stranger(server: EmbeddedPostgres) -> None:
    server.start()
    lines = (server.cluster / "postmaster.pid").read_text().splitlines()
    server.stop()
    account = server.cluster.stat()
    whom = account.st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["/bin/sleep", "600"], cwd="/", user=whom) as stranger:
        try:
            cluster.write(server.cluster / "postmaster.pid", "\n".join([str(stranger.pid), *lines[1:]]), None)
            os.chown(server.cluster / "postmaster.pid", account.st_uid, account.st_gid)
            with psycopg.connect(server.start()) as connection:
                assert connection.execute("SELECT 1").fetchone() == (1,)
            assert stranger.poll() is None
        finally:
            stranger.kill()
