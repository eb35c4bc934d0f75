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
from pulse_server.web import pages
from pulse_server.web.bodies import Problem, body_as, query_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.customer.own import Own, own
from pulse_server.web.described import described
from pulse_server.web.services import services
from pulse_server.web.views import either

if TYPE_CHECKING:
    import uuid
    from collections.abc import Iterator, Sequence

    from pulse_core.api import Channel
    from pulse_core.outbox import StoredIntegration

blueprint = Blueprint("customer_integrations", __name__, url_prefix="/integrations")


@blueprint.get("")
@described(HealthyIntegrationList, query=TypedPage, refuses=[404])
async def show() -> Response:
    """The tenant's webhooks, or its integrations of the channel ``?type=``, each with its health.

    A person gets a page with all of them.
    """
    asked = query_as(TypedPage, blank=pages.wanted())
    part = asked.model_dump(exclude={"type"})
    if pages.wanted() and "type" not in asked.model_fields_set:
        return await either("customer/integrations.html", await page_of(None, part), besides=_gallery)
    return await _page(asked.type, part)


@blueprint.post("")
@described(HealthyIntegration, query=TypeQuery, body=IntegrationFields, status=201, refuses=[404])
async def create() -> Response:
    """Make a webhook, or an integration of the channel ``?type=``."""
    return await _create(query_as(TypeQuery).type)


@blueprint.get("/<channel:type_>")
@described(HealthyIntegrationList, query=IntegrationPage)
async def show_type(type_: str) -> Response:
    """The tenant's integrations of one channel."""
    return await _page(type_, query_as(IntegrationPage, blank=pages.wanted()).model_dump())


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
    return await either(
        "customer/integration.html",
        await found(integration_id, type_),
        lambda value: versioned(value, living=True),
        besides=_gallery,
    )


@blueprint.patch("/<uuid:integration_id>")
@blueprint.patch("/<channel:type_>/<uuid:integration_id>")
@described(HealthyIntegration, body=IntegrationPatch, refuses=[405])
async def change(integration_id: uuid.UUID, type_: str | None = None) -> Response:
    """Change what is given."""
    only_if, wanted = wanted_revisions(), await body_as(IntegrationPatch)
    await found(integration_id, type_)
    return versioned(await changed(integration_id, wanted, only_if), living=True)


@blueprint.delete("/<uuid:integration_id>")
@blueprint.delete("/<channel:type_>/<uuid:integration_id>")
@described(status=204, refuses=[405], on_condition=True)
async def remove(integration_id: uuid.UUID, type_: str | None = None) -> Response:
    """Delete it with its routes, and cancel what waits for it; the ledger keeps what was sent."""
    mine = own()
    only_if = wanted_revisions()
    await found(integration_id, type_)
    await mine.integrations.delete(mine.tenant_id, integration_id, actor=mine.actor, only_if=only_if)
    return Response(status=204)


async def _page(type_: str, asked: dict[str, Any]) -> Response:
    channel(type_)
    return await either("customer/integrations.html", await page_of(type_, asked), besides=_gallery)


async def _gallery() -> dict[str, Any]:
    """Every kind that an integration can be of."""
    return {"kinds": dict(sorted(services().plugins.channels.items()))}


async def _create(type_: str) -> Response:
    channel(type_)
    return versioned(await made(type_, await body_as(IntegrationFields)), 201, living=True)


async def page_of(type_: str | None, asked: dict[str, Any]) -> dict[str, Any]:
    """Part of the tenant's integrations, of one channel or of all, each with its health."""
    mine = own()
    page = await mine.integrations.page(mine.tenant_id, type_=type_, **asked)
    return {"items": await _whole(mine, page.items), "next": page.next}


async def found(integration_id: uuid.UUID, type_: str | None = None) -> dict[str, Any]:
    """One of the tenant's integrations with its health. Raises NotFound: also when it is of another channel."""
    mine = own()
    one_of_theirs = await mine.integrations.get(mine.tenant_id, integration_id)
    if type_ not in {None, one_of_theirs["type"]}:
        raise NotFound("there is no such integration")
    return (await _whole(mine, [one_of_theirs]))[0]


async def made(type_: str, wanted: IntegrationFields) -> dict[str, Any]:
    """Make an integration. Raises NotFound (no such channel), Problem (422: its config)."""
    of_channel, mine = channel(type_), own()
    with _checked():
        plain_http = services().config.allows_plain_http
        public, secrets = sealed(of_channel, services().box, wanted.config, allow_plain_http=plain_http)
    new = await mine.integrations.create(
        mine.tenant_id,
        type_,
        wanted.name,
        public,
        secrets,
        enabled=wanted.enabled,
        retry=schedule(wanted.retry),
        actor=mine.actor,
    )
    return (await _whole(mine, [new]))[0]


async def changed(
    integration_id: uuid.UUID, wanted: IntegrationPatch, only_if: frozenset[str] | None
) -> dict[str, Any]:
    """Change an integration. Raises NotFound, Stale, Problem (422: its config)."""
    mine = own()
    new = await mine.integrations.change(
        mine.tenant_id, integration_id, lambda stored: _merged(wanted, stored), actor=mine.actor, only_if=only_if
    )
    return (await _whole(mine, [new]))[0]


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


async def _whole(mine: Own, items: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    health = await health_of(mine.pool, mine.tenant_id, [each["integration_id"] for each in items])
    return [{**shown(services().plugins, each), "health": health[each["integration_id"]]} for each in items]


def channel(type_: str) -> type[Channel[Any]]:
    """The channel of that name. Raises NotFound."""
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
