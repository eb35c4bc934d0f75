"""``pulse tokens``: how programs prove who they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pulse_core.principal import Role
from pulse_postgres.identity.api_tokens import ApiTokens
from pulse_server.cli.base import Session, err, escaped, json_option, out, pass_session, print_items
from pulse_server.cli.work import actor, checked, everything, on_database
from pulse_server.inputs import TokenBody

if TYPE_CHECKING:
    import uuid


@click.group()
def tokens() -> None:
    """API tokens: how programs prove who they are."""


@tokens.command("add")
@click.option("--tenant", "tenant_id", help="Whose; none for an operator's.")
@click.option("--role", type=click.Choice([role.value for role in Role]), required=True)
@click.option("--name", required=True, help="What for: the audit log names it.")
@click.option("--days", type=int, default=90, show_default=True, help="It expires after so many.")
@pass_session
def add(session: Session, tenant_id: str | None, role: str, name: str, days: int) -> None:
    """Mint a token and print it, this once."""
    wanted = checked(TokenBody, tenant_id=tenant_id, role=role, name=name, days=days)
    minted = on_database(
        session.config(),
        lambda pool: ApiTokens(pool).create(
            wanted.name, wanted.role, tenant_id=wanted.tenant_id, days=wanted.days, actor=actor()
        ),
    )
    err.print(f"token {minted.token_id}, good until {minted.expires_at:%Y-%m-%d %H:%M} UTC; it is not shown again:")
    click.echo(minted.token)


@tokens.command("list")
@click.option("--tenant", "tenant_id")
@json_option
@pass_session
def show(session: Session, tenant_id: str | None, as_json: bool) -> None:
    """List tokens, not what they are."""
    found = on_database(session.config(), lambda pool: everything(ApiTokens(pool).page, tenant_id=tenant_id))
    columns = ("tenant_id", "token_id", "name", "role", "expires_at", "last_used_at", "revoked_at")
    print_items(
        found, columns, empty="no tokens: pulse tokens add --tenant TENANT_ID --role ROLE --name NAME", as_json=as_json
    )


@tokens.command("revoke")
@click.argument("token_id", type=click.UUID)
@pass_session
def revoke(session: Session, token_id: uuid.UUID) -> None:
    """End a token for good."""
    name = on_database(session.config(), lambda pool: ApiTokens(pool).revoke(token_id, actor=actor()))
    out.print(f"revoked {escaped(name)}")
