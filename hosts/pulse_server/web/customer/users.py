"""``/customer/users``: the tenant's people. For customer_admin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from quart import Blueprint, Response

from pulse_core.principal import Role
from pulse_postgres.identity.user_pages import user_page
from pulse_server.inputs import CustomerUserBody, CustomerUserPatch, UserPage
from pulse_server.outputs.answers import PageOf
from pulse_server.outputs.people import User, UserMade
from pulse_server.web import pages
from pulse_server.web.access.users import UserPages
from pulse_server.web.bodies import body_as, query_as
from pulse_server.web.conditions import wanted_revisions
from pulse_server.web.customer.own import own
from pulse_server.web.demands import demands
from pulse_server.web.described import described
from pulse_server.web.people import Made, added, changed

if TYPE_CHECKING:
    import uuid
    from collections.abc import Collection, Mapping

blueprint = Blueprint("customer_users", __name__, url_prefix="/users")


@blueprint.before_request
@demands(Role.CUSTOMER_ADMIN)
async def demand_admin() -> None:
    """Who else may log in is not a viewer's business."""


async def found(user_id: uuid.UUID) -> dict[str, Any]:
    """A user of the tenant. Raises NotFound."""
    mine = own()
    return await mine.users.get(mine.tenant_id, user_id)


async def made(wanted: CustomerUserBody) -> Made:
    """Make one."""
    mine = own()
    return await added(mine.users, mine.tenant_id, wanted, mine.actor)


async def altered(before: Mapping[str, Any], wanted: CustomerUserPatch, only_if: Collection[str] | None) -> Made:
    """Change one; somebody stays in charge."""
    mine = own()
    return await changed(mine.users, before, wanted, mine.actor, only_if=only_if)


async def removed(user_id: uuid.UUID, only_if: Collection[str] | None = None) -> None:
    """Remove one; somebody stays in charge."""
    mine = own()
    await mine.users.remove(mine.tenant_id, user_id, actor=mine.actor, only_if=only_if)


PAGES: Final = UserPages(
    at="/customer/users",
    body=CustomerUserBody,
    patch=CustomerUserPatch,
    found=found,
    made=made,
    changed=altered,
    removed=removed,
)
PAGES.join(blueprint)


@blueprint.get("")
@described(PageOf[User], query=UserPage)
async def show() -> Response:
    """The tenant's users by name."""
    asked, mine = query_as(UserPage, blank=pages.wanted()), own()
    return await PAGES.many(await user_page(mine.pool, tenant_id=mine.tenant_id, **asked.model_dump()))


@blueprint.post("")
@described(UserMade, body=CustomerUserBody, status=201)
async def create() -> Response:
    """Make a user; 409 when the name is taken, by whomever in this installation."""
    return (await made(await body_as(CustomerUserBody))).reply(201)


@blueprint.get("/<uuid:user_id>")
@described(User)
async def one(user_id: uuid.UUID) -> Response:
    """One user."""
    return await PAGES.one(await found(user_id))


@blueprint.patch("/<uuid:user_id>")
@described(UserMade, body=CustomerUserPatch)
async def change(user_id: uuid.UUID) -> Response:
    """Change role, address or password, disable or enable; 409 when nobody would be left in charge."""
    only_if, wanted = wanted_revisions(), await body_as(CustomerUserPatch)
    return (await altered(await found(user_id), wanted, only_if)).reply()


@blueprint.delete("/<uuid:user_id>")
@described(status=204, on_condition=True)
async def remove(user_id: uuid.UUID) -> Response:
    """Remove a user, and end their sessions within 5 s; 409 when nobody would be left in charge."""
    await removed(user_id, wanted_revisions())
    return Response(status=204)
