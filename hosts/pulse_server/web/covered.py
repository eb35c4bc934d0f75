"""Looks across tenants whose lines are in the audit log since less than a minute ago, in this process."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from pulse_core.remembered import Remembered

if TYPE_CHECKING:
    from collections.abc import Hashable

COVERED_S: Final = 60.0
"""So long a line covers the same look of the same reader. It is not prolonged by looking."""
_AT_MOST = 10_000


class Covered:
    """When there are too many, some are forgotten, and written down once more."""

    def __init__(self) -> None:
        self._since: Remembered[Hashable, float] = Remembered(_AT_MOST)

    def holds(self, look: Hashable) -> bool:
        """Whether there is a line for this look."""
        since = self._since.get(look)
        return since is not None and time.monotonic() - since < COVERED_S

    def add(self, look: Hashable) -> None:
        """Its line is committed."""
        self._since.put(look, time.monotonic())
