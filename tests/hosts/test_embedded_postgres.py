"""The embedded PostgreSQL as its owner sees it: it starts, keeps what it was told, and lets nobody in."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import psutil
import psycopg
import pytest

from pulse_core.errors import ConfigError, StoreUnavailable
from pulse_server.embedded import cluster
from pulse_server.embedded.launcher import EmbeddedPostgres, running_url
from pulse_server.embedded.survivors import survivors

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    made = EmbeddedPostgres(tmp_path / "pg")
    yield made
    made.stop()


def ask(url: str, query: str) -> object:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return row[0]


def over_tcp(server: EmbeddedPostgres, password: str) -> str:
    return f"postgresql://{cluster.SUPERUSER}:{password}@127.0.0.1:{server.port}/pulse"


def test_keeps_data_and_address_over_a_restart(server: EmbeddedPostgres) -> None:
    first = server.start()
    with psycopg.connect(first) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    server.stop()
    assert not server.running
    assert survivors(server.cluster) == []
    assert server.start() == first
    assert ask(first, "SELECT answer FROM kept") == 42


@pytest.mark.parametrize("name", ["fsync", "full_page_writes", "synchronous_commit"])
def test_nothing_acknowledged_is_at_risk(server: EmbeddedPostgres, name: str) -> None:
    assert ask(server.start(), f"SHOW {name}") == "on"


def test_nobody_gets_in_without_the_password(server: EmbeddedPostgres) -> None:
    url = server.start()
    password = (server.data_dir / "password").read_text()
    assert ask(over_tcp(server, password), "SELECT 1") == 1
    for wrong in (over_tcp(server, "wrong"), url.replace(password, "wrong")):
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(wrong)
    with psycopg.connect(url) as connection:
        methods = connection.execute("SELECT DISTINCT auth_method FROM pg_hba_file_rules").fetchall()
        assert methods == [("scram-sha-256",)]
        verifier = connection.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'postgres'").fetchone()
    assert verifier is not None
    assert verifier[0].startswith("SCRAM-SHA-256$")


def test_what_is_secret_is_private(server: EmbeddedPostgres) -> None:
    server.start()
    for name in ("password", "url", "owner.lock", "server.log", "port"):
        assert stat.S_IMODE((server.data_dir / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(server.data_dir.stat().st_mode) == 0o700
    assert stat.S_IMODE(server.cluster.stat().st_mode) == 0o700


def test_root_lends_an_account_and_opens_no_folder(tmp_path: Path, server: EmbeddedPostgres) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    inside = EmbeddedPostgres(closed / "deeper" / "pg")
    before = [folder.stat().st_mode for folder in (closed, tmp_path, *tmp_path.parents)]
    try:
        url = inside.start()
        assert ask(url, "SELECT 1") == 1
        runs_as = psutil.Process(inside.pid).uids().real
        assert runs_as != 0
        if os.geteuid() != 0:
            assert runs_as == os.geteuid()
        assert [folder.stat().st_mode for folder in (closed, tmp_path, *tmp_path.parents)] == before
    finally:
        inside.stop()


def test_one_owner_a_data_directory(server: EmbeddedPostgres) -> None:
    server.start()
    with pytest.raises(ConfigError, match=rf"pid {os.getpid()}\) runs the database"):
        EmbeddedPostgres(server.data_dir).start()
    assert ask(server.url, "SELECT 1") == 1


def test_others_find_the_running_server(server: EmbeddedPostgres) -> None:
    assert running_url(server.data_dir) is None
    url = server.start()
    assert running_url(server.data_dir) == url
    server.stop()
    assert running_url(server.data_dir) is None


def test_a_taken_port_moves_to_another(server: EmbeddedPostgres) -> None:
    server.start()
    port = server.port
    server.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert ask(server.start(), "SELECT 1") == 1
        assert server.port != port


def test_a_path_too_long_for_a_socket(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25) / "pg"
    server = EmbeddedPostgres(folder)
    try:
        url = server.start()
        assert ask(url, "SELECT 1") == 1
        place = parse_qs(urlsplit(url).query)["host"][0]
        assert len(place) < 90
    finally:
        server.stop()
    assert not Path(place).exists()


def test_a_server_that_cannot_start_says_why(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    own = server.cluster / "postgresql.conf"
    own.write_text(own.read_text() + "shared_buffers = '999999TB'\n")
    with pytest.raises(StoreUnavailable, match="shared_buffers"):
        server.start()
    assert survivors(server.cluster) == []
    own.write_text("include 'pulse.conf'\nwork_mem = '3MB'\n")
    assert ask(server.start(), "SHOW work_mem") == "3MB"


def test_a_cluster_that_is_not_ours_to_run(server: EmbeddedPostgres) -> None:
    server.start()
    server.stop()
    (server.cluster / "PG_VERSION").write_text("15\n")
    with pytest.raises(ConfigError, match="made by PostgreSQL 15"):
        server.start()
    (server.cluster / "PG_VERSION").write_text("18\n")
    (server.data_dir / "password").unlink()
    with pytest.raises(ConfigError, match="password is gone"):
        server.start()
