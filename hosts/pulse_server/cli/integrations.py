"""``pulse integrations``: configured channels of tenants."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click
import msgspec
from pydantic import ValidationError

from pulse_core.plugins import channel_schema, load_plugins
from pulse_core.secrets import SecretBox
from pulse_postgres.connections import TenantPool
from pulse_postgres.integrations import Integrations
from pulse_postgres.overview import Overview
from pulse_server.cli.base import Session, json_option, out, pass_session, print_items, print_json, print_table
from pulse_server.cli.work import actor, checked, complaints, everything, on_database
from pulse_server.configured import channel_of, sealed, shown
from pulse_server.inputs import IntegrationBody, schedule
from pulse_server.problems import field_errors
from pulse_server.secret_key import demand_in_use, secret_keys
from pulse_server.trial import tried

if TYPE_CHECKING:
    import uuid


@click.group()
def integrations() -> None:
    """Integrations: where a tenant's alerts go."""


@integrations.command("add")
@click.argument("type_", metavar="TYPE")
@click.option("--tenant", "tenant_id", required=True)
@click.option("--name", help="For people; the type if not given.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A field; JSON where it is not text.")
@click.option("--set-env", "from_env", multiple=True, metavar="KEY=VARIABLE", help="A field from the environment.")
@click.option(
    "--retry", metavar="JSON", help='Its own schedule: {"waits_s": [5, 30], "every_s": 600, "give_up_s": 7200}.'
)
@click.option("--set-stdin", "from_stdin", metavar="KEY", help="A field from standard input.")
@pass_session
def add(
    session: Session,
    type_: str,
    tenant_id: str,
    name: str | None,
    settings: tuple[str, ...],
    from_env: tuple[str, ...],
    from_stdin: str | None,
    retry: str | None,
) -> None:
    """Make an integration of channel TYPE. Required secrets that are not given are asked for, unseen."""
    config = session.config()
    plugins = load_plugins(config)
    channel = channel_of(plugins, type_)
    given = dict(_pair(each) for each in settings)
    given |= {key: _from_env(variable) for key, variable in map(_pair, from_env)}
    if from_stdin:
        given[from_stdin] = sys.stdin.readline().rstrip("\n")
    schema = channel_schema(channel)
    fields = _typed(schema, given) | _asked(schema, given)
    wanted = checked(
        IntegrationBody,
        tenant_id=tenant_id,
        type=type_,
        name=name or type_,
        config=fields,
        retry=retry and _json(retry),
    )
    keys = secret_keys(config)
    demand_in_use(config, keys[0])
    try:
        public, secrets = sealed(channel, SecretBox(*keys), wanted.config, allow_plain_http=config.allows_plain_http)
    except ValidationError as error:
        raise click.UsageError(complaints(field_errors(error))) from error
    made = on_database(
        config,
        lambda pool: Integrations(pool).create(
            wanted.tenant_id,
            wanted.type,
            wanted.name,
            public,
            secrets,
            retry=schedule(wanted.retry),
            actor=actor(),
        ),
    )
    out.print(f"made integration {made['integration_id']}; next: pulse routes add --tenant {tenant_id}")


@integrations.command("test")
@click.argument("integration_id", type=click.UUID)
@click.option("--tenant", "tenant_id", required=True)
@json_option
@pass_session
def try_out(session: Session, integration_id: uuid.UUID, tenant_id: str, as_json: bool) -> None:
    """Deliver a test and say exactly what happened. The platform must be running."""
    delivery = on_database(
        session.config(),
        lambda pool: tried(TenantPool(pool, tenant_id), tenant_id, integration_id, actor=actor()),
        "pulse_web",
    )
    if as_json:
        print_json(delivery)
    else:
        columns = ("outcome", "duration_ms", "address", "tls", "detail", "receipt")
        print_table(columns, delivery["attempts"], empty="no attempt yet: is `pulse up` running, or the role deliver?")
    if delivery["status"] != "DELIVERED":
        raise click.exceptions.Exit(1)


@integrations.command("list")
@click.option("--tenant", "tenant_id")
@json_option
@pass_session
def show(session: Session, tenant_id: str | None, as_json: bool) -> None:
    """List integrations; secrets are masked."""
    config = session.config()
    plugins = load_plugins(config)
    found = on_database(
        config, lambda pool: everything(Overview(pool).integrations, tenant_id=tenant_id), "pulse_operator"
    )
    items = [shown(plugins, each) for each in found]
    columns = ("tenant_id", "integration_id", "type", "name", "enabled", "disabled_reason", "config")
    print_items(
        items, columns, empty="no integrations: pulse integrations add TYPE --tenant TENANT_ID", as_json=as_json
    )


def _pair(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise click.UsageError(f"{key}: write KEY=VALUE")
    return key, value


def _from_env(variable: str) -> str:
    if variable not in os.environ:
        raise click.UsageError(f"the environment has no {variable}")
    return os.environ[variable]


def _typed(schema: dict[str, Any], given: dict[str, str]) -> dict[str, Any]:
    """Values as the model wants them: text as it is, everything else as JSON if it is JSON."""
    fields = schema.get("properties", {})
    return {key: value if _texts(fields.get(key, {})) else _json(value) for key, value in given.items()}


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError):
        return text


def _texts(field: dict[str, Any]) -> list[dict[str, Any]]:
    """The text kinds that a field's JSON Schema allows."""
    return [kind for kind in (field, *field.get("anyOf", ())) if kind.get("type") == "string"]


def _asked(schema: dict[str, Any], given: dict[str, str]) -> dict[str, str]:
    """Ask for the required secrets that were not given."""
    fields = schema.get("properties", {})
    return {
        name: click.prompt(name, hide_input=True)
        for name in schema.get("required", ())
        if name not in given and any(kind.get("writeOnly") for kind in _texts(fields[name]))
    }
