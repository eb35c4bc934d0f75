"""Many readings, page by page: the next page is read while the one before is worked on; and how far that is."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from typing import TYPE_CHECKING

from pulse_core.errors import PermanentFailure

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from pulse_core.api import Place, SelectedReading, Selection, TelemetryStore

_LEAST = 100
"""A page of so few readings that takes too long will not come faster."""


async def pages_of(
    store: TelemetryStore, wanted: Selection, *, limit: int, after: Place | None = None
) -> AsyncGenerator[list[SelectedReading], None]:
    """Readings in the order of their places, from behind ``after``.

    :param limit: so many at once, or fewer where that takes too long.
    :raises PermanentFailure: even a small page takes too long.
    """
    coming = asyncio.create_task(_page(store, wanted, limit, after))
    try:
        while page := await coming:
            coming = asyncio.create_task(_page(store, wanted, limit, page[-1].place))
            yield page
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


class Share:
    """How much is done: by the device that it is at, of all that are registered, and by the time there.

    :param devices: those that are meant, in order.
    """

    def __init__(self, wanted: Selection, devices: Sequence[str]) -> None:
        self._devices = devices
        self._start_us, self._length_us = wanted.start_us, wanted.end_us - wanted.start_us

    def at(self, page: Sequence[SelectedReading]) -> float:
        """The share that is done with this page."""
        if not page or not self._devices:
            return 0.0
        place = page[-1].place
        within = (place.ts_us - self._start_us) / self._length_us
        return min(1.0, (bisect_left(self._devices, place.device_id) + within) / len(self._devices))


async def _page(store: TelemetryStore, wanted: Selection, limit: int, after: Place | None) -> list[SelectedReading]:
    while True:
        try:
            return await store.select(wanted, limit=limit, after=after)
        except PermanentFailure:
            if limit <= _LEAST:
                raise
            limit = max(_LEAST, limit // 8)
