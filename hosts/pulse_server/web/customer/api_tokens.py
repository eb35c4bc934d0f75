"""``/customer/api-tokens``: how the tenant's programs prove who they are. For customer_admin; minted by people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response

from pulse_core.principal import Role
from pulse_postgres.identity.api_tokens import token_page
from pulse_server.inputs import CustomerTokenBody, TokenPage
from pulse_server.outputs.answers import PageOf
from pulse_server.outputs.people import Token, TokenMade
from pulse_server.web import pages
from pulse_server.web.access.tokens import TokenPages
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.customer.own import own
from pulse_server.web.demands import demands
from pulse_server.web.described import described
from pulse_server.web.people import demand_person
from pulse_server.web.replies import reply

if TYPE_CHECKING:
    import uuid

    from pulse_postgres.identity.api_tokens import Minted

blueprint = Blueprint("customer_api_tokens", __name__, url_prefix="/api-tokens")


@blueprint.before_request
@demands(Role.CUSTOMER_ADMIN)
async def demand_admin() -> None:
    """What else may call us is not a viewer's business."""


async def found(token_id: uuid.UUID) -> dict[str, Any]:
    """A token of the tenant. Raises NotFound."""
    mine = own()
    return await mine.tokens.get(token_id, tenant_id=mine.tenant_id)


async def minted(wanted: CustomerTokenBody) -> Minted:
    """Mint one."""
    mine = own()
    return await mine.tokens.create(**wanted.model_dump(), tenant_id=mine.tenant_id, actor=mine.actor)


async def revoked(token_id: uuid.UUID) -> None:
    """End one."""
    mine = own()
    await mine.tokens.revoke(token_id, tenant_id=mine.tenant_id, actor=mine.actor)


PAGES: Final = TokenPages(
    at="/customer/api-tokens", body=CustomerTokenBody, found=found, minted=minted, revoked=revoked
)
PAGES.join(blueprint)


@blueprint.get("")
@described(PageOf[Token], query=TokenPage)
async def show() -> Response:
    """The tenant's tokens, those that are over too; never what they are."""
    asked, mine = query_as(TokenPage, blank=pages.wanted()), own()
    return await PAGES.many(await token_page(mine.pool, tenant_id=mine.tenant_id, **asked.model_dump()))


@blueprint.post("")
@described(TokenMade, body=CustomerTokenBody, status=201)
async def mint() -> Response:
    """Mint a token, shown this once; 403 for programs."""
    wanted = await body_as(CustomerTokenBody)
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
