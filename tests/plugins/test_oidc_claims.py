"""From claims to a principal, and what an operator may write to get there."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from pulse_core.api import ConfigError, Principal, Role
from pulse_oidc.claims import principal
from pulse_oidc.config import OidcConfig
from pulse_oidc.refused import Refused
from support.openid_lent import Lent, at_work

CUSTOMER = {"sub": "ada-1", "tenant_id": "tenant-a", "role": "customer_admin"}


def config(**changes: Any) -> OidcConfig:
    return OidcConfig(**{"issuer": "https://login.example", "client_id": "pulse", **changes})


WAYS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({}, CUSTOMER),
    "realm roles": (
        {"role_claim": "realm_access.roles"},
        {**CUSTOMER, "role": None, "realm_access": {"roles": ["offline_access", "customer_admin"]}},
    ),
    "client roles": (
        {"role_claim": "resource_access.pulse.roles"},
        {**CUSTOMER, "resource_access": {"pulse": {"roles": ["customer_admin"]}, "other": {"roles": ["operator"]}}},
    ),
    "names with dots": (
        {"role_claim": ["https://pulse.example/role"]},
        {**CUSTOMER, "https://pulse.example/role": "customer_admin"},
    ),
    "objects in arrays": (
        {"role_claim": "groups.role", "tenant_claim": "groups.tenant"},
        {"sub": "ada-1", "groups": [{"role": "customer_admin"}, {"tenant": "tenant-a"}, [{"tenant": "tenant-a"}], 7]},
    ),
    "names of theirs": ({"roles": {"pulse-admins": "customer_admin"}}, {**CUSTOMER, "role": ["pulse-admins", "x"]}),
    "two names of one role": (
        {"roles": {"a": "customer_admin", "b": "customer_admin"}},
        {**CUSTOMER, "role": ["a", "b"]},
    ),
    "the strongest": ({"several_roles": "strongest"}, {**CUSTOMER, "role": ["customer_admin", "customer_viewer"]}),
    "another name": ({"name_claim": "preferred_username"}, {**CUSTOMER, "sub": "7", "preferred_username": "ada-1"}),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "claims"), WAYS.values(), ids=WAYS)
def test_ways_to_say_the_same(changes: dict[str, Any], claims: dict[str, Any]) -> None:
    assert principal(claims, config(**changes)) == Principal("oidc:ada-1", Role.CUSTOMER_ADMIN, "tenant-a")


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "no role": ({}, {"role": None}, "no role that we know"),
    "a role of theirs": ({}, {"role": "admin"}, "no role that we know"),
    "in capitals": ({}, {"role": "CUSTOMER_ADMIN"}, "no role that we know"),
    "our name, when theirs are listed": ({"roles": {"x": "operator"}}, {}, "no role that we know"),
    "two roles": ({}, {"role": ["customer_admin", "customer_viewer"]}, "several roles"),
    "a role that is a number": ({}, {"role": ["customer_admin", 7]}, "something else than text"),
    "a role that is an object": ({}, {"role": {"name": "customer_admin"}}, "something else than text"),
    "a path that ends too early": ({"role_claim": "role.name"}, {}, "no role that we know"),
    "a customer of no tenant": ({}, {"tenant_id": None}, "needs a tenant"),
    "an empty tenant": ({}, {"tenant_id": ""}, "one tenant's id"),
    "a tenant with a line break": ({}, {"tenant_id": "tenant-a\n"}, "one tenant's id"),
    "two tenants": ({}, {"tenant_id": ["tenant-a", "tenant-b"]}, "one tenant's id"),
    "an operator of a tenant": ({}, {"role": "operator"}, "belongs to no tenant"),
    "the strongest, of a tenant": (
        {"several_roles": "strongest"},
        {"role": ["customer_admin", "operator_admin"]},
        "belongs to no tenant",
    ),
    "no name": ({}, {"sub": None}, "one name"),
    "two names": ({}, {"sub": ["a", "b"]}, "one name"),
    "a name that cannot be printed": ({}, {"sub": "a\u202e"}, "one name"),
    "a long name": ({}, {"sub": "a" * 201}, "one name"),
}


@pytest.mark.parametrize(("changes", "claims", "told"), REFUSED.values(), ids=REFUSED)
def test_in_doubt_nobody(changes: dict[str, Any], claims: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        principal({**CUSTOMER, **claims}, config(**changes))


def test_an_operator_of_no_tenant() -> None:
    assert principal({"sub": "olga", "role": "operator"}, config()) == Principal("oidc:olga", Role.OPERATOR)


@pytest.mark.parametrize(
    ("claims", "email"),
    [
        ({"email": "ada@example.com"}, "ada@example.com"),
        ({"email": "ada@example.com", "email_verified": True}, "ada@example.com"),
        ({"email": "ada@example.com", "email_verified": False}, ""),
        ({"email": "a\nb"}, ""),
        ({"email": ["x"]}, ""),
        ({"email": "x" * 300}, ""),
    ],
)
def test_an_address_is_for_people_to_read(claims: dict[str, Any], email: str) -> None:
    assert principal({**CUSTOMER, **claims}, config()).email == email


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "login.example"},
        {"issuer": "https://login.example/?a=b"},
        {"issuer": "https://login.example/#a"},
        {"client_secret": "${PULSE_OIDC_CLIENT_SECRET}"},
        {"scopes": ["email"]},
        {"roles": {"x": "god"}},
        {"several_roles": "both"},
        {"origins": ["keys.internal"]},
        {"leeway_s": -1},
        {"issuers": "x"},
    ],
)
def test_what_cannot_be_meant_is_told(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        config(**wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"issuer": None}, "plugins.oidc.issuer: is needed"),
        ({"client_id": ""}, "plugins.oidc.client_id: is needed"),
        ({"issuer": "http://login.example"}, "must be https"),
    ],
)
async def test_what_is_missing_is_told_at_the_start(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        async with at_work(**{"issuer": "https://login.example", "lent": Lent(production=True), **wrong}):
            pass


def test_the_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(config(client_secret="hunter2"))
    assert "hunter2" not in config(client_secret="hunter2").model_dump_json()
