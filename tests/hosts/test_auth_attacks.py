"""Forged JWTs: every trick of the trade gets the one answer, fetches nothing, and leaves nothing in the log."""

from __future__ import annotations

import base64
import socket
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pulse_core.principal import Role
from pulse_core.secrets import SecretBox
from support.batches import judged
from support.forging import ATTACKS as ANYBODYS
from support.forging import Forge, lacking, now
from support.people import Door, person

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.admin import Admin
    from support.database import Database

OURS: dict[str, Callable[[Forge], str]] = {
    "kid unknown": lambda f: f.signed({"kid": "unknown"}),
    "exp a float": lambda f: f.signed(claims={"exp": now(60) + 0.5}),
    "audiences": lambda f: f.signed(claims={"aud": ["pulse", "somebody else"]}),
    "a claim more": lambda f: f.signed(claims={"admin": True}),
    "another role": lambda f: f.signed(claims={"role": "operator_admin"}),
    "roles": lambda f: f.signed(claims={"role": ["customer_admin"]}),
    "another tenant": lambda f: f.signed(claims={"tenant_id": "tenant-b"}),
    "tenants": lambda f: f.signed(claims={"tenant_id": ["tenant-a"]}),
    "another subject": lambda f: f.signed(claims={"sub": str(uuid.uuid4())}),
    "subject no id": lambda f: f.signed(claims={"sub": "ada"}),
    "an unknown session": lambda f: f.signed(claims={"sid": str(uuid.uuid4())}),
    "session no id": lambda f: f.signed(claims={"sid": "x"}),
}  # fmt: skip
"""What another issuer might write, and we never do: our tokens say exactly what we make them say."""

ATTACKS = ANYBODYS | OURS | {f"without {claim}": lacking(claim) for claim in ("email", "sid", "jti")}


@pytest.fixture
async def forge(admin: Admin, database: Database) -> Forge:
    person(database)
    token = (await Door(admin.client).tokens())["access_token"]
    ((sealed,),) = judged(database, "SELECT private_key FROM signing_keys")
    seed = base64.b64decode(SecretBox(database.secret_key).open(bytes(sealed))["seed"])
    return Forge(token, Ed25519PrivateKey.from_private_bytes(seed))


async def test_whatever_is_wrong_with_a_token_gets_the_one_answer(
    admin: Admin, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    await admin.tenant("tenant-b")
    door = Door(admin.client)
    stranger = await door.bearer("pulse_" + "A" * 43).get("/api/auth/status", headers={"X-Request-Id": "same"})
    assert stranger[0] == 401
    monkeypatch.setattr(socket, "getaddrinfo", fetched)
    monkeypatch.setattr(socket.socket, "connect", fetched)
    wrong = {}
    with structlog.testing.capture_logs() as said:
        for name, attack in ATTACKS.items():
            token = attack(forge)
            answer = await door.bearer(token).get("/api/auth/status", headers={"X-Request-Id": "same"})
            if (answer[0], answer[1], list(answer[2])) != (stranger[0], stranger[1], list(stranger[2])):
                wrong[name] = answer[:2]
            assert await door.status(forge.signed()) == 200, f"{name}: and the good one is good all the same"
    assert wrong == {}
    assert said == []


def fetched(*_: Any, **__: Any) -> Any:
    raise AssertionError("something was fetched")


async def test_the_same_token_as_we_make_it_is_good(admin: Admin, forge: Forge) -> None:
    """The control: what the forge signs is refused for the trick, not for the forging."""
    door = Door(admin.client)
    assert await door.status(forge.token) == 200
    assert await door.status(forge.signed()) == 200
    assert await door.status(forge.signed(claims={"exp": now(1), "iat": now(3), "jti": "any"})) == 200


async def test_a_key_that_retired_long_ago_signs_nothing(admin: Admin, forge: Forge, database: Database) -> None:
    """Its successor took over 20 minutes ago: everything that it rightly signed is over."""
    with database.superuser() as connection:
        connection.execute(
            "INSERT INTO signing_keys (kid, public_key, private_key, signs_from)"
            " SELECT 'new', public_key, private_key, now() - interval '20 minutes' FROM signing_keys"
        )
        connection.execute("UPDATE signing_keys SET signs_from = now() - interval '1 hour' WHERE kid <> 'new'")
    from support.admin import admin_api
    from support.people import Door as Another

    async with admin_api(database, admin.client.app.extensions["services"].config.data_dir) as other:
        assert await Another(other.client).status(forge.token) == 401
        assert await Another(other.client).status(forge.signed({"kid": "new"})) == 200


async def test_a_token_is_given_to_no_other_role(admin: Admin, database: Database) -> None:
    person(database, "vic", Role.CUSTOMER_VIEWER)
    door = Door(admin.client)
    customer = door.bearer((await door.tokens("vic"))["access_token"], "/customer")
    assert (await customer.get("/integrations"))[0] == 200
    assert (await customer.post("/integrations", {}))[0] == 403
