"""``/operator/users``: everybody who logs in with a password, of all tenants and operators. For operator_admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response

from pulse_postgres.identity.user_pages import user_page
from pulse_server.inputs import NewUserBody, UserPatch, UserQuery
from pulse_server.outputs.answers import PageOf
from pulse_server.outputs.people import User, UserMade
from pulse_server.web import pages
from pulse_server.web.access.users import UserPages
from pulse_server.web.bodies import Problem, body_as, query_as
from pulse_server.web.conditions import wanted_revisions
from pulse_server.web.described import described
from pulse_server.web.entrance.principal import principal
from pulse_server.web.operator.admins import demand_admin
from pulse_server.web.people import Made, added, changed
from pulse_server.web.services import services

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Mapping

blueprint = Blueprint("users", __name__, url_prefix="/users")
blueprint.before_request(demand_admin)


async def found(user_id: uuid.UUID) -> dict[str, Any]:
    """Anybody. Raises NotFound."""
    users = services().users
    return await users.get(await users.owner_of(user_id), user_id)


async def made(wanted: NewUserBody) -> Made:
    """Make one."""
    return await added(services().users, wanted.tenant_id or "", wanted, principal().subject)


async def altered(before: Mapping[str, Any], wanted: UserPatch, only_if: Collection[str] | None) -> Made:
    """Change one; an operator_admin stays. Raises Problem (422): the role is of the other kind."""
    of_a_tenant = bool(before["tenant_id"])
    if wanted.role is not None and wanted.role.of_a_tenant != of_a_tenant:
        wrong = [{"field": "role", "message": "a customer's role for a customer, an operator's for an operator"}]
        raise Problem(422, "some fields are wrong", errors=wrong)
    actor = principal().subject
    return await changed(services().users, before, wanted, actor, may_be_last=of_a_tenant, only_if=only_if)


async def removed(user_id: uuid.UUID, only_if: Collection[str] | None = None) -> None:
    """Remove one; an operator_admin stays."""
    users = services().users
    owner = await users.owner_of(user_id)
    await users.remove(owner, user_id, actor=principal().subject, may_be_last=bool(owner), only_if=only_if)


PAGES: Final = UserPages(
    at="/operator/users",
    body=NewUserBody,
    patch=UserPatch,
    found=found,
    made=made,
    changed=altered,
    removed=removed,
)
PAGES.join(blueprint)


@blueprint.get("")
@described(PageOf[User], query=UserQuery)
async def show() -> Response:
    """Users by name, of all tenants and operators."""
    asked = query_as(UserQuery, blank=pages.wanted())
    return await PAGES.many(await user_page(services().pools.operator, **asked.model_dump()))


@blueprint.post("")
@described(UserMade, body=NewUserBody, status=201)
async def create() -> Response:
    """Make a user of a tenant, or an operator; 409 when the name is taken."""
    return (await made(await body_as(NewUserBody))).reply(201)


@blueprint.get("/<uuid:user_id>")
@described(User)
async def one(user_id: uuid.UUID) -> Response:
    """One user."""
    return await PAGES.one(await found(user_id))


@blueprint.patch("/<uuid:user_id>")
@described(UserMade, body=UserPatch)
async def change(user_id: uuid.UUID) -> Response:
    """Change role, address or password, disable or enable; 409 when no operator_admin would be left."""
    only_if, wanted = wanted_revisions(), await body_as(UserPatch)
    return (await altered(await found(user_id), wanted, only_if)).reply()


@blueprint.delete("/<uuid:user_id>")
@described(status=204, on_condition=True)
async def remove(user_id: uuid.UUID) -> Response:
    """Remove a user, and end their sessions within 5 s; 409 when no operator_admin would be left."""
    await removed(user_id, wanted_revisions())
    return Response(status=204)
