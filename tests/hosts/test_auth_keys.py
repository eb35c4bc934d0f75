"""The keys that sign tokens: published, replaced while everybody works, encrypted anew with the secret key."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import jwt
import pytest

from pulse_accounts.keys import KeyRing, new_key, rotate
from pulse_accounts.provider import AccountsProvider
from pulse_core.api import KnownTokens, PluginConfig
from pulse_core.config import load_config
from pulse_core.errors import Conflict
from pulse_core.secrets import SecretBox
from pulse_postgres.identity.signing_keys import PostgresSigningKeys
from pulse_postgres.pool import open_pool
from pulse_postgres.resealing import SIGNING_KEYS, Resealing
from pulse_server.providers import lent
from pulse_server.resealing import reseal
from support.batches import judged, register
from support.people import PASSWORD, Door, person
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import asyncpg

    from support.admin import Admin
    from support.database import Database

FRESH_S = 0.02
DELAY_S = 0.1
CALLERS = 6


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[asyncpg.Pool[Any]]:
    made = await open_pool(database.dsn("pulse_admin"), name="test", max_size=3)
    yield made
    await made.close()


@pytest.fixture
async def hosts(database: Database, tmp_path: Path) -> AsyncIterator[list[AccountsProvider]]:
    """Two processes that share the database."""
    register(database, "tenant-a/dev-1")
    person(database)
    config = load_config(None, mode="dev", data_dir=tmp_path)
    box = SecretBox(database.secret_key)
    async with AsyncExitStack() as stack:
        made = []
        for _ in range(2):
            auth = await open_pool(database.dsn("pulse_auth"), name="test", max_size=3)
            stack.push_async_callback(auth.close)
            provider = AccountsProvider(PluginConfig(), lent("accounts", config, box, auth))
            provider.keys = KeyRing(provider.services, fresh_s=FRESH_S)
            stack.push_async_callback(provider.close)
            await provider.open()
            made.append(provider)
        yield made


async def issued(host: AccountsProvider) -> str:
    login = await host.verify_password("ada", PASSWORD)
    assert login is not None
    tokens = await host.issue(login)
    assert tokens is not None
    return tokens.access_token


async def test_anybody_can_check_our_tokens_with_the_published_keys(admin: Admin, database: Database) -> None:
    person(database)
    door = Door(admin.client)
    token = (await door.tokens())["access_token"]
    metadata = (await door.bearer("").get("/.well-known/oauth-authorization-server"))[1]
    assert metadata["jwks_uri"] == "http://127.0.0.1:8080/.well-known/jwks.json"
    status, keys, headers = await door.bearer("").get("/.well-known/jwks.json")
    assert (status, headers["Cache-Control"]) == (200, "public, max-age=10")
    assert not {"d", "private"} & set(keys["keys"][0])
    key = jwt.PyJWKSet.from_dict(keys)[jwt.get_unverified_header(token)["kid"]]
    claims = jwt.decode(token, key, algorithms=["EdDSA"], audience="pulse", issuer=metadata["issuer"])
    assert claims["tenant_id"] == "tenant-a"


async def test_fifty_rotations_under_load_refuse_no_valid_token(
    hosts: list[AccountsProvider], pool: asyncpg.Pool[Any], database: Database
) -> None:
    """Each token is shown at once to the process that did not issue it, and any of them again and again to both."""
    box, store = SecretBox(database.secret_key), PostgresSigningKeys(pool)
    login = await hosts[0].verify_password("ada", PASSWORD)
    assert login is not None
    chance = random.Random(1)
    tokens: list[str] = []
    signed_by: dict[str, str] = {}
    shown = 0

    async def load() -> None:
        nonlocal shown
        while True:
            issuer, other = chance.sample(hosts, 2)
            made = await issuer.issue(login)
            assert made is not None
            signed_by[jwt.get_unverified_header(made.access_token)["kid"]] = made.access_token
            tokens.append(made.access_token)
            for token, host in ((made.access_token, other), *((chance.choice(tokens), host) for host in hosts)):
                assert await host.verify_bearer(token) is not None, f"after {len(signed_by)} keys and {shown} checks"
                shown += 1

    async with asyncio.timeout(120), asyncio.TaskGroup() as group:
        callers = [group.create_task(load()) for _ in range(CALLERS)]
        for _ in range(50):
            kid = await rotate(store, box, signs_in_s=DELAY_S)
            for host in hosts:
                host._known = KnownTokens[Any]()  # so that signatures are checked, and not what was found out before
            await until(lambda kid=kid: kid in signed_by, what=f"key {kid} to sign")  # type: ignore[misc]
        for caller in callers:
            caller.cancel()
    assert len(signed_by) >= 50
    assert shown > 50 * CALLERS
    for host in hosts:
        host._known = KnownTokens[Any]()
        assert [kid for kid, token in signed_by.items() if await host.verify_bearer(token) is None] == []


async def test_a_key_that_signs_before_it_is_known_would_be_refused(
    hosts: list[AccountsProvider], pool: asyncpg.Pool[Any], database: Database
) -> None:
    """The control of the test above, and why a new key waits."""
    for host in hosts:
        host.keys._fresh_s = 60.0
    kid = await rotate(PostgresSigningKeys(pool), SecretBox(database.secret_key), signs_in_s=0)
    hosts[0].keys._looked_at = None
    token = await issued(hosts[0])
    assert jwt.get_unverified_header(token)["kid"] == kid
    assert await hosts[1].verify_bearer(token) is None


async def test_a_new_key_is_published_before_it_signs(
    hosts: list[AccountsProvider], pool: asyncpg.Pool[Any], database: Database
) -> None:
    kid = await rotate(PostgresSigningKeys(pool), SecretBox(database.secret_key), signs_in_s=600)
    hosts[0].keys._looked_at = None
    assert kid in {key["kid"] for key in await hosts[0].published_keys()}
    assert jwt.get_unverified_header(await issued(hosts[0]))["kid"] != kid


async def test_processes_that_start_at_once_have_one_first_key(database: Database, tmp_path: Path) -> None:
    config, box = load_config(None, mode="dev", data_dir=tmp_path), SecretBox(database.secret_key)
    auth = await open_pool(database.dsn("pulse_auth"), name="test", max_size=8)
    rings = [KeyRing(lent("accounts", config, box, auth)) for _ in range(8)]
    await asyncio.gather(*(ring.open() for ring in rings))
    assert len({(await ring.signing())[0] for ring in rings}) == 1
    assert judged(database, "SELECT count(*) FROM signing_keys") == [(1,)]
    await auth.close()


async def test_two_that_rotate_at_once_do_not_both(pool: asyncpg.Pool[Any], database: Database) -> None:
    store, box = PostgresSigningKeys(pool), SecretBox(database.secret_key)
    await rotate(store, box)
    newest = (await store.load())[0].kid
    assert await store.add(new_key(box, signs_in_s=0), replacing=newest)

    class Late(PostgresSigningKeys):
        async def load(self) -> Any:
            return [key for key in await super().load() if key.kid == newest]

    with pytest.raises(Conflict):
        await rotate(Late(pool), box)


async def test_keys_are_forgotten_when_their_last_token_is_over(
    hosts: list[AccountsProvider], pool: asyncpg.Pool[Any], database: Database
) -> None:
    store = PostgresSigningKeys(pool)
    await rotate(store, SecretBox(database.secret_key), signs_in_s=0)
    assert await store.forget() == 0
    with database.superuser() as connection:
        connection.execute("UPDATE signing_keys SET signs_from = signs_from - interval '20 minutes'")
    assert len(await store.load()) == 1
    assert await store.forget() == 1
    assert judged(database, "SELECT count(*) FROM signing_keys") == [(1,)]


async def test_the_private_part_is_stored_encrypted(hosts: list[AccountsProvider], database: Database) -> None:
    _, key = await hosts[0].keys.signing()
    ((stored,),) = judged(database, "SELECT private_key FROM signing_keys")
    assert key.private_bytes_raw() not in bytes(stored)
    assert SecretBox(database.secret_key).open(bytes(stored))


async def test_keys_are_encrypted_anew_with_the_secret_key(
    hosts: list[AccountsProvider], pool: asyncpg.Pool[Any], database: Database
) -> None:
    new, old = "n" * 40, database.secret_key
    done = await reseal(Resealing(pool, SIGNING_KEYS), SecretBox(new, old))
    assert (done.resealed, done.current, done.unreadable) == (1, 0, ())
    again = await reseal(Resealing(pool, SIGNING_KEYS), SecretBox(new, old))
    assert (again.resealed, again.current) == (0, 1)
    ((stored,),) = judged(database, "SELECT private_key FROM signing_keys")
    assert SecretBox(new).open(bytes(stored))["seed"]
    assert await Resealing(pool).count() == 0
    (unreadable,) = (await reseal(Resealing(pool, SIGNING_KEYS), SecretBox("s" * 40))).unreadable
    assert "pulse keys rotate" in str(unreadable)


async def test_a_process_that_knows_only_the_old_secret_key_goes_on_signing(
    hosts: list[AccountsProvider], pool: asyncpg.Pool[Any], database: Database
) -> None:
    kid = jwt.get_unverified_header(await issued(hosts[0]))["kid"]
    assert (await reseal(Resealing(pool, SIGNING_KEYS), SecretBox("n" * 40, database.secret_key))).resealed == 1
    hosts[0].keys._looked_at = None
    assert jwt.get_unverified_header(await issued(hosts[0]))["kid"] == kid


async def test_a_process_that_cannot_read_the_key_makes_another_and_knows_the_old(
    hosts: list[AccountsProvider], database: Database, tmp_path: Path
) -> None:
    token = await issued(hosts[0])
    config = load_config(None, mode="dev", data_dir=tmp_path)
    auth = await open_pool(database.dsn("pulse_auth"), name="test", max_size=2)
    try:
        stranger = AccountsProvider(PluginConfig(), lent("accounts", config, SecretBox("s" * 40), auth))
        await stranger.open()
        assert await stranger.verify_bearer(token) is not None
        assert jwt.get_unverified_header(await issued(stranger))["kid"] != jwt.get_unverified_header(token)["kid"]
    finally:
        await auth.close()
