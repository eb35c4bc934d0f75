"""OpenID Connect: people log in at Keycloak or any other OpenID provider, and programs show its access tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.api import hookimpl
from pulse_oidc.provider import OidcProvider

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulse_core.api import AuthProvider


@hookimpl
def pulse_register_auth_providers() -> Iterable[type[AuthProvider]]:
    """Users of an OpenID provider."""
    return (OidcProvider,)
