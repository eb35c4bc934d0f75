"""Tenants, devices, codes and tokens: what administrators make, and what devices trade."""

from __future__ import annotations

import asyncio
import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.errors import Conflict, NotFound, PermanentFailure
from pulse_postgres.pool import open_pool
from pulse_postgres.provisioning import Activation, Provisioning
from pulse_postgres.tokens import hash_code
from support.batches import judged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from support.database import Database

ME = "admin-key"
_HASHES = "SELECT token_hash, previous_token_hash, previous_until > now() FROM devices"


@pytest.fixture
async def admin(database: Database) -> AsyncIterator[Provisioning]:
    pool = await open_pool(database.dsn("pulse_admin"), name="test")
    provisioning = Provisioning(pool)
    await provisioning.create_tenant("tenant-a", name="Ä & Co", stale_after_s=60, actor=ME)
    await provisioning.create_tenant("tenant-b", actor=ME)
    await provisioning.create_device("tenant-a", "dev-1", "site-1", actor=ME)
    yield provisioning
    await pool.close()


@pytest.fixture
async def door(database: Database) -> AsyncIterator[Activation]:
    pool = await open_pool(database.dsn("pulse_auth"), name="test")
    yield Activation(pool)
    await pool.close()


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


async def test_tenants_are_made_once_and_listed(admin: Provisioning) -> None:
    with pytest.raises(Conflict, match="tenant-a"):
        await admin.create_tenant("tenant-a", actor=ME)
    first = await admin.tenants(limit=1)
    assert [(item["tenant_id"], item["name"], item["status"]) for item in first.items] == [
        ("tenant-a", "Ä & Co", "ACTIVE")
    ]
    rest = await admin.tenants(cursor=first.next)
    assert [item["tenant_id"] for item in rest.items] == ["tenant-b"]
    assert rest.next is None


async def test_a_device_is_made_once_in_a_tenant_that_exists(admin: Provisioning) -> None:
    made = await admin.create_device(
        "tenant-b", "dev-1", "site-2", name="Pump", labels={"line": "A"}, stale_after_s=2.5, actor=ME
    )
    expected = {
        "tenant_id": "tenant-b",
        "device_id": "dev-1",
        "site_id": "site-2",
        "name": "Pump",
        "labels": {"line": "A"},
        "status": "UNKNOWN",
        "activated": False,
        "revoked_at": None,
        "stale_after_s": 2.5,
    }
    assert made | expected == made
    assert await admin.device("tenant-b", "dev-1") == made
    with pytest.raises(Conflict, match="dev-1"):
        await admin.create_device("tenant-b", "dev-1", "site-3", actor=ME)
    with pytest.raises(NotFound, match="tenant-z"):
        await admin.create_device("tenant-z", "dev-1", "site-1", actor=ME)
    with pytest.raises(NotFound):
        await admin.device("tenant-b", "dev-2")


@pytest.mark.parametrize("bad", ["", "a/b", "a b", "\x00", "\ud800", "x" * 129, "новый"])
async def test_ids_of_the_wrong_form_are_refused(bad: str, admin: Provisioning) -> None:
    """Never an error that looks like ours, whoever forgot to check before."""
    refused: list[Awaitable[Any]] = [
        admin.create_tenant(bad, actor=ME),
        admin.create_device("tenant-a", bad, "site-1", actor=ME),
        admin.create_device("tenant-a", "dev-9", bad, actor=ME),
        admin.create_device(bad, "dev-9", "site-1", actor=ME),
        admin.device("tenant-a", bad),
        admin.create_code("tenant-a", bad, actor=ME),
        admin.revoke(bad, "dev-1", actor=ME),
        admin.rotate_token("tenant-a", bad, actor=ME),
    ]
    for attempt in refused:
        with pytest.raises(PermanentFailure):
            await attempt


@pytest.mark.parametrize("bad", ["\x00", "\ud800"])
async def test_unstorable_names_are_refused(bad: str, admin: Provisioning) -> None:
    with pytest.raises(PermanentFailure):
        await admin.create_device("tenant-a", "dev-9", "site-1", labels={"x": bad}, actor=ME)
    with pytest.raises(PermanentFailure):
        await admin.create_tenant("tenant-c", name=bad, actor=ME)


async def test_devices_are_listed_by_filter_and_page(admin: Provisioning) -> None:
    for number in range(5):
        await admin.create_device("tenant-b", f"pump-{number}", f"site-{number % 2}", actor=ME)
    await admin.revoke("tenant-b", "pump-3", actor=ME)

    async def found(**wanted: Any) -> list[str]:
        names, cursor = [], None
        while True:
            page = await admin.devices(**wanted, limit=2, cursor=cursor)
            names += [f"{item['tenant_id']}/{item['device_id']}" for item in page.items]
            cursor = page.next
            if cursor is None:
                return names

    pumps = [f"tenant-b/pump-{number}" for number in range(5)]
    assert await found() == ["tenant-a/dev-1", *pumps]
    assert await found(tenant_id="tenant-b") == pumps
    assert await found(site_id="site-0") == [pumps[0], pumps[2], pumps[4]]
    assert await found(prefix="dev") == ["tenant-a/dev-1"]
    assert await found(status="REVOKED") == [pumps[3]]
    assert await found(status="UNKNOWN", tenant_id="tenant-b", prefix="pump-4") == [pumps[4]]
    assert await found(prefix="%") == []


