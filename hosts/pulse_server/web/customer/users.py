"""``/customer/users``: the tenant's people. For customer_admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response

from pulse_core.principal import Role
from pulse_postgres.identity.user_pages import user_page
from pulse_server.inputs import CustomerUserBody, CustomerUserPatch, UserPage
from pulse_server.outputs.answers import PageOf
from pulse_server.outputs.people import User, UserMade
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.customer.own import own
from pulse_server.web.demands import demands
from pulse_server.web.described import described
from pulse_server.web.people import added, changed
from pulse_server.web.replies import page_reply

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("customer_users", __name__, url_prefix="/users")


@blueprint.before_request
@demands(Role.CUSTOMER_ADMIN)
async def demand_admin() -> None:
    """Who else may log in is not a viewer's business."""


@blueprint.get("")
@described(PageOf[User], query=UserPage)
async def show() -> Response:
    """The tenant's users by name."""
    asked, mine = query_as(UserPage), own()
    return page_reply(await user_page(mine.pool, tenant_id=mine.tenant_id, **asked.model_dump()))


@blueprint.post("")
@described(UserMade, body=CustomerUserBody, status=201)
async def create() -> Response:
    """Make a user; 409 when the name is taken, by whomever in this installation."""
    wanted, mine = await body_as(CustomerUserBody), own()
    return await added(mine.users, mine.tenant_id, wanted, mine.actor)


@blueprint.get("/<uuid:user_id>")
@described(User)
async def one(user_id: uuid.UUID) -> Response:
    """One user."""
    mine = own()
    return versioned(await mine.users.get(mine.tenant_id, user_id), living=True)


@blueprint.patch("/<uuid:user_id>")
@described(UserMade, body=CustomerUserPatch)
async def change(user_id: uuid.UUID) -> Response:
    """Change role, address or password, disable or enable; 409 when nobody would be left in charge."""
    only_if, wanted, mine = wanted_revisions(), await body_as(CustomerUserPatch), own()
    before = await mine.users.get(mine.tenant_id, user_id)
    return await changed(mine.users, before, wanted, mine.actor, only_if=only_if)


@blueprint.delete("/<uuid:user_id>")
@described(status=204, on_condition=True)
async def remove(user_id: uuid.UUID) -> Response:
    """Remove a user, and end their sessions within 5 s; 409 when nobody would be left in charge."""
    mine = own()
    await mine.users.remove(mine.tenant_id, user_id, actor=mine.actor, only_if=wanted_revisions())
    return Response(status=204)
