"""Endpoints: how many attempts run at each, what waits for a place, and how much more may be claimed for it.

An endpoint that answers fast is given some deliveries ahead, as many as it is sure to have answered a moment later,
so that it is never idle for a round trip to the database. One that is slow, hangs or is unknown gets none.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, Generic, TypeVar

from pulse_core.outbox import ClaimRoom

if TYPE_CHECKING:
    import uuid
    from collections.abc import Mapping

JobT = TypeVar("JobT")

_AHEAD_S = 0.1
"""What is claimed ahead is what the endpoint answers in this time."""
_WARM_S = 2.0
_KNOWN_INTEGRATIONS = 2000
_NEWEST_WEIGHT = 0.2


class Endpoint(Generic[JobT]):
    """Whom one or more integrations talk to. ``limit`` attempts may run at it at the same time."""

    def __init__(self, key: str, limit: int, most_ahead: int) -> None:
        self.key = key
        self.limit = limit
        self.running = 0
        self.hanging = 0
        self.waiting: deque[JobT] = deque()
        self.integrations: set[uuid.UUID] = set()
        self._most_ahead = most_ahead
        self._answer_s = 0.0
        self._answered_s = -math.inf

    def answered(self, after_s: float, now_s: float) -> None:
        """Note how long an attempt took. Slowing down is believed at once, speeding up little by little.

        :param now_s: monotonic.
        """
        if self.warm(now_s) and after_s < self._answer_s:
            after_s = self._answer_s + _NEWEST_WEIGHT * (after_s - self._answer_s)
        self._answer_s, self._answered_s = after_s, now_s

    def warm(self, now_s: float) -> bool:
        """Whether it answered a moment ago, so that its speed is known."""
        return now_s - self._answered_s < _WARM_S

    @property
    def busy(self) -> bool:
        """Whether anything runs, waits or hangs here."""
        return bool(self.running or self.waiting or self.hanging)

    def room(self, now_s: float) -> int:
        """How many more may be claimed."""
        ahead = 0
        if self.warm(now_s):
            ahead = min(self._most_ahead, int(self.limit * _AHEAD_S / max(self._answer_s, 0.001)))
        return max(0, self.limit + ahead - self.running - len(self.waiting))


class Endpoints(Generic[JobT]):
    """All endpoints that are in use, and which integrations are known to share one."""

    def __init__(self, limit: int, most_ahead: int) -> None:
        self._limit = limit
        self._most_ahead = most_ahead
        self._endpoints: dict[str, Endpoint[JobT]] = {}
        self._of: OrderedDict[uuid.UUID, Endpoint[JobT]] = OrderedDict()

    def of(self, key: str, integration_id: uuid.UUID) -> Endpoint[JobT]:
        """Return the endpoint called ``key``, and remember that the integration uses it."""
        endpoint = self._endpoints.get(key)
        if endpoint is None:
            endpoint = self._endpoints[key] = Endpoint(key, self._limit, self._most_ahead)
        former = self._of.get(integration_id)
        if former is not endpoint:
            self._forget(integration_id)
            self._of[integration_id] = endpoint
            endpoint.integrations.add(integration_id)
        self._of.move_to_end(integration_id)
        while len(self._of) > _KNOWN_INTEGRATIONS:
            self._forget(next(iter(self._of)))
        return endpoint

    def all(self) -> list[Endpoint[JobT]]:
        """Every endpoint."""
        return list(self._endpoints.values())

    def rooms(self, probed: Mapping[uuid.UUID, tuple[str, int]]) -> list[ClaimRoom]:
        """Say what a claim must know: the rooms of the endpoints that are busy, warm or shared.

        :param probed: integrations behind an open breaker, each with the breaker's name and room instead.
        """
        now_s = time.monotonic()
        for key in [key for key, each in self._endpoints.items() if not each.integrations and not each.busy]:
            del self._endpoints[key]
        rooms = [
            ClaimRoom(integration_id, endpoint.key, endpoint.room(now_s))
            for endpoint in self._endpoints.values()
            if endpoint.busy or endpoint.warm(now_s) or len(endpoint.integrations) > 1
            for integration_id in endpoint.integrations
            if integration_id not in probed
        ]
        return rooms + [ClaimRoom(integration_id, *place) for integration_id, place in probed.items()]

    def _forget(self, integration_id: uuid.UUID) -> None:
        endpoint = self._of.pop(integration_id, None)
        if endpoint is not None:
            endpoint.integrations.discard(integration_id)