@pytest.mark.parametrize("cursor", ["", "x", "!", "WyJhIl0", "WzEsMl0", "\ud800", "bnVsbA"])
async def test_a_cursor_that_no_list_gave_is_refused(cursor: str, admin: Provisioning) -> None:
    with pytest.raises(PermanentFailure, match="cursor"):
        await admin.devices(cursor=cursor)


async def test_a_bare_device_id_names_its_tenants(admin: Provisioning) -> None:
    assert await admin.tenants_of_device_id("dev-1") == ["tenant-a"]
    await admin.create_device("tenant-b", "dev-1", "site-1", actor=ME)
    assert await admin.tenants_of_device_id("dev-1") == ["tenant-a", "tenant-b"]
    assert await admin.tenants_of_device_id("dev-2") == []


async def test_a_code_gives_a_token_once(admin: Provisioning, door: Activation, database: Database) -> None:
    code = await admin.create_code("tenant-a", "dev-1", actor=ME)
    assert judged(database, "SELECT expires_at - created_at = interval '1 hour' FROM activation_codes") == [(True,)]
    granted = await door.activate(code.code)
    assert (granted.tenant_id, granted.device_id) == ("tenant-a", "dev-1")
    assert len(granted.token) >= 43
    assert judged(database, _HASHES) == [(sha256(granted.token), None, None)]
    with pytest.raises(NotFound):
        await door.activate(code.code)
    assert judged(database, _HASHES) == [(sha256(granted.token), None, None)]
    assert (await admin.device("tenant-a", "dev-1"))["activated"] is True


async def test_neither_code_nor_token_is_stored(admin: Provisioning, door: Activation, database: Database) -> None:
    code = await admin.create_code("tenant-a", "dev-1", actor=ME)
    token = (await door.activate(code.code)).token
    everything = ""
    for table in ("devices", "activation_codes", "audit_log"):
        everything += str(judged(database, f"SELECT to_jsonb(t)::text FROM {table} t"))
    for secret in (code.code, code.code.replace("-", ""), token):
        assert secret not in everything


async def test_many_at_once_trade_a_code_once(admin: Provisioning, door: Activation, database: Database) -> None:
    code = await admin.create_code("tenant-a", "dev-1", actor=ME)
    outcomes = await asyncio.gather(*(door.activate(code.code) for _ in range(20)), return_exceptions=True)
    granted = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    assert len(granted) == 1
    assert {type(outcome) for outcome in outcomes if isinstance(outcome, BaseException)} == {NotFound}
    assert judged(database, _HASHES) == [(sha256(granted[0].token), None, None)]


async def test_a_code_may_be_typed_by_people(admin: Provisioning, door: Activation) -> None:
    code = await admin.create_code("tenant-a", "dev-1", actor=ME)
    typed = f" {code.code.lower().replace('-', ' ').replace('0', 'o').replace('1', 'l')} "
    assert (await door.activate(typed)).device_id == "dev-1"


@pytest.mark.parametrize("code", ["", "x", "A" * 20, "A" * 200, "\x00" * 20, "\ud800" * 20, "ß" * 20, "٣" * 20])
async def test_what_is_no_code_is_not_found(code: str, door: Activation) -> None:
    with pytest.raises(NotFound, match="not valid"):
        await door.activate(code)


async def test_an_expired_code_is_like_an_unknown_one(
    admin: Provisioning, door: Activation, database: Database
) -> None:
    code = await admin.create_code("tenant-a", "dev-1", actor=ME)
    judged(database, "UPDATE activation_codes SET expires_at = now() - interval '1 s' RETURNING true")
    with pytest.raises(NotFound) as expired:
        await door.activate(code.code)
    with pytest.raises(NotFound) as unknown:
        await door.activate("00000-00000-00000-00000")
    assert str(expired.value) == str(unknown.value)
    assert judged(database, _HASHES) == [(None, None, None)]


async def test_a_new_code_replaces_the_unused_one(admin: Provisioning, door: Activation) -> None:
    old = await admin.create_code("tenant-a", "dev-1", actor=ME)
    new = await admin.create_code("tenant-a", "dev-1", actor=ME)
    with pytest.raises(NotFound):
        await door.activate(old.code)
    assert (await door.activate(new.code)).device_id == "dev-1"


