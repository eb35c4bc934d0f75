"""``/customer/integrations``: where alerts go. Secrets go in and never come out."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec
from pydantic import ValidationError
from quart import Blueprint, Response

from pulse_core.errors import NotFound
from pulse_postgres.integration_health import health_of
from pulse_postgres.integrations import Changes
from pulse_server.configured import UnknownChannel, channel_of, resealed, sealed, shown
from pulse_server.inputs import (
    IntegrationFields,
    IntegrationPage,
    IntegrationPatch,
    TypedPage,
    TypeQuery,
    schedule,
)
from pulse_server.outputs.integrations import HealthyIntegration, HealthyIntegrationList
from pulse_server.problems import field_errors
from pulse_server.web.bodies import Problem, body_as, query_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.customer.own import Own, own
from pulse_server.web.described import described
from pulse_server.web.replies import reply
from pulse_server.web.services import services

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

    from pulse_core.api import Channel
    from pulse_core.outbox import StoredIntegration

blueprint = Blueprint("customer_integrations", __name__, url_prefix="/integrations")


@blueprint.get("")
@described(HealthyIntegrationList, query=TypedPage, refuses=[404])
async def show() -> Response:
    """The tenant's webhooks, or its integrations of the channel ``?type=``, each with its health."""
    asked = query_as(TypedPage)
    return await _page(asked.type, asked.model_dump(exclude={"type"}))


@blueprint.post("")
@described(HealthyIntegration, query=TypeQuery, body=IntegrationFields, status=201, refuses=[404])
async def create() -> Response:
    """Make a webhook, or an integration of the channel ``?type=``."""
    return await _create(query_as(TypeQuery).type)


@blueprint.get("/<channel:type_>")
@described(HealthyIntegrationList, query=IntegrationPage)
async def show_type(type_: str) -> Response:
    """The tenant's integrations of one channel."""
    return await _page(type_, query_as(IntegrationPage).model_dump())


@blueprint.post("/<channel:type_>")
@described(HealthyIntegration, body=IntegrationFields, status=201)
async def create_type(type_: str) -> Response:
    """Make an integration of one channel."""
    return await _create(type_)


@blueprint.get("/<uuid:integration_id>")
@blueprint.get("/<channel:type_>/<uuid:integration_id>")
@described(HealthyIntegration)
async def one(integration_id: uuid.UUID, type_: str | None = None) -> Response:
    """One integration with its health."""
    mine = own()
    return versioned((await _whole(mine, [await _get(mine, integration_id, type_)]))[0], living=True)


@blueprint.patch("/<uuid:integration_id>")
@blueprint.patch("/<channel:type_>/<uuid:integration_id>")
@described(HealthyIntegration, body=IntegrationPatch, refuses=[405])
async def change(integration_id: uuid.UUID, type_: str | None = None) -> Response:
    """Change what is given."""
    only_if, wanted, mine = wanted_revisions(), await body_as(IntegrationPatch), own()
    await _get(mine, integration_id, type_)
    changed = await mine.integrations.change(
        mine.tenant_id, integration_id, lambda stored: _merged(wanted, stored), actor=mine.actor, only_if=only_if
    )
    return versioned((await _whole(mine, [changed]))[0], living=True)


@blueprint.delete("/<uuid:integration_id>")
@blueprint.delete("/<channel:type_>/<uuid:integration_id>")
@described(status=204, refuses=[405], on_condition=True)
async def remove(integration_id: uuid.UUID, type_: str | None = None) -> Response:
    """Delete it with its routes, and cancel what waits for it; the ledger keeps what was sent."""
    mine = own()
    only_if = wanted_revisions()
    await _get(mine, integration_id, type_)
    await mine.integrations.delete(mine.tenant_id, integration_id, actor=mine.actor, only_if=only_if)
    return Response(status=204)


async def _page(type_: str, asked: dict[str, Any]) -> Response:
    mine = own()
    _channel(type_)
    page = await mine.integrations.page(mine.tenant_id, type_=type_, **asked)
    return reply({"items": await _whole(mine, page.items), "next": page.next})


async def _create(type_: str) -> Response:
    channel, mine = _channel(type_), own()
    wanted = await body_as(IntegrationFields)
    with _checked():
        plain_http = services().config.allows_plain_http
        public, secrets = sealed(channel, services().box, wanted.config, allow_plain_http=plain_http)
    made = await mine.integrations.create(
        mine.tenant_id,
        type_,
        wanted.name,
        public,
        secrets,
        enabled=wanted.enabled,
        retry=schedule(wanted.retry),
        actor=mine.actor,
    )
    return versioned((await _whole(mine, [made]))[0], 201, living=True)


def _merged(wanted: IntegrationPatch, stored: StoredIntegration) -> Changes:
    changes = Changes(name=wanted.name, enabled=wanted.enabled)
    if wanted.config is not None:
        with _checked():
            public, secrets = resealed(
                channel_of(services().plugins, stored.type),
                services().box,
                stored,
                wanted.config,
                allow_plain_http=services().config.allows_plain_http,
            )
        changes = msgspec.structs.replace(changes, config=public, secrets=secrets)
    if "retry" in wanted.model_fields_set:
        changes = msgspec.structs.replace(changes, retry=schedule(wanted.retry))
    return changes


async def _get(mine: Own, integration_id: uuid.UUID, type_: str | None) -> dict[str, Any]:
    found = await mine.integrations.get(mine.tenant_id, integration_id)
    if type_ not in {None, found["type"]}:
        raise NotFound("there is no such integration")
    return found


async def _whole(mine: Own, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    health = await health_of(mine.pool, mine.tenant_id, [each["integration_id"] for each in items])
    return [{**shown(services().plugins, each), "health": health[each["integration_id"]]} for each in items]


def _channel(type_: str) -> type[Channel[Any]]:
    try:
        return channel_of(services().plugins, type_)
    except UnknownChannel as error:
        raise NotFound(str(error)) from error


@contextmanager
def _checked() -> Iterator[None]:
    """Around what the channel's model checks: its complaints name fields of ``config``."""
    try:
        yield
    except ValidationError as error:
        raise Problem(422, "some fields are wrong", errors=field_errors(error, ["config"])) from error
