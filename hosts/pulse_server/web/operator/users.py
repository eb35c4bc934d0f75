"""``/operator/users``: everybody who logs in with a password, of all tenants and operators. For operator_admin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response

from pulse_postgres.identity.user_pages import user_page
from pulse_server.inputs import NewUserBody, UserPatch, UserQuery
from pulse_server.outputs.answers import PageOf
from pulse_server.outputs.people import User, UserMade
from pulse_server.web.bodies import Problem, body_as, query_as
from pulse_server.web.conditions import versioned, wanted_revisions
from pulse_server.web.described import described
from pulse_server.web.entrance.principal import principal
from pulse_server.web.operator.admins import demand_admin
from pulse_server.web.people import added, changed
from pulse_server.web.replies import page_reply
from pulse_server.web.services import services

if TYPE_CHECKING:
    import uuid

blueprint = Blueprint("users", __name__, url_prefix="/users")
blueprint.before_request(demand_admin)


@blueprint.get("")
@described(PageOf[User], query=UserQuery)
async def show() -> Response:
    """Users by name, of all tenants and operators."""
    asked = query_as(UserQuery)
    return page_reply(await user_page(services().pools.operator, **asked.model_dump()))


@blueprint.post("")
@described(UserMade, body=NewUserBody, status=201)
async def create() -> Response:
    """Make a user of a tenant, or an operator; 409 when the name is taken."""
    wanted = await body_as(NewUserBody)
    return await added(services().users, wanted.tenant_id or "", wanted, principal().subject)


@blueprint.get("/<uuid:user_id>")
@described(User)
async def one(user_id: uuid.UUID) -> Response:
    """One user."""
    users = services().users
    return versioned(await users.get(await users.owner_of(user_id), user_id), living=True)


@blueprint.patch("/<uuid:user_id>")
@described(UserMade, body=UserPatch)
async def change(user_id: uuid.UUID) -> Response:
    """Change role, address or password, disable or enable; 409 when no operator_admin would be left."""
    only_if, wanted, users = wanted_revisions(), await body_as(UserPatch), services().users
    before = await users.get(await users.owner_of(user_id), user_id)
    if wanted.role is not None and wanted.role.of_a_tenant != bool(before["tenant_id"]):
        wrong = [{"field": "role", "message": "a customer's role for a customer, an operator's for an operator"}]
        raise Problem(422, "some fields are wrong", errors=wrong)
    of_a_tenant = bool(before["tenant_id"])
    return await changed(users, before, wanted, principal().subject, may_be_last=of_a_tenant, only_if=only_if)


@blueprint.delete("/<uuid:user_id>")
@described(status=204, on_condition=True)
async def remove(user_id: uuid.UUID) -> Response:
    """Remove a user, and end their sessions within 5 s; 409 when no operator_admin would be left."""
    users = services().users
    only_if, owner = wanted_revisions(), await users.owner_of(user_id)
    await users.remove(owner, user_id, actor=principal().subject, may_be_last=bool(owner), only_if=only_if)
    return Response(status=204)
