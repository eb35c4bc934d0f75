"""``pulse tenants``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, get_args

import click

from pulse_core.device_connections import StaleOnDisconnect
from pulse_core.plugins import load_plugins
from pulse_core.principal import Role
from pulse_postgres.identity.users import Users
from pulse_postgres.provisioning import Provisioning
from pulse_postgres.reader_logins import sweep
from pulse_postgres.tenants import Tenants
from pulse_server.cli.base import Session, err, escaped, json_option, out, pass_session, print_items
from pulse_server.cli.work import actor, checked, everything, on_database
from pulse_server.database import database
from pulse_server.inputs import TenantBody, UserBody
from pulse_server.new_passwords import NewPassword, NewPasswords
from pulse_server.secret_key import secret_keys
from pulse_server.telemetry import opened

if TYPE_CHECKING:
    import asyncpg

    from pulse_core.plugin_set import Plugins


@click.group()
def tenants() -> None:
    """Tenants: who shares the platform without seeing each other."""


@tenants.command("add")
@click.argument("tenant_id")
@click.option("--name", default="", help="For people.")
@click.option("--stale-after", type=float, help="Seconds of silence after which its devices are STALE.")
@click.option(
    "--stale-on-disconnect",
    type=click.Choice(get_args(StaleOnDisconnect)),
    default="never",
    show_default=True,
    help="Whether its devices are STALE as soon as they have disconnected: when they were lost, or always.",
)
@click.option("--admin", "username", help="Its first user, a customer_admin; the password is made up and printed once.")
@pass_session
def add(
    session: Session,
    tenant_id: str,
    name: str,
    stale_after: float | None,
    stale_on_disconnect: str,
    username: str | None,
) -> None:
    """Make a tenant with all that it needs."""
    config = session.config()
    wanted = checked(
        TenantBody,
        tenant_id=tenant_id,
        name=name,
        stale_after_s=stale_after,
        stale_on_disconnect=stale_on_disconnect,
    )
    first = None
    if username is not None:
        role = Role.CUSTOMER_ADMIN
        first = checked(UserBody, username=username.lower(), tenant_id=wanted.tenant_id, role=role)
    password = asyncio.run(NewPasswords(config).make(first.username, None)) if first else None
    on_database(config, lambda pool: _made(pool, load_plugins(config), wanted, first, password))
    out.print(f"made tenant {wanted.tenant_id}")
    if first and password:
        err.print(f"and {escaped(first.username)}, whose password is not shown again:")
        click.echo(password.initial)


@tenants.command("list")
@json_option
@pass_session
def show(session: Session, as_json: bool) -> None:
    """List the tenants."""
    found = on_database(session.config(), lambda pool: everything(Provisioning(pool).tenants))
    columns = ("tenant_id", "name", "status", "stale_after_s", "stale_on_disconnect", "created_at")
    empty = "no tenants yet: pulse tenants add TENANT_ID"
    print_items(found, columns, as_json=as_json, empty=empty)


@tenants.command("suspend")
@click.argument("tenant_id")
@pass_session
def suspend(session: Session, tenant_id: str) -> None:
    """Shut its devices, people and programs out, within 5 s."""
    _set_status(session, tenant_id, "SUSPENDED")
    out.print(f"{escaped(tenant_id)} is shut out; nothing is lost: pulse tenants resume")


@tenants.command("resume")
@click.argument("tenant_id")
@pass_session
def resume(session: Session, tenant_id: str) -> None:
    """Let a suspended tenant in again."""
    _set_status(session, tenant_id, "ACTIVE")
    out.print(f"{escaped(tenant_id)} is let in again")


@tenants.command("remove")
@click.argument("tenant_id")
@click.option("--confirm", metavar="TENANT_ID", help="Its id once more; without it you are asked.")
@pass_session
def remove(session: Session, tenant_id: str, confirm: str | None) -> None:
    """Remove a suspended tenant with all its data, for good."""
    if confirm is None:
        confirm = click.prompt(f"All that {tenant_id} has will be gone. Type its id to go on", err=True)
    if confirm != tenant_id:
        raise click.UsageError("that is not its id: nothing was removed")
    config = session.config()
    with database(config) as url:
        readings = on_database(config, lambda pool: _removed(pool, load_plugins(config), tenant_id))
        sweep(url, *secret_keys(config))
    out.print(f"removed {escaped(tenant_id)}, with {readings} readings")


async def _made(
    pool: asyncpg.Pool[Any],
    plugins: Plugins,
    wanted: TenantBody,
    first: UserBody | None,
    password: NewPassword | None,
) -> None:
    users = Users(pool)
    if first and not await users.missing([first.username]):
        raise click.UsageError(f"there is a user {first.username!r} already: no tenant was made")
    async with opened(plugins, pool) as store:
        await Provisioning(pool, store).create_tenant(**wanted.model_dump(), actor=actor())
    if first and password:
        await users.add(first.username, first.role, password.hashed, tenant_id=first.tenant_id, actor=actor())


def _set_status(session: Session, tenant_id: str, status: str) -> None:
    config = session.config()
    on_database(config, lambda pool: _changed(pool, load_plugins(config), tenant_id, status))


async def _changed(pool: asyncpg.Pool[Any], plugins: Plugins, tenant_id: str, status: str) -> None:
    async with opened(plugins, pool) as store:
        await Tenants(pool, store).change(tenant_id, {"status": status}, actor=actor())


async def _removed(pool: asyncpg.Pool[Any], plugins: Plugins, tenant_id: str) -> int:
    async with opened(plugins, pool) as store:
        return await Tenants(pool, store).remove(tenant_id, actor=actor())
