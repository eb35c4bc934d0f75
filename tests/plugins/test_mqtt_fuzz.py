"""MQTT: frames that are almost right end in an answer, a refusal or a close; never in a hang or in stored garbage."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

from pulse_core.testing.intake import FakeIntake, known_device
from support.mqtt_door import Door, door
from support.mqtt_frames import MQTT5
from support.mqtt_fuzz import Fuzzer, Target
from support.mqtt_mutants import Corpus, mutant

SEED = 20_260_207
FRAMES = 6_000
DEVICES = [("tenant-a", f"device-{number}", "site-1", f"token-{number}") for number in range(1, 5)]


def let_in(here: Door) -> Target:
    for tenant, device, site, token in DEVICES:
        known = known_device(tenant, device, token, site_id=site)
        here.intake.devices[known.key] = known
    return Target(int(here.address.rpartition(":")[2]), DEVICES)


def demand_valid(intake: FakeIntake) -> None:
    """What was stored is what its sender may store, and means something."""
    for message in intake.committed:
        assert (message.tenant_id, message.device_id) in {device[:2] for device in DEVICES[:-1]}
        assert message.msg_type in {"telemetry", "event", "heartbeat"}
        assert message.authenticated
        body = json.loads(message.payload.decode(errors="replace"))  # of fields that mean nothing any bytes are taken
        assert body["site_id"] == "site-1"
        assert all(isinstance(value, bool | int | float | str) for value in body.get("metrics", {}).values())


async def test_frames_that_are_almost_right() -> None:
    unexpected: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected.append(context))
    async with door() as here:
        found = await Fuzzer(let_in(here), seed=SEED, frames=FRAMES).run()
        assert not unexpected
        assert not found.hangs + found.refused + found.garbled, str(found)
        assert found.slowest_answer_s < 5
        assert len(here.intake.committed) > FRAMES / 50, "some of it was right"
        assert len({str(outcome.reason) for _, outcome in here.intake.refused}) > 5, "some of it was nearly"
        demand_valid(here.intake)
        assert not here.task.done()


def test_the_same_seed_sends_the_same() -> None:
    corpus = Corpus(MQTT5, *DEVICES[0][:2], "prefix/", b"{}")

    def some(seed: int) -> list[bytes]:
        chance = random.Random(seed)
        return [mutant(chance, corpus, corpus.any(chance)) for _ in range(200)]

    assert some(1) == some(1) != some(2)
    assert len(set(some(1))) > 100
