"""Users and API tokens, as their administrators make, change and choose them over the API."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, StringConstraints, field_validator, model_validator

from pulse_core.principal import Role
from pulse_postgres.identity.api_tokens import TOKEN_ORDERS
from pulse_postgres.identity.user_pages import USER_ORDERS
from pulse_server.inputs.fields import Body, OneOf, Page, TenantPage, Text, Username, given
from pulse_server.inputs.identity import TokenBody, UserBody
from pulse_server.scopes import AREAS

CustomerRole = Literal[Role.CUSTOMER_VIEWER, Role.CUSTOMER_ADMIN]
Email = Annotated[str, StringConstraints(max_length=254, pattern=r"^([^@\s]+@[^@\s]+)?$")]
Password = Annotated[SecretStr, Field(min_length=1, max_length=1024)]
Scopes = Annotated[list[Annotated[str, OneOf(sorted(AREAS))]], Field(min_length=1, max_length=len(AREAS))]

_LONGEST_DAYS = 366


class NewUserBody(UserBody):
    """A new user of any tenant, or an operator."""

    password: Password | None = None
    """None: one is made up, and shown once in the answer."""


class CustomerUserBody(Body):
    """A new user of the caller's tenant."""

    username: Username
    """Given once in an installation, to whichever tenant."""
    role: CustomerRole
    email: Email = ""
    password: Password | None = None
    """None: one is made up, and shown once in the answer."""


class UserFields(Body):
    """What to change of a user, but for the role."""

    email: Email | None = None
    disabled: bool | None = None
    password: Password | None = None
    reset_password: bool = False
    """Make a password up, and show it once in the answer."""

    _given = field_validator("email", "disabled", "password")(given)

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.reset_password and self.password is not None:
            raise ValueError("give a password or have one made up, not both")
        return self


class UserPatch(UserFields):
    """What to change of a user. Another role or password, and disabling, end their sessions within 5 s."""

    role: Role | None = None
    """A customer's role for a customer, an operator's for an operator."""

    _role_given = field_validator("role")(given)


class CustomerUserPatch(UserFields):
    """What to change of a user. Another role or password, and disabling, end their sessions within 5 s."""

    role: CustomerRole | None = None

    _role_given = field_validator("role")(given)


class UserPage(Page):
    """Which users, in which order."""

    role: Role | None = None
    disabled: bool | None = None
    search: Text | None = Field(None, min_length=1)
    """What stands in the name or the address, in any case."""
    sort: Annotated[str, OneOf(USER_ORDERS.names)] = USER_ORDERS.default


class UserQuery(UserPage, TenantPage):
    """Which users."""


class PasswordBody(Body):
    """Another password of one's own."""

    current: Password
    new: Password


class CustomerTokenBody(Body):
    """A new API token of the caller's tenant."""

    name: Text = Field(min_length=1)
    """What for: the audit log names it."""
    role: CustomerRole
    scopes: Scopes | None = None
    """The areas that it opens; null: all that its role does."""
    days: int = Field(90, ge=1, le=_LONGEST_DAYS)
    """It expires after so many."""


class OperatorTokenBody(TokenBody):
    """A new API token of any tenant, or of the operators."""

    days: int = Field(90, ge=1, le=_LONGEST_DAYS)
    """It expires after so many."""
    scopes: Scopes | None = None
    """The areas that it opens; null: all that its role does."""


class TokenPage(Page):
    """Which tokens, in which order."""

    role: Role | None = None
    sort: Annotated[str, OneOf(TOKEN_ORDERS.names)] = TOKEN_ORDERS.default


class TokenQuery(TokenPage, TenantPage):
    """Which tokens."""
