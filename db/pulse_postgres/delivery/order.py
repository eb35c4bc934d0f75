"""Whose turn it is among the notifications of one alert to one integration: a pure rule, no SQL.

OPEN goes before ACKNOWLEDGED before CLOSED, each waits until the earlier ones are finished. When a CLOSED is due
and an earlier one was never attempted, the CLOSED tells both: it goes out, the earlier one is cancelled. That holds
for primary deliveries and those that stand in for them; what a person or a rule asked for on top is never cancelled.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

RANK = {"OPEN": 0, "ACKNOWLEDGED": 1, "CLOSED": 2}
"""The order of events; one that is not here waits for nobody."""


OF_AN_ALERT = frozenset({"alert", "fallback"})
"""The causes of what every alert change is told with."""


class Unfinished(Struct, frozen=True):
    """A delivery that is PENDING, SENDING or RETRYING. ``again_us`` is when it moves next: due, or its lease's end.

    ``held``: its row is locked by us, so what is said of it here stays true until we commit.
    """

    tenant_id: str
    delivery_id: uuid.UUID
    alert_id: uuid.UUID | None
    integration_id: uuid.UUID
    event: str
    cause: str
    status: str
    attempts: int
    again_us: int
    held: bool = True

    @property
    def subject(self) -> tuple[str, uuid.UUID | None, uuid.UUID]:
        """What it is about and whom it tells: within one subject there is an order."""
        return self.tenant_id, self.alert_id, self.integration_id

    @property
    def untold(self) -> bool:
        """A delivery of an alert change that was never attempted."""
        return self.cause in OF_AN_ALERT and self.status == "PENDING" and self.attempts == 0


class Turns(Struct):
    """Who goes; who is told by whom instead (earlier → CLOSED); who waits for whom. Others stay as they are."""

    go: list[Unfinished]
    told: dict[Unfinished, Unfinished]
    wait: dict[Unfinished, list[Unfinished]]


def turns(picked: Sequence[Unfinished], others: Iterable[Unfinished], now_us: int) -> Turns:
    """Decide about ``picked`` (due, and locked by us), given the other unfinished ones of their subjects."""
    result = Turns([], {}, {})
    subjects: dict[object, list[Unfinished]] = defaultdict(list)
    for each in (*picked, *others):
        subjects[each.subject].append(each)
    for each in picked:
        if each.alert_id is None or len(subjects[each.subject]) == 1:
            result.go.append(each)
        elif not _told(each, subjects[each.subject], result, now_us):
            _take_turn(each, subjects[each.subject], result)
    return result


def _told(each: Unfinished, subject: list[Unfinished], result: Turns, now_us: int) -> bool:
    """Let the CLOSED that is due tell the whole subject; say whether ``each`` is told by it."""
    closing = next((one for one in subject if _closes(one, now_us)), None)
    if closing is not None:
        for earlier in subject:
            if earlier.untold and earlier.held and RANK.get(earlier.event, 2) < RANK["CLOSED"]:
                result.told[earlier] = closing
    return each in result.told


def _closes(one: Unfinished, now_us: int) -> bool:
    return one.event == "CLOSED" and one.cause in OF_AN_ALERT and one.status != "SENDING" and one.again_us <= now_us


def _take_turn(each: Unfinished, subject: list[Unfinished], result: Turns) -> None:
    rank = RANK.get(each.event, -1)
    before = [one for one in subject if RANK.get(one.event, rank) < rank and one not in result.told]
    if not before:
        result.go.append(each)
    elif all(one.held for one in before):
        result.wait[each] = before
