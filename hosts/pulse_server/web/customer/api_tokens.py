"""``/customer/api-tokens``: how the tenant's programs prove who they are. For customer_admin; minted by people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response

from pulse_core.principal import Role
from pulse_postgres.identity.api_tokens import token_page
from pulse_server.inputs import CustomerTokenBody, TokenPage
from pulse_server.outputs.answers import PageOf
from pulse_server.outputs.people import Token, TokenMade
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.customer.own import own
from pulse_server.web.demands import demands
from pulse_server.web.described import described
from pulse_server.web.people import demand_person
from pulse_server.web.replies import page_reply, reply

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("customer_api_tokens", __name__, url_prefix="/api-tokens")


@blueprint.before_request
@demands(Role.CUSTOMER_ADMIN)
async def demand_admin() -> None:
    """What else may call us is not a viewer's business."""


@blueprint.get("")
@described(PageOf[Token], query=TokenPage)
async def show() -> Response:
    """The tenant's tokens, those that are over too; never what they are."""
    asked, mine = query_as(TokenPage), own()
    return page_reply(await token_page(mine.pool, tenant_id=mine.tenant_id, **asked.model_dump()))


@blueprint.post("")
@described(TokenMade, body=CustomerTokenBody, status=201)
async def mint() -> Response:
    """Mint a token, shown this once; 403 for programs."""
    wanted, mine = await body_as(CustomerTokenBody), own()
    demand_person()
    made = await mine.tokens.create(**wanted.model_dump(), tenant_id=mine.tenant_id, actor=mine.actor)
    return reply({**made.shown, "token": made.token}, 201)


@blueprint.delete("/<uuid:token_id>")
@described(status=204)
async def revoke(token_id: uuid.UUID) -> Response:
    """End a token for good, everywhere within 5 s."""
    mine = own()
    await mine.tokens.revoke(token_id, tenant_id=mine.tenant_id, actor=mine.actor)
    return Response(status=204)
