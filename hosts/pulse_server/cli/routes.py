"""``pulse routes``: which alerts go to which integration."""

from __future__ import annotations

import click

from pulse_postgres.integrations import Integrations
from pulse_postgres.overview import Overview
from pulse_server.cli.base import Session, json_option, out, pass_session, print_items
from pulse_server.cli.work import actor, checked, everything, on_database
from pulse_server.inputs import RouteBody
from pulse_server.routing_input import route_of


@click.group()
def routes() -> None:
    """Routes: who is told of what."""


@routes.command("add")
@click.option("--tenant", "tenant_id", required=True)
@click.option("--integration", "integration_id", required=True)
@click.option("--name", default="")
@click.option("--alert-type", "alert_types", multiple=True, help="None: all.")
@click.option("--severity", "severities", multiple=True, help="By name or number; none: all.")
@click.option("--min-severity")
@click.option("--site", "site_ids", multiple=True, help="None: all.")
@click.option("--device-prefix", "device_prefixes", multiple=True, help="None: all.")
@click.option(
    "--on", "deliver_on", multiple=True, default=["OPEN"], show_default=True, help="OPEN, ACKNOWLEDGED, CLOSED"
)
@click.option("--priority", type=int, default=100, show_default=True)
@click.option("--fallback", "fallback_integration_id", metavar="INTEGRATION", help="Told instead when that one fails …")
@click.option("--fallback-after", "fallback_after_s", type=int, help="… or was not reachable for so many seconds.")
@pass_session
def add(session: Session, /, **given: object) -> None:
    """Make a route. A condition that is not given matches all; every matching route fires."""
    lists = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    for name in ("severities", "min_severity"):
        lists[name] = _numbers(lists[name])
    wanted = checked(RouteBody, **lists)
    route = route_of(wanted, wanted.tenant_id)
    on_database(session.config(), lambda pool: Integrations(pool).create_route(route, actor=actor()))
    out.print(f"made route {route.route_id}")


@routes.command("list")
@click.option("--tenant", "tenant_id")
@json_option
@pass_session
def show(session: Session, tenant_id: str | None, as_json: bool) -> None:
    """List routes."""
    found = on_database(
        session.config(), lambda pool: everything(Overview(pool).routes, tenant_id=tenant_id), "pulse_operator"
    )
    columns = (
        "tenant_id",
        "route_id",
        "integration_id",
        "name",
        "alert_types",
        "severities",
        "min_severity",
        "site_ids",
        "device_prefixes",
        "deliver_on",
        "enabled",
        "fallback_integration_id",
    )
    print_items(
        found, columns, empty="no routes: pulse routes add --tenant TENANT_ID --integration ID", as_json=as_json
    )


def _numbers(value: object) -> object:
    """Digits typed at a terminal are numbers; names stay names."""
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return int(value) if isinstance(value, str) and value.isdecimal() else value
