"""Devices in over HTTP: single messages and batches, answered after the commit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.api import hookimpl
from pulse_http.ingester import HttpIngester

if TYPE_CHECKING:
    from pulse_core.api import Ingester

__all__ = ["HttpIngester", "pulse_register_ingesters"]


@hookimpl
def pulse_register_ingesters() -> list[type[Ingester]]:
    """Contribute the way in over HTTP."""
    return [HttpIngester]
