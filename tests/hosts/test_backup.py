"""Backups: whole or not there, private, and brought back as they were or refused with nothing left behind."""

from __future__ import annotations

import io
import json
import os
import stat
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import msgspec
import psycopg
import pytest
from psycopg import sql

from pulse_core.secrets import SecretBox
from pulse_postgres.accounts import ROLES, role_dsn
from pulse_server.backup import save
from pulse_server.backup.archive import DATABASE, MANIFEST, SUMS, Draft
from pulse_server.embedded import EmbeddedPostgres, lock
from support import two_tenants
from support.command_line import Pulse, command_line, ok
from support.database import SECRET_KEY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.database import Database, PostgresServer

KEY = "5ca1ab1e0ddba11f005eedfacade0ff15ca1ab1e0ddba11f005eedfacade0ff1"
_TABLES = """
    SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
    AND NOT relispartition ORDER BY 1
"""
_RULES = """
    SELECT 'policy', tablename::text, policyname::text, roles::text, cmd, qual, with_check FROM pg_policies UNION ALL
    SELECT 'right', relname::text, relacl::text, pg_get_userbyid(relowner)::text, relrowsecurity::text,
        relforcerowsecurity::text, '' FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind <> 'i'
    UNION ALL
    SELECT 'column', attrelid::regclass::text, attname::text, attacl::text, '', '', '' FROM pg_attribute
    WHERE attacl IS NOT NULL AND attrelid >= 16384 UNION ALL
    SELECT 'function', proname::text, proacl::text, proconfig::text, prosecdef::text, prosrc, '' FROM pg_proc
    WHERE pronamespace = 'public'::regnamespace UNION ALL
    SELECT 'schema', nspname::text, nspacl::text, pg_get_userbyid(nspowner)::text, '', '', ''
    FROM pg_namespace WHERE nspname = 'public'
"""


@pytest.fixture(scope="module")
def source(postgres: PostgresServer) -> Iterator[Database]:
    made = postgres.fresh()
    two_tenants.fill(made)
    with made.superuser() as hand:
        hand.execute("UPDATE integrations SET secrets = %s", (SecretBox(SECRET_KEY).seal({"secret": "whsec_deep"}),))
    yield made
    made.drop()


