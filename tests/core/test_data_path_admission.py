"""Who gets into the data path: tokens, look-ups, the directory out of step, rate limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import Credentials
from pulse_core.errors import Rejected, StoreUnavailable
from pulse_core.records import DeviceKey, RawMessage, Reason, Verdict
from pulse_core.settings import Settings
from support.house import House
from support.memory import a_device
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

KEY = DeviceKey("tenant-a", "dev-1")


@pytest.fixture
async def house() -> AsyncIterator[House]:
    house = House()
    await house.start()
    yield house
    await house.stop()


def stranger(house: House, token: str | None = "token", **changes: Any) -> RawMessage:
    return house.message(authenticated=False, may_wait=False, token=token, **changes)


async def test_a_message_that_brings_its_token_is_checked(house: House) -> None:
    reasons = [
        (await house.send(message))[0].reason
        for message in (
            stranger(house),
            stranger(house, "wrong"),
            stranger(house, None),
            stranger(house, None, fields={"provision_token": "token", "seq": 1}),
            stranger(house, device_id="nobody"),
        )
    ]
    assert reasons == [None, Reason.TOKEN_INVALID, Reason.TOKEN_MISSING, None, Reason.UNREGISTERED_DEVICE]


async def test_activate_then_connect_works_before_the_notice_arrives(house: House) -> None:
    house.registry.silent = True
    house.registry.put(a_device("brand-new", token="fresh"))
    assert (await house.send(stranger(house, "fresh", device_id="brand-new")))[0].verdict is Verdict.COMMITTED
    house.registry.put(a_device("dev-2", token="rotated"))
    device = await house.intake.authenticate(Credentials(DeviceKey("tenant-a", "dev-2"), "rotated"))
    assert device.key.device_id == "dev-2"


async def test_guessing_causes_no_flood_of_look_ups(house: House) -> None:
    for number in range(500):
        with pytest.raises(Rejected):
            await house.intake.authenticate(Credentials(DeviceKey("tenant-a", f"guess-{number}"), "x"))
    assert house.registry.look_ups <= 101


async def test_out_of_step_with_the_registry_nobody_new_is_let_in(house: House) -> None:
    credentials = Credentials(KEY, "token")
    await house.intake.authenticate(credentials)
    house.path.directory._out_of_step_since_us = house.clock.now_us()
    await house.intake.authenticate(credentials)
    house.clock.advance(6)
    with pytest.raises(StoreUnavailable):
        await house.intake.authenticate(credentials)


async def test_over_the_rate_limit_http_is_refused_and_a_patient_connection_slowed(house: House) -> None:
    house.settings.settings = Settings(RATE_LIMIT_RPS=1, RATE_LIMIT_BURST=3)
    house.settings.changed.set()
    await until(lambda: house.path.world.settings.RATE_LIMIT_BURST == 3)
    outcomes = await house.send(*(stranger(house, fields={"seq": n}) for n in range(5)))
    assert [one.reason for one in outcomes] == [None, None, None, Reason.RATE_LIMITED, Reason.RATE_LIMITED]
    wrong = await house.send(*(stranger(house, "wrong", device_id="dev-2") for _ in range(5)))
    assert {one.reason for one in wrong} == {Reason.TOKEN_INVALID}
    right = await house.send(*(stranger(house, device_id="dev-2", fields={"seq": n}) for n in range(3)))
    assert {one.reason for one in right} == {None}, "strangers cannot empty a device's bucket"
    assert house.intake.pace(DeviceKey("tenant-a", "dev-3"), 5) == pytest.approx(2.0)


async def test_who_has_proven_who_it_is_needs_no_token_but_must_be_let_in(house: House) -> None:
    def proven(device_id: str) -> Credentials:
        return Credentials(DeviceKey("tenant-a", device_id), "", proven=True)

    house.registry.put(a_device("never-activated", token=None))
    assert (await house.intake.authenticate(proven("never-activated"))).token_hash is None
    house.registry.put(a_device("shut-out", revoked=True))
    for device_id, reason in (("shut-out", Reason.DEVICE_REVOKED), ("nobody", Reason.UNREGISTERED_DEVICE)):
        with pytest.raises(Rejected) as refused:
            await house.intake.authenticate(proven(device_id))
        assert refused.value.reason is reason
