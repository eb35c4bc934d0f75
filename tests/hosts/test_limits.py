"""Callers that write too often, or guess at tokens, are told when to come back; their neighbours notice nothing."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any

from pulse_core.principal import Role
from pulse_postgres.identity import token_check
from pulse_server import throttle
from pulse_server.web.around import limits
from support.admin import UNLIMITED, Caller, admin_api, served
from support.batches import judged

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from support.database import Database

NOBODYS = "pulse_" + "A" * 43


def at(address: str) -> dict[str, Any]:
    """From there."""
    return {"scope_base": {"client": (address, 4711)}}


def refused(answer: tuple[int, Any, Any]) -> bool:
    """Whether it is a 429 as it should be."""
    status, body, headers = answer
    if status == 429:
        assert headers["Content-Type"] == "application/problem+json"
        assert body["title"] == "Too Many Requests"
        assert int(headers["Retry-After"]) >= 1
    return status == 429


async def test_who_writes_too_often_is_told_when_to_come_back(database: Database, tmp_path: Path) -> None:
    few = {**UNLIMITED, "writes_per_s": 0.5, "writes_burst": 5}
    async with admin_api(database, tmp_path, limits=few) as admin:
        await admin.tenant()
        await admin.tenant("tenant-b")
        one, other = await admin.customer(), await admin.customer("tenant-b")
        namesake = await admin.operator(Role.OPERATOR_ADMIN)
        answers = [await one.post("/integrations", data=b"not even JSON") for _ in range(7)]
        assert [refused(each) for each in answers] == [False] * 5 + [True] * 2
        assert refused(await one.delete("/integrations/00000000-0000-4000-8000-000000000000"))
        assert (await one.get("/integrations"))[0] == 200, "reading is not writing"
        assert not refused(await other.post("/integrations", {}))
        assert not refused(await namesake.post("/settings", {}))
        assert not any([refused(await admin.post("/tenants", {})) for _ in range(9)]), "it registers whole fleets"


async def test_the_body_of_a_refused_write_is_not_waited_for(database: Database, tmp_path: Path) -> None:
    few = {**UNLIMITED, "writes_per_s": 0.1, "writes_burst": 1}
    async with admin_api(database, tmp_path, limits=few) as admin:
        await admin.tenant()
        customer = await admin.customer()
        assert (await customer.post("/integrations", {}))[0] == 422
        async with served(admin) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            head = f"Host: x\r\nAuthorization: {customer.headers['Authorization']}\r\nContent-Length: 9\r\n\r\n"
            writer.write(f"POST /customer/integrations HTTP/1.1\r\n{head}".encode())
            assert b" 429 " in await asyncio.wait_for(reader.readline(), 5)
            writer.close()


async def test_an_address_that_writes_too_often_is_refused_whoever_asks(database: Database, tmp_path: Path) -> None:
    few = {**UNLIMITED, "address_writes_per_s": 0.5, "address_writes_burst": 4}
    async with admin_api(database, tmp_path, limits=few) as admin:
        await admin.tenant()
        customer, stranger = await admin.customer(), Caller(admin.client, "", {})
        for number, (caller, path) in enumerate([(customer, "/integrations"), (stranger, "/nowhere")] * 4):
            answer = await caller.post(path, {}, **at("2001:db8:0:1::1"))
            assert refused(answer) is (number >= 4)
        assert refused(await customer.post("/integrations", {}, **at("2001:db8:0:1:ffff::2"))), "the same /64"
        assert not refused(await customer.post("/integrations", {}, **at("2001:db8:0:2::1")))
        assert (await customer.get("/integrations", **at("2001:db8:0:1::1")))[0] == 200


async def test_who_guesses_is_not_heard_any_more_and_a_neighbour_at_work_is(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_check, "HOLDS_S", 0.0)
    async with admin_api(database, tmp_path, limits={**UNLIMITED, "failures_per_minute": 6}) as admin:
        await admin.tenant()
        at_work, new = await admin.customer(), await admin.customer()
        guesser = Caller(admin.client, "", {"Authorization": f"Bearer {NOBODYS}"})
        assert (await at_work.get("/devices"))[0] == 200
        stranger = Caller(admin.client, "", {})
        assert {(await stranger.get("/customer/devices"))[0] for _ in range(20)} == {401}, (
            "who shows nothing guesses not"
        )
        answers = [await guesser.get("/customer/devices") for _ in range(4)]
        answers += [await admin.get("/tenants", key=f"wrong {number}") for number in range(4)]
        assert [status for status, _, _ in answers] == [401] * 6 + [429] * 2
        assert refused(await guesser.get("/customer/devices", headers={"Authorization": "Bearer eyJ.e30.x"}))
        before = judged(database, "SELECT last_used_at FROM api_tokens WHERE last_used_at IS NULL")
        assert refused(await new.get("/devices")), "nothing was looked up: what is new is not told from a guess"
        assert len(before) == 1
        assert (await at_work.get("/devices"))[0] == 200
        assert (await guesser.get("/customer/devices", **at("192.0.2.9")))[0] == 401
        assert (await new.get("/devices", **at("192.0.2.9")))[0] == 200

        judged(database, "UPDATE api_tokens SET revoked_at = now() RETURNING true")
        assert (await at_work.get("/devices"))[0] == 401
        assert refused(await at_work.get("/devices")), "what is good no more is known no more"
        later = monotonic() + 3600
        monkeypatch.setattr(limits, "monotonic", lambda: later)
        assert (await guesser.get("/customer/devices"))[0] == 401


async def test_many_guesses_at_once_are_paid_for_one_by_one(database: Database, tmp_path: Path) -> None:
    async with admin_api(database, tmp_path, limits={**UNLIMITED, "failures_per_minute": 6}) as admin:
        guesser = Caller(admin.client, "", {"Authorization": f"Bearer {NOBODYS}"})
        await asyncio.gather(*[guesser.get("/customer/devices") for _ in range(12)])
        status, _, headers = await guesser.get("/customer/devices")
        assert status == 429
        assert int(headers["Retry-After"]) > 10, "for those beyond the limit, too"


async def test_the_right_admin_key_is_let_in_where_wrong_ones_came_from(database: Database, tmp_path: Path) -> None:
    async with admin_api(database, tmp_path, limits={**UNLIMITED, "failures_per_minute": 3}) as admin:
        assert (await admin.get("/tenants"))[0] == 200
        assert [(await admin.get("/tenants", key=f"k{number}"))[0] for number in range(5)] == [401] * 3 + [429] * 2
        assert (await admin.get("/tenants"))[0] == 200


async def test_limits_are_on_unless_somebody_turns_them_off(database: Database, tmp_path: Path) -> None:
    async with admin_api(database, tmp_path, limits={}) as admin:
        await admin.tenant()
        customer = await admin.customer()
        assert any([refused(await customer.post("/integrations", {})) for _ in range(200)])
        assert any([refused(await admin.get("/tenants", key="wrong")) for _ in range(70)])


def test_looking_charges_nothing_and_debt_is_bounded() -> None:
    bucket = throttle.Throttle(per_minute=60, burst=2)
    assert [bucket.look_s("a", 0.0) for _ in range(9)] == [0.0] * 9
    for _ in range(1000):
        bucket.owe("a", 0.0)
    assert 0 < bucket.look_s("a", 0.0) <= 11
    assert bucket.look_s("b", 0.0) == 0.0
    assert bucket.look_s("a", 12.0) == 0.0
