"""``pulse users``: people and programs that log in with a password."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from pulse_accounts.passwords import Passwords, demand_good
from pulse_core.principal import Role
from pulse_postgres.identity.users import Users
from pulse_server.cli.base import Session, escaped, json_option, out, pass_session, print_items
from pulse_server.cli.work import actor, checked, everything, on_database
from pulse_server.inputs import UserBody

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import asyncpg


@click.group()
def users() -> None:
    """Users: people and programs with a password.

    A password is asked for, or read from the first line of standard input; it never stands on the command line.
    """


@users.command("add")
@click.argument("username")
@click.option("--tenant", "tenant_id", help="Whose; none for an operator's.")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--email")
@pass_session
def add(session: Session, username: str, tenant_id: str | None, role: str, email: str | None) -> None:
    """Make a user."""
    wanted = checked(UserBody, username=username.lower(), tenant_id=tenant_id, role=role, email=email)
    hashed = _hashed(wanted.username)
    on_database(
        session.config(),
        lambda pool: Users(pool).add(
            wanted.username, wanted.role, hashed, tenant_id=wanted.tenant_id, email=wanted.email, actor=actor()
        ),
    )
    out.print(f"added {escaped(wanted.username)}")


@users.command("passwd")
@click.argument("username")
@pass_session
def passwd(session: Session, username: str) -> None:
    """Give a user another password, and end their sessions."""
    hashed = _hashed(username.lower())
    _change(session, lambda found: found.set_password(username.lower(), hashed, actor=actor()))
    out.print(f"{escaped(username)} has another password; sessions have ended")


@users.command("disable")
@click.argument("username")
@pass_session
def disable(session: Session, username: str) -> None:
    """Let a user in no more, and end their sessions."""
    _change(session, lambda found: found.disable(username.lower(), actor=actor()))
    out.print(f"{escaped(username)} may not log in; sessions have ended")


@users.command("enable")
@click.argument("username")
@pass_session
def enable(session: Session, username: str) -> None:
    """Let a user in again."""
    _change(session, lambda found: found.enable(username.lower(), actor=actor()))
    out.print(f"{escaped(username)} may log in")


@users.command("list")
@click.option("--tenant", "tenant_id")
@json_option
@pass_session
def show(session: Session, tenant_id: str | None, as_json: bool) -> None:
    """List users."""
    found = on_database(session.config(), lambda pool: everything(Users(pool).page, tenant_id=tenant_id))
    columns = ("tenant_id", "username", "role", "email", "last_login_at", "failed_logins", "disabled_at")
    empty = "no users: pulse users add NAME --role ROLE --tenant TENANT_ID"
    print_items(found, columns, as_json=as_json, empty=empty)


def _change(session: Session, change: Callable[[Users], Awaitable[None]]) -> None:
    async def work(pool: asyncpg.Pool[Any]) -> None:
        await change(Users(pool))

    on_database(session.config(), work)


def _hashed(username: str) -> str:
    """The hash of the password that is typed, or read. Raises WeakPassword."""
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    demand_good(password, username)
    return Passwords().hash(password)
