"""Migrations as an operator meets them: run once, again, at once, interrupted, from the future, and back."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from pulse_core.errors import ConfigError, SchemaError, StoreUnavailable
from pulse_postgres import migrate as migrations
from pulse_postgres import schema
from pulse_postgres.migrate import check_schema, judge, known_ids, migrate, migrations_dir, roll_back
from pulse_postgres.roles import OWNER, role_dsn, with_account
from pulse_server.embedded.launcher import EmbeddedPostgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.database import Database, PostgresServer

KEY = "another secret key of 32 characters and more"


@pytest.fixture
def empty(postgres: PostgresServer) -> Iterator[Database]:
    postgres.fresh().drop()
    made = postgres.empty()
    yield made
    made.drop()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[EmbeddedPostgres]:
    """A server whose roles and passwords are this test's alone."""
    server = EmbeddedPostgres(tmp_path / "pg")
    server.start()
    yield server
    server.stop()


def relations(database: Database) -> set[str]:
    with database.superuser() as connection:
        rows = connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        return {str(row[0]) for row in rows}


async def test_applies_once_and_then_nothing(empty: Database) -> None:
    assert migrate(empty.url, empty.secret_key) == known_ids()
    assert migrate(empty.url, empty.secret_key) == []
    await check_schema(empty.dsn("pulse_web"))
    with empty.superuser() as connection:
        owners = connection.execute(
            "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        ).fetchall()
    assert owners == [(OWNER,)]


async def test_several_at_once_apply_it_once(postgres: PostgresServer) -> None:
    databases = [postgres.empty(), postgres.empty()]
    try:
        with ThreadPoolExecutor(6) as threads:
            running = [threads.submit(migrate, each.url, each.secret_key) for each in databases * 3]
            applied = [name for work in running for name in work.result()]
        assert sorted(applied) == sorted(known_ids() * 2)
        for each in databases:
            await check_schema(each.dsn("pulse_pipeline"))
    finally:
        for each in databases:
            each.drop()


def test_others_on_the_server_get_no_further_than_its_door(own_server: EmbeddedPostgres) -> None:
    migrate(own_server.url, KEY)
    with psycopg.connect(own_server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE stranger LOGIN PASSWORD 'x'")
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        psycopg.connect(with_account(own_server.url, "stranger", "x"))
    with (
        psycopg.connect(role_dsn(own_server.url, "pulse_web", KEY)) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("CREATE TEMPORARY TABLE mine (n integer)")


@pytest.mark.parametrize("role", ["pulse_web", "pulse_pipeline", "pulse_deliver", "pulse_auth"])
async def test_every_role_can_check_the_schema(database: Database, role: str) -> None:
    await check_schema(database.dsn(role))


async def test_an_empty_database_is_refused(empty: Database) -> None:
    with pytest.raises(SchemaError, match="empty: run `pulse migrate`"):
        await check_schema(empty.dsn("pulse_web"))


async def test_a_database_that_does_not_exist_is_refused(database: Database) -> None:
    with pytest.raises(SchemaError, match="run `pulse migrate`"):
        await check_schema(database.dsn("pulse_web").replace(database.name, "nowhere"))


async def test_another_secret_key_is_told_as_such(database: Database) -> None:
    with pytest.raises(SchemaError, match="run `pulse migrate` with this secret_key"):
        await check_schema(role_dsn(database.url, "pulse_web", KEY))


async def test_a_newer_schema_is_refused(database: Database) -> None:
    with database.superuser() as connection:
        connection.execute("INSERT INTO _yoyo_migrations VALUES ('x', '0999_from_the_future', now())")
    with pytest.raises(SchemaError, match=r"newer program \(it has 0999_from_the_future\)"):
        await check_schema(database.dsn("pulse_web"))
    with pytest.raises(SchemaError, match="newer program"):
        migrate(database.url, database.secret_key)


async def test_a_half_migrated_schema_is_refused_then_completed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = tmp_path / "migrations"
    shutil.copytree(migrations_dir(), more)
    (more / "0900_more.sql").write_text("CREATE TABLE more (n integer)")
    for module in (schema, migrations):
        monkeypatch.setattr(module, "migrations_dir", lambda: more)
    with pytest.raises(SchemaError, match=r"half-migrated \(missing: 0900_more\): run `pulse migrate`"):
        await check_schema(database.dsn("pulse_web"))
    assert migrate(database.url, database.secret_key) == ["0900_more"]
    await check_schema(database.dsn("pulse_web"))


def test_a_failing_migration_leaves_nothing_of_itself(empty: Database, tmp_path: Path) -> None:
    (tmp_path / "0001_half.sql").write_text("CREATE TABLE half (n integer);\nCREATE TABLE half (n integer);")
    with pytest.raises(psycopg.errors.DuplicateTable):
        migrate(empty.url, empty.secret_key, directory=tmp_path)
    assert "half" not in relations(empty)
    (tmp_path / "0001_half.sql").write_text("CREATE TABLE half (n integer);")
    assert migrate(empty.url, empty.secret_key, directory=tmp_path) == ["0001_half"]


def test_a_migrator_that_dies_after_its_commit_is_not_run_again(
    empty: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(migrations._Backend, "log_migration", die)
        with pytest.raises(KeyboardInterrupt):
            migrate(empty.url, empty.secret_key)
    assert "tenants" in relations(empty)
    migrate(empty.url, empty.secret_key)
    with empty.superuser() as connection:
        noted = connection.execute("SELECT migration_id FROM _yoyo_migrations ORDER BY 1").fetchall()
    assert [name for (name,) in noted] == known_ids()


async def test_rolls_back_to_nothing_and_forward_again(database: Database) -> None:
    assert roll_back(database.url, database.secret_key) == known_ids()[::-1]
    assert {name for name in relations(database) if "yoyo" not in name} == set()
    with database.superuser() as connection:
        functions = connection.execute("SELECT proname FROM pg_proc WHERE pronamespace = 'public'::regnamespace")
        assert functions.fetchall() == []
    assert migrate(database.url, database.secret_key) == known_ids()
    await check_schema(database.dsn("pulse_web"))


def test_an_installer_need_not_be_a_superuser(own_server: EmbeddedPostgres) -> None:
    with psycopg.connect(own_server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE installer LOGIN CREATEROLE PASSWORD 'of the installer'")
        connection.execute("ALTER DATABASE pulse OWNER TO installer")
    url = with_account(own_server.url, "installer", "of the installer")
    assert migrate(url, KEY) == known_ids()
    assert migrate(url, KEY) == []
    over_tcp = f"postgresql://installer:of%20the%20installer@127.0.0.1:{own_server.port}/pulse?sslmode=disable"
    assert migrate(over_tcp, KEY) == []
    with psycopg.connect(role_dsn(over_tcp, "pulse_web", KEY)) as connection:
        assert connection.execute("SELECT count(*) FROM tenants").fetchone() == (0,)


def test_an_installer_without_the_right_is_told_which(own_server: EmbeddedPostgres) -> None:
    with psycopg.connect(own_server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE weak LOGIN PASSWORD 'weak'")
        connection.execute("CREATE ROLE guest LOGIN CREATEROLE PASSWORD 'guest'")
    with pytest.raises(ConfigError, match="give it CREATEROLE"):
        migrate(with_account(own_server.url, "weak", "weak"), KEY)
    with pytest.raises(ConfigError, match="must own the database pulse"):
        migrate(with_account(own_server.url, "guest", "guest"), KEY)


async def test_a_server_that_is_away_is_not_called_a_wrong_schema() -> None:
    away = "postgresql://postgres:x@127.0.0.1:1/pulse"
    with pytest.raises(StoreUnavailable):
        migrate(away, KEY)
    with pytest.raises(StoreUnavailable):
        await check_schema(away)


@pytest.mark.parametrize("change", [("postgres:", "nobody:"), ("/pulse?", "/nowhere?"), ("?", "?nonsense=1&")])
def test_a_wrong_database_url_is_named(postgres: PostgresServer, change: tuple[str, str]) -> None:
    with pytest.raises(ConfigError, match="database_url: "):
        migrate(postgres.url.replace(*change, 1), KEY)


@pytest.mark.parametrize(
    ("applied", "known", "text"),
    [
        (None, ["1"], "empty"),
        ([], ["1"], "empty"),
        (["1"], ["1", "2"], "half-migrated"),
        (["1", "3"], ["1", "2"], "newer"),
        (["2"], ["1", "2"], "half-migrated"),
    ],
)
def test_judges_what_is_applied(applied: list[str] | None, known: list[str], text: str) -> None:
    with pytest.raises(SchemaError, match=text):
        judge(applied, known)


def test_is_content_with_what_it_knows() -> None:
    judge(["2", "1"], ["1", "2"])
