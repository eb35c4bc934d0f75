"""``pulse readers``: logins with which a tenant's own tools (Grafana, a notebook) read its data by SQL."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import TYPE_CHECKING, Any

import click

from pulse_postgres.reader_logins import address, existing_logins, make_login, sweep
from pulse_postgres.readers import Readers
from pulse_server.cli.base import Session, err, escaped, json_option, out, pass_session, print_items, print_json
from pulse_server.cli.work import actor, on_database
from pulse_server.database import database
from pulse_server.secret_key import secret_keys

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def _a_name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not _NAME.fullmatch(value):
        raise click.BadParameter("a letter, then letters, digits and _, 32 at the most, all small")
    return value


_name_option = click.option("--name", required=True, callback=_a_name, help="What for: grafana, say.")


@click.group()
def readers() -> None:
    """Readers: logins with which a tenant's own tools read its data by SQL, and nobody else's."""


@readers.command("add")
@click.argument("tenant_id")
@_name_option
@json_option
@pass_session
def add(session: Session, tenant_id: str, name: str, as_json: bool) -> None:
    """Make a login that reads this tenant's data, and print its password, this once."""

    def work(made: Readers, make: Callable[[str], Awaitable[None]]) -> Awaitable[str]:
        return made.add(tenant_id, name, make, actor=actor())

    _give(session, work, as_json)


@readers.command("password")
@click.argument("tenant_id")
@_name_option
@json_option
@pass_session
def password(session: Session, tenant_id: str, name: str, as_json: bool) -> None:
    """Give a login another password, and print it, this once; after a restore, make the login again."""

    def work(made: Readers, make: Callable[[str], Awaitable[None]]) -> Awaitable[str]:
        return made.renewing(tenant_id, name, make, actor=actor())

    _give(session, work, as_json)


@readers.command("list")
@click.option("--tenant", "tenant_id", help="Of this one only.")
@json_option
@pass_session
def show(session: Session, tenant_id: str | None, as_json: bool) -> None:
    """List the logins, not their passwords."""
    config = session.config()
    with database(config) as url:
        found = on_database(config, lambda pool: Readers(pool).all(tenant_id))
        existing = existing_logins(url)
    items = [{**each, "can_log_in": each["login"] in existing} for each in found]
    columns = ("tenant_id", "name", "login", "can_log_in", "active", "created_at", "created_by")
    print_items(items, columns, empty="no readers: pulse readers add TENANT_ID --name grafana", as_json=as_json)


@readers.command("remove")
@click.argument("tenant_id")
@_name_option
@pass_session
def remove(session: Session, tenant_id: str, name: str) -> None:
    """Remove a login and end its connections."""
    config = session.config()
    with database(config) as url:
        on_database(config, lambda pool: Readers(pool).remove(tenant_id, name, actor=actor()))
        sweep(url, *secret_keys(config))
    out.print(f"removed {escaped(tenant_id)}/{name}")


def _give(
    session: Session, work: Callable[[Readers, Callable[[str], Awaitable[None]]], Awaitable[str]], as_json: bool
) -> None:
    """Make a login with a fresh password, and say where it connects to."""
    config = session.config()
    made_up = secrets.token_urlsafe(32)
    with database(config) as url:

        async def make(login: str) -> None:
            await asyncio.to_thread(make_login, url, login, made_up)

        login = on_database(config, lambda pool: work(Readers(pool), make))
        facts: dict[str, Any] = {**address(url), "user": login}
    if as_json:
        print_json({**facts, "password": made_up})
        return
    err.print(" ".join(f"{key} {escaped(value)}" for key, value in facts.items()), soft_wrap=True)
    err.print("its password, which is not shown again:")
    click.echo(made_up)
