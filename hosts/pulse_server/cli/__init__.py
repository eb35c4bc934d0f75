"""The ``pulse`` command."""

from __future__ import annotations

from pathlib import Path

import click

from pulse_server.cli.base import PulseGroup, Session

_COMMANDS = {
    "up": "Run everything on this machine; --demo shows it alive.",
    "run": "Run one role, or all of them in one process.",
    "migrate": "Bring the database's schema up to date.",
    "doctor": "Check this machine and its configuration.",
    "plugins": "List the installed plugins and how each is doing.",
    "tenants": "Tenants: who shares the platform without seeing each other.",
    "devices": "Devices: register, activate, revoke.",
    "telemetry": "Readings: take them away as a file.",
    "integrations": "Integrations: where a tenant's alerts go.",
    "routes": "Routes: who is told of what.",
    "tokens": "API tokens: how programs prove who they are.",
    "readers": "Readers: logins with which a tenant's own tools (Grafana) read its data by SQL.",
    "users": "Users: people and programs with a password.",
    "keys": "Keys: replace the one that signs tokens.",
    "secrets": "Secrets: replace the key that the stored ones are encrypted with.",
    "webhooks": "Webhooks: check what a receiver got.",
    "ledger": "Check that nothing is lost, from the tables alone.",
    "backup": "Write everything in the database into one file, while everything works on.",
    "restore": "Bring back what `pulse backup` wrote.",
    "docs": "Write the reference pages that are made from code.",
}
"""Each stands in a module of its own name, imported only when it is called."""


@click.group(
    cls=PulseGroup,
    summaries=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Configuration file. Without it ./pulse.toml is read if there is one. PULSE_* variables win over both.",
)
@click.version_option(package_name="opsconductor-pulse", prog_name="pulse")
@click.pass_context
def main(context: click.Context, config_file: Path | None) -> None:
    """Device health and alert delivery for many tenants. Start here: pulse up --demo"""
    context.obj = Session(config_file)
