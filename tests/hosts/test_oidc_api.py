"""An OpenID provider's tokens at the API: as good as our own, and ended with their tenant."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.config import DEFAULT_PLUGINS, load_config
from pulse_core.plugins import PluginState, checked_survey
from support.admin import Admin, Caller, admin_api
from support.openid_standin import METADATA, StandIn, answering, standing_in
from support.people import Door, person

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.database import Database


@pytest.fixture
async def peer() -> AsyncIterator[StandIn]:
    async with standing_in() as made:
        yield made


def plugins(peer: StandIn, **table: Any) -> dict[str, Any]:
    return {"enabled": [*DEFAULT_PLUGINS, "oidc"], "oidc": {"issuer": peer.issuer, "client_id": "pulse", **table}}


@pytest.fixture
async def both(database: Database, tmp_path: Path, peer: StandIn) -> AsyncIterator[Admin]:
    """Accounts and OpenID, side by side."""
    async with admin_api(database, tmp_path, plugins=plugins(peer)) as found:
        await found.tenant()
        yield found


def customer(admin: Admin, token: str) -> Caller:
    return Door(admin.client).bearer(token)


async def test_each_token_goes_to_its_own_issuer(both: Admin, peer: StandIn, database: Database) -> None:
    person(database)
    ours = (await Door(both.client).tokens())["access_token"]
    told = []
    for token in (ours, peer.bearer(email="ada@example.com")):
        status, body, _ = await customer(both, token).get("/api/auth/status")
        assert status == 200
        told.append(body)
        assert (await customer(both, token).get("/customer/devices"))[0] == 200
        assert (await customer(both, token).get("/operator/devices"))[0] == 403
    assert [each["subject"] for each in told] == ["user:ada", "oidc:ada-1"]
    assert told[0] | {"subject": ""} == told[1] | {"subject": ""}


async def test_an_operator_is_audited_under_that_name(both: Admin, peer: StandIn, database: Database) -> None:
    token = peer.bearer(role="operator", tenant_id=None, sub="olga")
    assert (await customer(both, token).get("/operator/devices"))[0] == 200
    with database.superuser() as connection:
        actors = connection.execute("SELECT actor FROM audit_log WHERE actor LIKE 'oidc:%'").fetchall()
    assert actors == [("oidc:olga",)]


async def test_a_tenant_that_is_suspended_is_out_within_five_seconds(both: Admin, peer: StandIn) -> None:
    token = peer.bearer()
    admins = customer(both, peer.bearer(role="operator_admin", tenant_id=None))
    assert (await customer(both, token).get("/customer/devices"))[0] == 200
    status, body, _ = await admins.patch("/operator/tenants/tenant-a", {"status": "SUSPENDED"})
    assert status == 200, body
    answers: list[int] = []
    began = time.monotonic()
    while (answers or [200])[-1] == 200:
        assert time.monotonic() - began < 5
        answers.append((await customer(both, token).get("/customer/devices"))[0])
        await asyncio.sleep(0.05)
    assert answers[-1] == 401


async def test_a_provider_that_is_away_is_503_for_its_own_tokens_alone(
    database: Database, tmp_path: Path, peer: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulse_oidc.kept.APART_S", 0.05)
    person(database)
    peer.instead[METADATA] = answering({}, 503)
    async with admin_api(database, tmp_path, plugins=plugins(peer)) as admin:
        await admin.tenant()
        ours = (await Door(admin.client).tokens())["access_token"]
        assert (await customer(admin, ours).get("/api/auth/status"))[0] == 200
        status, body, headers = await customer(admin, peer.bearer()).get("/api/auth/status")
        assert status == 503
        assert int(headers["Retry-After"]) >= 1
        assert peer.issuer not in str(body)
        peer.instead.clear()
        began = time.monotonic()
        while status == 503:
            assert time.monotonic() - began < 30
            status, _, _ = await customer(admin, peer.bearer()).get("/api/auth/status")
            await asyncio.sleep(0.05)
        assert status == 200


async def test_the_doctor_tells_what_is_wrong(peer: StandIn, tmp_path: Path) -> None:
    async def status(**table: Any) -> tuple[PluginState, str]:
        config = load_config(None, mode="dev", data_dir=tmp_path, plugins=plugins(peer, **table))
        (found,) = [each for each in await checked_survey(config) if each.name == "oidc"]
        return found.status, found.error

    assert await status() == (PluginState.ENABLED, "")
    wrong, said = await status(issuer=peer.issuer + "/")
    assert wrong is PluginState.FAILED_SELF_CHECK
    assert f"plugins.oidc.issuer is '{peer.issuer}/', but the provider calls itself '{peer.issuer}'" in said
    assert "plugins.oidc.client_id: is needed" in (await status(client_id=""))[1]
    peer.instead[METADATA] = answering({}, 500)
    assert f"{peer.issuer} answers HTTP 500" in (await status())[1]
