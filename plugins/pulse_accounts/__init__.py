"""Accounts: users in our own database, with passwords, and signed tokens (JWT) that look like any OpenID provider's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_accounts.provider import AccountsProvider
from pulse_core.api import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulse_core.api import AuthProvider


@hookimpl
def pulse_register_auth_providers() -> Iterable[type[AuthProvider]]:
    """Users of this installation."""
    return (AccountsProvider,)
