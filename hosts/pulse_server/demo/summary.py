"""The demo in a screenful: what runs, where to look, and lines to copy that work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from pulse_accounts.development import PASSWORD, USERS
from pulse_core.config import DEV_ADMIN_KEY
from pulse_server.demo.plan import STALE_AFTER_S, TRY_ME, fleet
from pulse_server.device_lines import Example, http_line, mqtt_line

if TYPE_CHECKING:
    from pulse_server.bringup import Platform


def show(platform: Platform, *, receiver: str, token: str | None, customer: str, devices: int) -> None:
    """Print it. ``token`` is the one of the device to try, None when somebody revoked it; ``customer`` its tenant's."""
    console = Console(highlight=False)
    web = platform.addresses["web"]["http"].replace("127.0.0.1", "localhost")
    pipeline = platform.addresses["pipeline"]
    console.print()
    console.print(f"[bold green]OpsConductor-Pulse is running.[/]  Look here: [bold underline]{web}/[/]")
    console.print(f"[dim]{devices} simulated devices of two tenants report; some fall silent, some misbehave.[/]\n")
    console.print(_processes(platform, receiver))
    if token is not None:
        console.print(f"\n[bold]Try it[/] as the device {TRY_ME.tenant_id}/{TRY_ME.device_id}:\n")
        for line in lines_to_copy(web, pipeline, token):
            console.print(line, soft_wrap=True, markup=False)
            console.print()
        console.print(
            f"[dim]Then be silent: {STALE_AFTER_S:g} s later an alert opens, and the receiver gets a signed webhook.[/]"
        )
    console.print(f"\n[bold]Ask as {TRY_ME.tenant_id}[/] what was delivered, and with which attempts:\n")
    line = f"curl -H 'Authorization: Bearer {customer}' '{web}/customer/deliveries?limit=5'"
    console.print(line, soft_wrap=True, markup=False)
    console.print(f"\n[bold]Tell a device[/] of {TRY_ME.tenant_id} what to do, and see it done:\n")
    for line in command_lines(web, customer):
        console.print(line, soft_wrap=True, markup=False)
    if "accounts" in platform.config.plugins.enabled:
        console.print("\n[bold]Log in[/] as one of its users, for an access token:\n")
        console.print(login_line(web), soft_wrap=True, markup=False)
    console.print("\n[bold]Ctrl-C[/] stops everything.\n")


def _processes(platform: Platform, receiver: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("what", "pid", "where", "log"):
        table.add_column(column, no_wrap=True)
    for name, pid in platform.pids().items():
        addresses = {**platform.addresses.get(name, {}), **({"http": receiver} if name == "receiver" else {})}
        log = platform.log_dir / f"{name}.log"
        table.add_row(name, str(pid), "\n".join(addresses.values()) or "-", _short(log) if log.exists() else "-")
    return table


def _short(path: Path) -> str:
    """A path as people type it here."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def login_line(web: str) -> str:
    """How a program trades a development user's password for tokens."""
    body = json.dumps({"username": USERS[0].username, "password": PASSWORD})
    return f"curl -H 'Content-Type: application/json' {web}/api/auth/token -d '{body}'"


def command_lines(web: str, token: str) -> list[str]:
    """A command for a device that fetches its commands, and what became of it."""
    device = next(each for each in fleet() if each.tenant_id == TRY_ME.tenant_id and each.way == "http")
    head = f"curl -H 'Authorization: Bearer {token}'"
    body = json.dumps({"name": "reboot"})
    return [
        f"{head} -H 'Content-Type: application/json' {web}/customer/devices/{device.device_id}/commands -d '{body}'",
        f"{head} '{web}/customer/commands?limit=1'",
    ]


def lines_to_copy(web: str, pipeline: dict[str, str], token: str) -> list[str]:
    """A line for each way in, and one that reads back what came in."""
    example = Example(TRY_ME.tenant_id, TRY_ME.device_id, TRY_ME.site_id, token)
    over_mqtt = mqtt_line(pipeline, example)
    return [
        *([over_mqtt] if over_mqtt is not None else []),
        http_line(pipeline, example),
        (
            f"curl -H 'X-Admin-Key: {DEV_ADMIN_KEY}' "
            f"'{web}/api/admin/devices/{TRY_ME.tenant_id}/{TRY_ME.device_id}/telemetry?limit=5'"
        ),
    ]
