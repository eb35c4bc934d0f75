"""Users and API tokens."""

from __future__ import annotations

import uuid
from datetime import datetime

from pulse_core.principal import Role
from pulse_server.outputs.answers import Answer, Versioned


class User(Versioned):
    """A user, without what proves who they are."""

    tenant_id: str
    """Empty for an operator."""
    user_id: uuid.UUID
    username: str
    role: Role
    email: str
    created_at: datetime
    created_by: str
    updated_at: datetime
    disabled_at: datetime | None
    last_login_at: datetime | None
    failed_logins: int
    """Wrong passwords in a row, since the last login."""
    last_failed_at: datetime | None


class UserMade(User):
    """A user who was made, or changed."""

    initial_password: str | None
    """The password that was made up, shown this once; null: it was given, or stays."""


class Token(Answer):
    """An API token, without what it is."""

    tenant_id: str
    """Empty for an operator's."""
    token_id: uuid.UUID
    name: str
    role: Role
    scopes: list[str] | None
    """The areas that it opens; null: all that its role does."""
    created_at: datetime
    created_by: str
    expires_at: datetime
    last_used_at: datetime | None
    """To the minute."""
    revoked_at: datetime | None


class TokenMade(Token):
    """A new API token."""

    token: str
    """Shown this once."""