@pytest.fixture(scope="module")
def backup(source: Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup without the key."""
    path = tmp_path_factory.mktemp("backup") / "pulse.backup"
    save(source.url, path, keys=[SECRET_KEY], with_key=False, readings=True, force=False, told=lambda done, total: None)
    return path


@pytest.fixture
def pulse(source: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    monkeypatch.setenv("PULSE_DATA_DIR", str(tmp_path / "data"))
    return command_line(monkeypatch, tmp_path, source)


@pytest.fixture
def embedded(pulse: Pulse, monkeypatch: pytest.MonkeyPatch) -> Pulse:
    """``pulse`` with a data_dir of its own and nothing in it."""
    monkeypatch.delenv("PULSE_DATABASE_URL")
    return pulse


def everything(url: str) -> dict[str, list[Any]]:
    """All rows of all tables, and all rules about them."""
    with psycopg.connect(url) as connection:
        names = [row[0] for row in connection.execute(_TABLES)]
        found: dict[str, list[Any]] = {
            name: connection.execute(
                sql.SQL("SELECT t::text FROM {} t ORDER BY 1").format(sql.Identifier(name))
            ).fetchall()
            for name in names
        }
        return {**found, "(rules)": sorted(map(str, connection.execute(_RULES)))}


def left(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir()) if folder.exists() else []


# Writing


def test_is_private_and_says_what_it_lacks(pulse: Pulse, tmp_path: Path) -> None:
    said = " ".join(ok(pulse("backup", "here.backup")).split())
    assert "the secret key is NOT in it" in said
    path = tmp_path / "here.backup"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert SECRET_KEY.encode() not in path.read_bytes()
    assert left(tmp_path) == ["here.backup"]
    subprocess.run(["tar", "xf", path], cwd=tmp_path, check=True)
    subprocess.run(["sha256sum", "--strict", "-c", SUMS], cwd=tmp_path, check=True, stdout=subprocess.DEVNULL)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    assert manifest["schema"][-1] >= "0020"
    assert manifest["has_key"] is False


def test_replaces_nothing_unless_told_to(pulse: Pulse, tmp_path: Path) -> None:
    path = tmp_path / "here.backup"
    path.write_text("precious")
    refused = pulse("backup", "here.backup")
    assert (refused.exit_code != 0, "--force" in refused.output) == (True, True)
    assert path.read_text() == "precious"
    ok(pulse("backup", "here.backup", "--force"))
    assert tarfile.is_tarfile(path)


def test_one_that_fails_leaves_what_was_there(
    pulse: Pulse, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, empty: Database
) -> None:
    assert "no such" in pulse("backup", "nowhere/here.backup").output.lower()
    (tmp_path / "here.backup").write_text("precious")
    with monkeypatch.context() as patched:
        patched.setattr("pulse_server.backup.programs._found", lambda _: "/bin/false")
        assert "pg_dump failed" in pulse("backup", "here.backup", "--force").output
    monkeypatch.setenv("PULSE_DATABASE_URL", empty.url)
    assert "the database is empty" in pulse("backup", "here.backup", "--force").output
    assert (tmp_path / "here.backup").read_text() == "precious"
    assert left(tmp_path) == ["here.backup"]


def test_an_account_that_sees_only_some_rows_writes_none(
    pulse: Pulse, source: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSE_DATABASE_URL", source.dsn("pulse_owner"))
    assert "row-level security" in pulse("backup", "here.backup").output
    assert left(tmp_path) == []


@pytest.fixture
def empty(postgres: PostgresServer) -> Iterator[Database]:
    made = postgres.empty()
    yield made
    made.drop()


# Bringing back


def test_everything_comes_back_as_it_was(
    pulse: Pulse, backup: Path, source: Database, empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULSE_DATABASE_URL", empty.url)
    said = ok(pulse("restore", str(backup)))
    assert "pulse readers password tenant-a --name grafana" in said
    wanted, found = everything(source.url), everything(empty.url)
    assert len(wanted) > 25
    assert found == wanted
    for role in ROLES:
        with psycopg.connect(role_dsn(empty.url, role, SECRET_KEY)) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)
    again = pulse("restore", str(backup), "--force")
    assert "not empty" in again.output
    assert everything(empty.url) == wanted


def test_into_a_data_dir_and_what_was_there_moves_aside(embedded: Pulse, backup: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    before = data / "postgres" / "cluster" / "PG_VERSION"
    before.parent.mkdir(parents=True)
    before.write_text("18")
    assert "--force moves it aside" in embedded("restore", str(backup)).output
    held = lock.take(data / "postgres")
    assert "another process" in embedded("restore", str(backup), "--force").output
    os.close(held)
    assert before.exists()
    assert "before-restore" in ok(embedded("restore", str(backup), "--force"))
    now, aside = sorted(data.iterdir())
    assert (aside / "cluster" / "PG_VERSION").read_text() == "18"
    server = EmbeddedPostgres(now)
    try:
        with psycopg.connect(server.start()) as connection:
            row = connection.execute("SELECT secrets FROM integrations LIMIT 1").fetchone()
            assert row
            assert SecretBox(SECRET_KEY).open(row[0]) == {"secret": "whsec_deep"}
    finally:
        server.stop()


# Refused


CUT = (0.0, 0.0005, 0.3, 0.97, 0.995)


@pytest.mark.parametrize("where", CUT)
def test_a_file_that_was_cut_off_is_refused_and_leaves_nothing(
    embedded: Pulse, backup: Path, tmp_path: Path, where: float
) -> None:
    whole = backup.read_bytes().rstrip(b"\0")
    (tmp_path / "cut").write_bytes(whole[: int(len(whole) * where)])
    refused(embedded, tmp_path)


@pytest.mark.parametrize("member", [DATABASE, MANIFEST, SUMS])
def test_a_changed_byte_is_noticed(embedded: Pulse, backup: Path, tmp_path: Path, member: str) -> None:
    changed = bytearray(backup.read_bytes())
    with tarfile.open(backup) as tar:
        place = tar.getmember(member).offset_data + 30
    changed[place] ^= 1
    (tmp_path / "cut").write_bytes(changed)
    refused(embedded, tmp_path)


def refused(pulse: Pulse, folder: Path) -> None:
    said = pulse("restore", "cut")
    assert said.exit_code == 78
    assert "nothing was restored" in said.output
    assert left(folder) == ["cut"]


def test_what_is_no_backup_is_refused(embedded: Pulse, tmp_path: Path) -> None:
    assert "there is no missing" in embedded("restore", "missing").output
    (tmp_path / "text").write_text("text" * 1000)
    assert "no backup" in embedded("restore", "text").output
    with tarfile.open(tmp_path / "other", "w") as tar:
        tar.addfile(tarfile.TarInfo("../../etc/passwd"))
    assert "not a whole backup" in embedded("restore", "other").output
    assert left(tmp_path) == ["other", "text"]


def made(path: Path, backup: Path, dump: bytes | None = None, **changes: Any) -> None:
    """A whole backup with another dump or manifest."""
    with tarfile.open(backup) as tar:
        manifest = json.loads(tar.extractfile(MANIFEST).read())  # type: ignore[union-attr]
        dump = dump if dump is not None else tar.extractfile(DATABASE).read()  # type: ignore[union-attr]
    file = io.BytesIO()
    draft = Draft(file)
    _, digest = draft.add(DATABASE, [dump])
    draft.add(MANIFEST, [msgspec.json.encode({**manifest, "database_sha256": digest, **changes})])
    draft.finish()
    path.write_bytes(file.getvalue())


def test_one_of_a_newer_program_is_refused(embedded: Pulse, backup: Path, tmp_path: Path) -> None:
    made(tmp_path / "newer", backup, schema=["0001_spine", "9999_later"], version="9.9")
    said = embedded("restore", "newer").output
    assert "version 9.9" in said
    assert "9999_later" in said
    made(tmp_path / "other", backup, format=2)
    assert "another kind" in embedded("restore", "other").output
    assert left(tmp_path) == ["newer", "other"]


def test_a_dump_that_cannot_be_loaded_leaves_nothing(embedded: Pulse, backup: Path, tmp_path: Path) -> None:
    with tarfile.open(backup) as tar:
        dump = tar.extractfile(DATABASE).read()  # type: ignore[union-attr]
    made(tmp_path / "half", backup, dump=dump[: len(dump) // 2])
    assert "pg_restore failed" in embedded("restore", "half").output
    assert left(tmp_path / "data") == []


def test_without_its_key_it_is_not_restored_by_mistake(
    embedded: Pulse, backup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PULSE_SECRET_KEY")
    assert "cannot be read without its secret key" in embedded("restore", str(backup)).output
    monkeypatch.setenv("PULSE_SECRET_KEY", KEY)
    said = embedded("restore", str(backup)).output
    assert "--without-key" in said
    assert SECRET_KEY not in said
    assert left(tmp_path) == []


def test_a_configured_key_that_no_file_can_hold_is_not_put_in(pulse: Pulse, tmp_path: Path) -> None:
    assert "cannot stand in a key file" in pulse("backup", "here.backup", "--with-key").output
    assert left(tmp_path) == []
