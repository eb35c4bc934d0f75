"""``pulse devices``: the registry, activation and tokens."""

from __future__ import annotations

import click

from pulse_postgres.provisioning import Activation, Provisioning
from pulse_server.cli.base import Session, err, json_option, out, pass_session, print_items
from pulse_server.cli.work import actor, checked, everything, on_database
from pulse_server.inputs import ActivateBody, DeviceBody, DeviceQuery, RotateBody


@click.group()
def devices() -> None:
    """Devices: register, activate, revoke."""


@devices.command("add")
@click.argument("tenant_id")
@click.argument("device_id")
@click.option("--site", "site_id", required=True, help="Where it stands; every message must say the same.")
@click.option("--name", default="", help="For people.")
@click.option("--stale-after", type=float, help="Seconds of silence after which it is STALE.")
@pass_session
def add(session: Session, tenant_id: str, device_id: str, site_id: str, name: str, stale_after: float | None) -> None:
    """Register a device. It gets its token by activation: pulse devices code, then activate."""
    wanted = checked(
        DeviceBody,
        tenant_id=tenant_id,
        device_id=device_id,
        site_id=site_id,
        name=name,
        stale_after_s=stale_after,
    )
    on_database(session.config(), lambda pool: Provisioning(pool).create_device(**wanted.model_dump(), actor=actor()))
    out.print(f"registered {tenant_id}/{device_id}; next: pulse devices code {tenant_id} {device_id}")


@devices.command("list")
@click.option("--tenant", "tenant_id")
@click.option("--site", "site_id")
@click.option("--status", help="ONLINE, STALE, UNKNOWN or REVOKED.")
@json_option
@pass_session
def show(session: Session, tenant_id: str | None, site_id: str | None, status: str | None, as_json: bool) -> None:
    """List devices and how they are doing."""
    asked = checked(DeviceQuery, tenant_id=tenant_id, site_id=site_id, status=status)
    found = on_database(
        session.config(),
        lambda pool: everything(
            Provisioning(pool).devices, tenant_id=asked.tenant_id, site_id=asked.site_id, status=asked.status
        ),
    )
    columns = ("tenant_id", "device_id", "site_id", "status", "activated", "last_seen_at", "name")
    print_items(
        found, columns, empty="no devices: pulse devices add TENANT_ID DEVICE_ID --site SITE_ID", as_json=as_json
    )


@devices.command("code")
@click.argument("tenant_id")
@click.argument("device_id")
@pass_session
def code(session: Session, tenant_id: str, device_id: str) -> None:
    """Make a one-time activation code, good for 60 minutes."""
    made = on_database(
        session.config(), lambda pool: Provisioning(pool).create_code(tenant_id, device_id, actor=actor())
    )
    err.print(f"good until {made.expires_at:%Y-%m-%d %H:%M:%S %Z}; it works once")
    click.echo(made.code)


@devices.command("activate")
@click.argument("code", required=False)
@pass_session
def activate(session: Session, code: str | None) -> None:
    """Trade an activation code for the device's token, shown this once. Without CODE it is asked for."""
    wanted = checked(ActivateBody, code=code or click.prompt("Activation code", hide_input=True))
    granted = on_database(session.config(), lambda pool: Activation(pool).activate(wanted.code), "pulse_auth")
    err.print(f"the token of {granted.tenant_id}/{granted.device_id}; it is not shown again")
    click.echo(granted.token)


@devices.command("revoke")
@click.argument("tenant_id")
@click.argument("device_id")
@pass_session
def revoke(session: Session, tenant_id: str, device_id: str) -> None:
    """Shut a device out for good: tokens, leftover codes and live connections end."""
    on_database(session.config(), lambda pool: Provisioning(pool).revoke(tenant_id, device_id, actor=actor()))
    out.print(f"revoked {tenant_id}/{device_id}")


@devices.command("rotate-token")
@click.argument("tenant_id")
@click.argument("device_id")
@click.option("--grace", type=float, default=0, show_default=True, help="Seconds the old token stays valid.")
@pass_session
def rotate(session: Session, tenant_id: str, device_id: str, grace: float) -> None:
    """Give a device a new token, shown this once."""
    wanted = checked(RotateBody, grace_s=grace)
    granted = on_database(
        session.config(),
        lambda pool: Provisioning(pool).rotate_token(tenant_id, device_id, grace_s=wanted.grace_s, actor=actor()),
    )
    err.print(f"the new token of {tenant_id}/{device_id}; it is not shown again")
    click.echo(granted.token)
