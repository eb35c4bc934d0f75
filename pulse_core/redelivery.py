"""Redelivery is invisible: a reading that is stored already is recognised before anything is made of it.

A reading's identity is (device, ts, hash of type, seq and metrics). Nearly every reading is newer than all that its
device ever sent, and then it cannot be a redelivery: only the others are looked up, all of a batch in one query.
A reading without ``ts`` is recognised by its ``seq`` within a look-back; one with neither can repeat.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.api import ReadingKey

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulse_core.records import DeviceKey, DeviceState, Reading

LOOK_BACK_US = 15 * 60 * 1_000_000
"""How long after the first delivery a reading without ``ts`` is recognised."""

_ANY_TS_US = 2**63
"""Later than any reading: each is looked up."""


def sort_out(
    readings: Sequence[Reading], states: Mapping[DeviceKey, DeviceState], *, leftovers: bool = False
) -> tuple[set[int], list[tuple[int, ReadingKey]]]:
    """Split off what may have been seen before.

    :param leftovers: a process that died may have stored readings that it never committed, so that no state tells.
    :returns: the indexes that repeat an earlier reading of this very batch, and the (index, key) pairs to look up.
    """
    repeats: set[int] = set()
    doubtful: list[tuple[int, ReadingKey]] = []
    newest: dict[DeviceKey, tuple[int, int | None]] = {}
    seen: set[tuple[DeviceKey, int | None, int]] = set()
    for index, reading in enumerate(readings):
        key = reading.device
        newest_ts_us, last_seq = newest.get(key) or _newest(states.get(key))
        identity = (key, reading.ts_us if reading.own_ts else None, reading.key_hash)
        recognisable = reading.own_ts or reading.seq is not None
        if recognisable and identity in seen:
            repeats.add(index)
            continue
        if reading.own_ts:
            if reading.ts_us <= newest_ts_us:
                doubtful.append((index, ReadingKey(key, reading.ts_us, reading.key_hash)))
        elif reading.seq is not None and (leftovers or (last_seq is not None and reading.seq <= last_seq)):
            since_us = reading.received_us - LOOK_BACK_US
            doubtful.append((index, ReadingKey(key, reading.ts_us, reading.key_hash, since_us)))
        if recognisable:
            seen.add(identity)
        newest[key] = (max(newest_ts_us, reading.ts_us), last_seq if reading.seq is None else reading.seq)
    return repeats, doubtful


def _newest(state: DeviceState | None) -> tuple[int, int | None]:
    """A device of which we know no reading may have had some: it was deleted, and registered again."""
    if state is None or not state.last_ts_us:
        return _ANY_TS_US, None
    return state.last_ts_us, state.last_seq
