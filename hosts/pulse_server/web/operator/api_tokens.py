"""``/operator/api-tokens``: how programs prove who they are, tenants' and operators'. For operator_admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response

from pulse_postgres.identity.api_tokens import token_page
from pulse_server.inputs import OperatorTokenBody, TokenQuery
from pulse_server.outputs.answers import PageOf
from pulse_server.outputs.people import Token, TokenMade
from pulse_server.web import pages
from pulse_server.web.access.tokens import TokenPages
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.described import described
from pulse_server.web.entrance.principal import principal
from pulse_server.web.operator.admins import demand_admin
from pulse_server.web.people import demand_person
from pulse_server.web.replies import reply
from pulse_server.web.services import services

if TYPE_CHECKING:
    import uuid

    from pulse_postgres.identity.api_tokens import Minted

blueprint = Blueprint("api_tokens", __name__, url_prefix="/api-tokens")
blueprint.before_request(demand_admin)


async def found(token_id: uuid.UUID) -> dict[str, Any]:
    """Any token. Raises NotFound."""
    return await services().api_tokens.get(token_id)


async def minted(wanted: OperatorTokenBody) -> Minted:
    """Mint one."""
    return await services().api_tokens.create(**wanted.model_dump(), actor=principal().subject)


async def revoked(token_id: uuid.UUID) -> None:
    """End one."""
    await services().api_tokens.revoke(token_id, actor=principal().subject)


PAGES: Final = TokenPages(
    at="/operator/api-tokens", body=OperatorTokenBody, found=found, minted=minted, revoked=revoked
)
PAGES.join(blueprint)


@blueprint.get("")
@described(PageOf[Token], query=TokenQuery)
async def show() -> Response:
    """Tokens of all tenants and of operators, those that are over too; never what they are."""
    asked = query_as(TokenQuery, blank=pages.wanted())
    return await PAGES.many(await token_page(services().pools.operator, **asked.model_dump()))


@blueprint.post("")
@described(TokenMade, body=OperatorTokenBody, status=201)
async def mint() -> Response:
    """Mint a token, shown this once; 403 for programs."""
    wanted = await body_as(OperatorTokenBody)
    demand_person()
    made = await minted(wanted)
    return reply({**made.shown, "token": made.token}, 201)


@blueprint.get("/<uuid:token_id>")
@described(Token)
async def one(token_id: uuid.UUID) -> Response:
    """One token; never what it is."""
    return await PAGES.one(await found(token_id))


@blueprint.delete("/<uuid:token_id>")
@described(status=204)
async def revoke(token_id: uuid.UUID) -> Response:
    """End a token for good, everywhere within 5 s."""
    await revoked(token_id)
    return Response(status=204)
