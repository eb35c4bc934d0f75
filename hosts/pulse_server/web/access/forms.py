"""Forms of users and API tokens: made of what the API takes, told in the words of people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pulse_core.principal import Role
from pulse_server.scopes import AREAS
from pulse_server.web.forms import Form

if TYPE_CHECKING:
    from pydantic import BaseModel

_NOT_OF_TENANTS: Final = frozenset({"platform", "tenants"})
"""Areas in which there is nothing for customers."""
_USERNAME: Final = "What they log in with: small letters, digits, and ._@+- in between. Nobody else here may have it."
_OR_MADE_UP: Final = "At least 12 characters. Leave it empty to have one made up, which is shown once."
_ROLES: Final = (
    "A viewer sees everything and changes nothing. An admin changes things, and looks after users and tokens."
)
_ALL_ROLES: Final = (
    "A customer's sees one tenant; an operator's sees all of them. Admins change things, the others look."
)
_TENANT: Final = "Whose: for a customer's role alone. An operator has none."
_EMAIL: Final = {"format": "email", "title": "Email", "description": ""}


def new_user(body: type[BaseModel]) -> Form:
    """A user who is to be made."""
    roles = _ALL_ROLES if "tenant_id" in body.model_fields else _ROLES
    told = {
        "username": {"title": "Name", "description": _USERNAME},
        "role": {"description": roles},
        "tenant_id": {"title": "Tenant", "description": _TENANT},
        "email": _EMAIL,
        "password": {"description": _OR_MADE_UP},
    }
    return Form.of(body, told)


def user_as_is(body: type[BaseModel], *, of_a_tenant: bool) -> Form:
    """What may be changed of a user.

    :param body: what a new one is made of.
    """
    roles = [str(role) for role in Role if role.of_a_tenant is of_a_tenant]
    role = {"enum": roles, "type": "string", "description": "With another role they must log in again."}
    return Form.of(body, {"role": role, "email": _EMAIL})


def password(body: type[BaseModel]) -> Form:
    """Another password for a user."""
    return Form.of(body, {"password": {"title": "New password", "description": _OR_MADE_UP}})


def new_token(body: type[BaseModel]) -> Form:
    """A token that is to be minted."""
    of_customers = "tenant_id" not in body.model_fields
    areas = sorted(AREAS.keys() - _NOT_OF_TENANTS if of_customers else AREAS)
    scopes = {"type": "array", "uniqueItems": True, "items": {"enum": areas}}
    told: dict[str, dict[str, Any]] = {
        "name": {"description": "What it is for: the audit log calls it so."},
        "role": {"description": _ROLES if of_customers else _ALL_ROLES},
        "tenant_id": {"title": "Tenant", "description": _TENANT},
        "scopes": {
            "anyOf": [scopes, {"type": "null"}],
            "title": "Areas",
            "description": "What it opens. Tick none, and it opens all that its role does.",
        },
        "days": {"title": "Days", "description": "It expires after so many."},
    }
    return Form.of(body, told)
