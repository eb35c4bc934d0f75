"""From claims to a principal: who somebody is, what they may do, whose they are. In doubt, nobody."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pulse_core.api import Principal, Role
from pulse_oidc.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_oidc.config import ClaimPath, OidcConfig

_TENANT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_LONGEST_NAME = 200
_LONGEST_EMAIL = 254


def principal(claims: Mapping[str, Any], config: OidcConfig) -> Principal:
    """Whose claims these are. Raises Refused, which says what is missing, for the operator."""
    role = _role(claims, config)
    tenant_id = _tenant(claims, config)
    if role.of_a_tenant and tenant_id is None:
        raise Refused(f"a {role} needs a tenant, and the claim {config.tenant_claim!r} holds none")
    if not role.of_a_tenant and tenant_id is not None:
        raise Refused(f"an {role} belongs to no tenant, but the claim {config.tenant_claim!r} holds one")
    return Principal(f"oidc:{_name(claims, config)}", role, tenant_id, _email(claims))


def texts_at(claims: Mapping[str, Any], path: ClaimPath) -> list[str]:
    """The different texts at a path, through objects and every element of arrays. Raises Refused: something else."""
    at: list[Any] = [claims]
    for step in path.split(".") if isinstance(path, str) else path:
        at = [each[step] for each in _elements(at) if isinstance(each, Mapping) and step in each]
    found = [each for each in _elements(at) if each is not None]
    if not all(isinstance(each, str) for each in found):
        raise Refused(f"the claim {path!r} holds something else than text")
    return list(dict.fromkeys(found))


def _role(claims: Mapping[str, Any], config: OidcConfig) -> Role:
    known = config.roles or {str(role): role for role in Role}
    found = {known[name] for name in texts_at(claims, config.role_claim) if name in known}
    if not found:
        raise Refused(f"the claim {config.role_claim!r} holds no role that we know")
    if len(found) > 1 and config.several_roles == "refuse":
        raise Refused(f"the claim {config.role_claim!r} holds several roles, and several_roles is 'refuse'")
    return max(found, key=list(Role).index)


def _tenant(claims: Mapping[str, Any], config: OidcConfig) -> str | None:
    found = texts_at(claims, config.tenant_claim)
    if not found:
        return None
    if len(found) > 1 or not _TENANT_ID.fullmatch(found[0]):
        raise Refused(f"the claim {config.tenant_claim!r} holds something else than one tenant's id")
    return found[0]


def _name(claims: Mapping[str, Any], config: OidcConfig) -> str:
    found = texts_at(claims, config.name_claim)
    if len(found) != 1 or not found[0].isprintable() or not 0 < len(found[0]) <= _LONGEST_NAME:
        raise Refused(f"the claim {config.name_claim!r} holds something else than one name")
    return found[0]


def _email(claims: Mapping[str, Any]) -> str:
    """Only for people to read: one that is not proper is left out."""
    email = claims.get("email")
    if not isinstance(email, str) or not email.isprintable() or len(email) > _LONGEST_EMAIL:
        return ""
    return "" if claims.get("email_verified") is False else email


def _elements(values: Sequence[Any]) -> list[Any]:
    """The values, with the elements of arrays in place of these."""
    left, found = list(reversed(values)), []
    while left:
        each = left.pop()
        if isinstance(each, list):
            left.extend(reversed(each))
        else:
            found.append(each)
    return found
