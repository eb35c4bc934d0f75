"""Users, tokens, and how one logs in."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import (
    Field,
    SecretStr,
    StringConstraints,
    model_validator,
)

from pulse_core.principal import Role
from pulse_server.inputs.fields import (
    Body,
    TenantId,
    Text,
    Username,
)


def demand_tenant(role: Role, tenant_id: str | None) -> None:
    """A customer's role and a tenant come together. Raises ValueError."""
    if role.of_a_tenant != (tenant_id is not None):
        raise ValueError("a customer's role needs a tenant, an operator's has none")


class TokenBody(Body):
    """A new API token."""

    name: Text = Field(min_length=1)
    """What for: the audit log names it."""
    role: Role
    tenant_id: TenantId | None = None
    """Whose: for customers' roles alone."""
    days: int = Field(90, ge=1, le=3650)
    """It expires after so many."""

    @model_validator(mode="after")
    def _of_a_tenant(self) -> Self:
        demand_tenant(self.role, self.tenant_id)
        return self


class LoginBody(Body):
    """A name and its password."""

    username: str = Field(min_length=1, max_length=64)
    password: SecretStr = Field(min_length=1, max_length=1024)


class RefreshBody(Body):
    """What continues, or ends, a session."""

    refresh_token: SecretStr = Field(min_length=1, max_length=200)


class UserBody(Body):
    """A new user."""

    username: Username
    role: Role
    tenant_id: TenantId | None = None
    """Whose: for customers' roles alone."""
    email: Annotated[str, StringConstraints(max_length=254, pattern=r"^([^@\s]+@[^@\s]+)?$")] = ""

    @model_validator(mode="after")
    def _of_a_tenant(self) -> Self:
        demand_tenant(self.role, self.tenant_id)
        return self
