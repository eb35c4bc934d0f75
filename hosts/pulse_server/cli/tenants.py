"""``pulse tenants``."""

from __future__ import annotations

import click

from pulse_postgres.provisioning import Provisioning
from pulse_server.cli.base import Session, json_option, out, pass_session, print_items
from pulse_server.cli.work import actor, checked, everything, on_database
from pulse_server.inputs import TenantBody


@click.group()
def tenants() -> None:
    """Tenants: who shares the platform without seeing each other."""


@tenants.command("add")
@click.argument("tenant_id")
@click.option("--name", default="", help="For people.")
@click.option("--stale-after", type=float, help="Seconds of silence after which its devices are STALE.")
@pass_session
def add(session: Session, tenant_id: str, name: str, stale_after: float | None) -> None:
    """Make a tenant."""
    wanted = checked(TenantBody, tenant_id=tenant_id, name=name, stale_after_s=stale_after)
    on_database(
        session.config(),
        lambda pool: Provisioning(pool).create_tenant(
            wanted.tenant_id, name=wanted.name, stale_after_s=wanted.stale_after_s, actor=actor()
        ),
    )
    out.print(f"made tenant {wanted.tenant_id}")


@tenants.command("list")
@json_option
@pass_session
def show(session: Session, as_json: bool) -> None:
    """List the tenants."""
    found = on_database(session.config(), lambda pool: everything(Provisioning(pool).tenants))
    columns = ("tenant_id", "name", "status", "stale_after_s", "created_at")
    empty = "no tenants yet: pulse tenants add TENANT_ID"
    print_items(found, columns, as_json=as_json, empty=empty)