async def test_a_revoked_device_is_out_for_good(admin: Provisioning, door: Activation, database: Database) -> None:
    first = await admin.create_code("tenant-a", "dev-1", actor=ME)
    await door.activate(first.code)
    await admin.rotate_token("tenant-a", "dev-1", grace_s=3600, actor=ME)
    leftover = await admin.create_code("tenant-a", "dev-1", actor=ME)
    await admin.revoke("tenant-a", "dev-1", actor=ME)
    device = await admin.device("tenant-a", "dev-1")
    assert (device["status"], device["activated"]) == ("REVOKED", False)
    assert judged(database, "SELECT token_hash, previous_token_hash, previous_until FROM devices") == [
        (None, None, None)
    ]
    with pytest.raises(NotFound):
        await door.activate(leftover.code)
    with pytest.raises(Conflict, match="revoked"):
        await admin.create_code("tenant-a", "dev-1", actor=ME)
    with pytest.raises(Conflict, match="revoked"):
        await admin.rotate_token("tenant-a", "dev-1", actor=ME)
    await admin.revoke("tenant-a", "dev-1", actor=ME)
    assert (await admin.device("tenant-a", "dev-1"))["revoked_at"] == device["revoked_at"]


async def test_a_code_that_outlived_the_revocation_opens_nothing(
    admin: Provisioning, door: Activation, database: Database
) -> None:
    """Even if the code were still there: the device's row decides."""
    code = await admin.create_code("tenant-a", "dev-1", actor=ME)
    judged(database, "UPDATE devices SET revoked_at = now() RETURNING true")
    with pytest.raises(NotFound):
        await door.activate(code.code)
    assert judged(database, "SELECT token_hash FROM devices") == [(None,)]


async def test_revoking_and_activating_at_once_ends_revoked(
    admin: Provisioning, door: Activation, database: Database
) -> None:
    for number in range(10):
        name = f"race-{number}"
        await admin.create_device("tenant-a", name, "site-1", actor=ME)
        code = await admin.create_code("tenant-a", name, actor=ME)
        outcomes = await asyncio.gather(
            door.activate(code.code), admin.revoke("tenant-a", name, actor=ME), return_exceptions=True
        )
        assert outcomes[1] is None
        assert not isinstance(outcomes[0], BaseException) or isinstance(outcomes[0], NotFound)
    left = judged(database, "SELECT FROM devices WHERE token_hash IS NOT NULL AND revoked_at IS NOT NULL")
    assert left == []


async def test_rotation_keeps_the_old_token_for_the_grace_period(
    admin: Provisioning, door: Activation, database: Database
) -> None:
    code = await admin.create_code("tenant-a", "dev-1", actor=ME)
    first = (await door.activate(code.code)).token
    second = (await admin.rotate_token("tenant-a", "dev-1", grace_s=90.5, actor=ME)).token
    assert judged(database, _HASHES) == [(sha256(second), sha256(first), True)]
    ((grace_s,),) = judged(database, "SELECT extract(epoch FROM previous_until - updated_at)::float8 FROM devices")
    assert grace_s == 90.5
    third = (await admin.rotate_token("tenant-a", "dev-1", actor=ME)).token
    assert judged(database, _HASHES) == [(sha256(third), None, None)]
    assert len({first, second, third}) == 3


async def test_only_an_activated_device_has_a_token_to_rotate(admin: Provisioning) -> None:
    with pytest.raises(Conflict, match="activat"):
        await admin.rotate_token("tenant-a", "dev-1", actor=ME)


async def test_every_deed_is_in_the_audit_log_and_no_failure(
    admin: Provisioning, door: Activation, database: Database
) -> None:
    code = await admin.create_code("tenant-a", "dev-1", actor="cli:root")
    await door.activate(code.code)
    await admin.rotate_token("tenant-a", "dev-1", grace_s=5, actor=ME)
    await admin.revoke("tenant-a", "dev-1", actor=ME)
    with pytest.raises(Conflict):
        await admin.create_device("tenant-a", "dev-1", "site-1", actor=ME)
    logged = judged(database, "SELECT tenant_id, actor, action, resource, details FROM audit_log ORDER BY at")
    device = "tenant-a/dev-1"
    assert logged == [
        ("tenant-a", ME, "tenant.create", "tenant-a", {}),
        ("tenant-b", ME, "tenant.create", "tenant-b", {}),
        ("tenant-a", ME, "device.create", device, {"site_id": "site-1"}),
        ("tenant-a", "cli:root", "device.activate-code", device, {}),
        ("tenant-a", ME, "device.rotate-token", device, {"grace_s": 5}),
        ("tenant-a", ME, "device.revoke", device, {}),
    ]


def test_codes_have_a_hundred_random_bits() -> None:
    assert hash_code("4QX7M-0ZR2K-ABCDE-FGHJK") == hash_code("4qx7mozr2kabcdefghjk")
    assert hash_code("4QX7M-0ZR2K-ABCDE-FGHJK") != hash_code("4QX7M-0ZR2K-ABCDE-FGHJM")
    assert hash_code("4QX7M-0ZR2K-ABCDE-FGHJU") is None
