"""Edits on condition: only while the object is the one that the caller saw."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.errors import Stale

if TYPE_CHECKING:
    from collections.abc import Collection


def demand_revision(found: object, only_if: Collection[str] | None) -> None:
    """Go on only if the object's revision is one of those. Call it while nobody else can change the object.

    :param only_if: revisions, as text; None: whichever it is.
    :raises Stale: it is another.
    """
    if only_if is not None and str(found) not in only_if:
        raise Stale("it is not what it was when you looked: look again, then decide")
