"""Who asks: the one answer that every way of logging in comes to."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct


class Role(StrEnum):
    """What somebody may do; see CONTRACTS."""

    CUSTOMER_VIEWER = "customer_viewer"
    CUSTOMER_ADMIN = "customer_admin"
    OPERATOR = "operator"
    OPERATOR_ADMIN = "operator_admin"

    @property
    def of_a_tenant(self) -> bool:
        """Whether its holder belongs to one tenant, and never sees another."""
        return self in {Role.CUSTOMER_VIEWER, Role.CUSTOMER_ADMIN}


OF_PROGRAMS = "token:"
"""With this begins the subject of whoever shows an API token."""


class Principal(Struct, frozen=True):
    """Somebody who proved who they are.

    ``subject`` names them in the audit log (``token:nightly report``, ``user:customer1``). ``tenant_id`` is None for
    operators; ``email`` is empty for API tokens. ``scopes`` narrow an API token to areas; None: it opens all that its
    role does.
    """

    subject: str
    role: Role
    tenant_id: str | None = None
    email: str = ""
    scopes: frozenset[str] | None = None

    @property
    def by_token(self) -> bool:
        """Whether it was an API token that proved it: a program, not somebody with a password."""
        return self.subject.startswith(OF_PROGRAMS)
