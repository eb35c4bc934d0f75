"""The same questions about the same readings: every store answers as :class:`MemoryStore` does."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.api import Aggregate, DeviceKey, MsgType, PluginConfig, ReadingKey, Selection
from pulse_core.testing.telemetry_stores.memory import MemoryStore
from pulse_core.testing.telemetry_stores.opening import OpenedStore, whole_history, whole_selection
from pulse_core.testing.telemetry_stores.readings import (
    DAY_US,
    HOSTILE_NAMES,
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    now_us,
    saying,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from pulse_core.api import Reading, TelemetryStore
    from pulse_core.records import MetricValue

    Question = Callable[[TelemetryStore], Awaitable[Any]]

SEED = 20_240_229
DAYS = 4
TENANTS = ("tenant-a", "tenant-b")
DEVICES = ("B-1", "_x", "a", "a-1", "a.1", "a1", "a:1", "b", "Z", "z9")
SITES = ("north", "North", "s.1")
NAMES = ("temp", "Temp", "state", "count", "time", "a.b", 'it\'s "odd" %s $1')
_READINGS = 1500
_BATCH = 400
_RARE = 0.02
_TOLERANCE = 1e-9
_EXACT = 2**41
"""Greater whole numbers are times and hashes."""


class AnswersContract(OpenedStore):
    """Of everything that is asked of a store."""

    async def test_every_store_answers_alike(self) -> None:
        """Many devices, types of messages and of values; late readings, several of one moment, and repeats."""
        chance = random.Random(SEED)  # noqa: S311 - readings that look like any
        until_us = now_us() // SECOND_US * SECOND_US
        readings = list(_readings(chance, until_us))
        expected = MemoryStore(PluginConfig())
        async with self.opened() as store:
            coming = _as_they_come(chance, readings)
            for first in range(0, len(coming), _BATCH):
                await self.keep(store, coming[first : first + _BATCH])
                await expected.write(coming[first : first + _BATCH], None)
            for name, question in _questions(chance, readings, until_us):
                found, right = await question(store), await question(expected)
                assert alike(found, right), f"{name}\nfound:    {found}\nexpected: {right}"


def alike(found: Any, expected: Any) -> bool:
    """Whether two answers say the same: numbers nearly, everything else exactly, and in the same order."""
    if isinstance(expected, msgspec.Struct):
        return type(found) is type(expected) and alike(
            msgspec.structs.astuple(found), msgspec.structs.astuple(expected)
        )
    if isinstance(expected, dict):
        return (
            isinstance(found, dict)
            and found.keys() == expected.keys()
            and all(alike(found[key], value) for key, value in expected.items())
        )
    if isinstance(expected, list | tuple):
        return len(found) == len(expected) and all(map(alike, found, expected))
    if _is_number(found) and _is_number(expected):
        return math.isclose(found, expected, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return bool(found == expected) and isinstance(found, bool) is isinstance(expected, bool)


def _is_number(value: Any) -> bool:
    return type(value) is float or (type(value) is int and abs(value) < _EXACT)


def _readings(chance: random.Random, until_us: int) -> Iterator[Reading]:
    """No number of one metric stands twice at one moment, so that it is certain which is the first and the last."""
    for number in range(_READINGS):
        device = DeviceKey(chance.choice(TENANTS), chance.choice(DEVICES))
        ts_us = until_us - chance.randrange(DAYS * DAY_US) // 1000 * 1000 - 1000 + number % 1000
        if chance.random() < 0.3:  # noqa: PLR2004 - often at the edge of a bucket
            ts_us = ts_us // HOUR_US * HOUR_US + number
        more: dict[str, Any] = {
            "msg_type": chance.choices(list(MsgType), (1, 8, 1))[0],
            "site_id": chance.choice(SITES),
            "received_us": ts_us + chance.choice((0, 17, HOUR_US)),
        }
        metrics = {name: _value(chance, name) for name in chance.sample(NAMES, chance.randrange(len(NAMES) + 1))}
        if chance.random() < _RARE:
            metrics["rare"] = number
        yield saying(ts_us, device, metrics, seq=number, key_hash=chance.randrange(-(2**63), 2**63), **more)
        if chance.random() < 0.1:  # noqa: PLR2004 - another one of the same moment
            other: dict[str, MetricValue] = {"twin": number}
            yield saying(ts_us, device, other, seq=_READINGS + number, key_hash=number, **more)


def _value(chance: random.Random, name: str) -> MetricValue:
    if name == "state":
        return chance.choice(("on", "off", "", "Grüße", True, False, 0, 1, 2.5))
    if name == "count":
        return chance.randrange(-(2**40), 2**40)
    return chance.choice((chance.uniform(-50, 150), float(chance.randrange(100)), chance.randrange(100)))


def _as_they_come(chance: random.Random, readings: list[Reading]) -> list[Reading]:
    """Some long after the others, some twice."""
    late = [each for each in readings if chance.random() < 0.2]  # noqa: PLR2004 - one in five
    again = chance.sample(readings, len(readings) // 5)
    there = {each.seq for each in late}
    chance.shuffle(late)
    return [*(each for each in readings if each.seq not in there), *again, *late, *again[:50]]


def _questions(chance: random.Random, readings: list[Reading], until_us: int) -> Iterator[tuple[str, Question]]:
    """What is asked, each with a name."""
    times = _times(chance, until_us)
    for tenant_id in TENANTS:
        for start_us, end_us in times:
            everything = Selection(tenant_id, start_us, end_us)
            for wanted in [everything, *(_narrowed(chance, everything) for _ in range(4))]:
                yield from _of_a_selection(chance, wanted)
            for device_id in chance.sample(DEVICES, 3):
                yield from _of_a_device(chance, DeviceKey(tenant_id, device_id), start_us, end_us)
            yield from _of_devices(chance, tenant_id, start_us, end_us)
    yield "known", _known(chance, readings)


def _times(chance: random.Random, until_us: int) -> list[tuple[int, int]]:
    begin_us = until_us - DAYS * DAY_US
    midnight_us = until_us // DAY_US * DAY_US
    part = sorted(chance.randrange(begin_us, until_us) for _ in range(2))
    return [
        (begin_us, until_us),
        (0, until_us - 2 * DAY_US),
        (midnight_us - DAY_US, midnight_us),
        (midnight_us - HOUR_US, midnight_us + HOUR_US),
        (part[0], part[1]),
        (until_us, until_us + DAY_US),
    ]


def _narrowed(chance: random.Random, wanted: Selection) -> Selection:
    def some(among: tuple[str, ...]) -> tuple[str, ...] | None:
        return tuple(chance.sample(among, chance.randrange(1, len(among)))) if chance.random() < 0.5 else None  # noqa: PLR2004

    return msgspec.structs.replace(
        wanted,
        devices=some((*DEVICES, "nobody")),
        sites=some((*SITES, "nowhere")),
        msg_types=some(tuple(MsgType)),
        metrics=some((*NAMES, *HOSTILE_NAMES[:3], "rare", "twin")),
    )


def _of_a_selection(chance: random.Random, wanted: Selection) -> Iterator[tuple[str, Question]]:
    limit = chance.choice((67, 150, 1000))
    yield f"select {wanted}", lambda store: whole_selection(store, wanted, limit=limit)
    yield f"metrics_of {wanted}", lambda store: store.metrics_of(wanted)
    named = wanted if wanted.metrics else msgspec.structs.replace(wanted, metrics=NAMES)
    groups = {device_id: chance.choice(("pumps", "Pumps", "x'\"")) for device_id in chance.sample(DEVICES, 7)}
    bucket_us = chance.choice((HOUR_US, 7 * HOUR_US, DAY_US))
    yield (
        f"grouped {named} {groups} {bucket_us}",
        lambda store: store.grouped(named, groups, bucket_us=bucket_us, aggregates=list(Aggregate)),
    )


def _of_a_device(
    chance: random.Random, device: DeviceKey, start_us: int, end_us: int
) -> Iterator[tuple[str, Question]]:
    time: Any = {"start_us": start_us, "end_us": end_us}
    limit = chance.choice((9, 40))
    kinds = chance.choice((None, ["event"], ["event", "heartbeat"]))
    bucket_us = chance.choice((MINUTE_US, 7 * MINUTE_US, HOUR_US, DAY_US))
    names = chance.sample((*NAMES, "twin", "rare"), 4)

    async def history(store: TelemetryStore) -> Any:
        found = await whole_history(store, device, **time, limit=limit, msg_types=kinds)
        assert [each.ts_us for each in found] == sorted((each.ts_us for each in found), reverse=True)
        return sorted(found, key=lambda each: each.seq or 0)

    async def series(store: TelemetryStore) -> Any:
        return await store.series(device, names, **time, bucket_us=bucket_us, aggregates=list(Aggregate))

    async def metric_names(store: TelemetryStore) -> Any:
        """Those that are told of but rarely may be missed."""
        return [name for name in await store.metric_names(device, **time) if name in NAMES]

    yield f"history {device} {time} {kinds}", history
    yield f"series {device} {time} {names} {bucket_us}", series
    yield f"metric_names {device} {time}", metric_names


def _of_devices(chance: random.Random, tenant_id: str, start_us: int, end_us: int) -> Iterator[tuple[str, Question]]:
    devices = [DeviceKey(tenant_id, device_id) for device_id in (*chance.sample(DEVICES, 6), "nobody")]

    async def recent(store: TelemetryStore) -> Any:
        found = await store.recent(devices, since_us=start_us, end_us=end_us, limit=2 * _READINGS)
        return {device: sorted(each, key=lambda reading: reading.seq or 0) for device, each in found.items()}

    yield f"recent {tenant_id} {start_us} {end_us}", recent
    yield f"latest {tenant_id} {start_us}", lambda store: store.latest(devices, since_us=start_us)
    yield f"size {tenant_id}", lambda store: _how_many(store, tenant_id)


async def _how_many(store: TelemetryStore, tenant_id: str) -> int:
    return (await store.size(tenant_id)).readings


def _known(chance: random.Random, readings: list[Reading]) -> Question:
    keys = [
        ReadingKey(
            each.device if number % 5 else DeviceKey("tenant-c", each.device.device_id),
            each.ts_us + number % 3,
            each.key_hash,
            since_us=None if number % 2 else each.ts_us + chance.choice((-DAY_US, 0, 1)),
        )
        for number, each in enumerate(chance.sample(readings, 300))
    ]
    return lambda store: store.known(keys)
