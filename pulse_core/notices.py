"""What has changed, told to whoever looks on: ids by tenant and kind, never data, gathered while nobody takes them.

A :class:`Board` is written by what commits (the pipeline, the delivery engine, the web) and emptied by what tells it
on. It never grows beyond bounds: past them it says "many", and whoever looks on reads again what it shows.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pulse_core.records import DeviceKey, WriteSet


class Kind(StrEnum):
    """What can change."""

    DEVICES = "devices"
    """A device: its readings, its state, its registration, its connections, its commands."""
    ALERTS = "alerts"
    DELIVERIES = "deliveries"
    INTEGRATIONS = "integrations"
    ROUTES = "routes"


IDS_TOLD: Final = 100
"""More ids of a kind than these, of one tenant, are "many"."""
TENANTS_TOLD: Final = 2000
PAYLOAD_BYTES: Final = 7900
"""What one notification of PostgreSQL can carry is a little more."""

EVERYTHING: Final = "*"

Changes = dict[str, "set[str] | None"]
"""Of one tenant: the ids of each kind, or None: many."""


class Board:
    """Gathers changes until they are taken.

    :param tenants: changes of more tenants than these are everything.
    """

    def __init__(self, tenants: int = TENANTS_TOLD) -> None:
        self._tenants = tenants
        self._changes: dict[str, Changes] = {}
        self._everything = False
        self.some = asyncio.Event()
        """Set while there is something to take."""

    def note(self, tenant_id: str, kind: str, ids: Iterable[str] | None) -> None:
        """Something of a tenant has changed; None: many."""
        if self._everything:
            return
        changes = self._changes.get(tenant_id)
        if changes is None:
            if len(self._changes) >= self._tenants:
                self.note_everything()
                return
            changes = self._changes[tenant_id] = {}
        known = changes.setdefault(kind, set())
        if ids is None:
            changes[kind] = None
        elif known is not None:
            known.update(ids)
            if len(known) > IDS_TOLD:
                changes[kind] = None
        self.some.set()

    def note_everything(self) -> None:
        """Anything may have changed."""
        self._everything = True
        self._changes.clear()
        self.some.set()

    def note_writes(self, writes: WriteSet) -> None:
        """What a batch has committed."""
        for state in writes.states:
            self.note(state.key.tenant_id, Kind.DEVICES, (state.key.device_id,))
        for change, _ in writes.changes:
            self.note(change.device.tenant_id, Kind.ALERTS, (str(change.alert.alert_id),))
        for delivery in writes.deliveries:
            self.note(delivery.tenant_id, Kind.DELIVERIES, (str(delivery.delivery_id),))

    def note_device(self, key: DeviceKey) -> None:
        """Something about a device was committed."""
        self.note(key.tenant_id, Kind.DEVICES, (key.device_id,))

    def take(self) -> dict[str, Changes] | None:
        """Everything since the last time, by tenant; None: anything may have changed."""
        found, self._changes = self._changes, {}
        everything, self._everything = self._everything, False
        self.some.clear()
        return None if everything else found


def payloads(found: dict[str, Changes] | None) -> list[str]:
    """What was taken, as texts of which none is too long for a notification: lines of a tenant, a kind and ids."""
    if found is None:
        return [EVERYTHING]
    packed: list[str] = []
    size = PAYLOAD_BYTES + 1
    for line in _lines(found):
        if size + len(line) + 1 > PAYLOAD_BYTES:
            packed.append(line)
            size = len(line)
        else:
            packed[-1] += f"\n{line}"
            size += len(line) + 1
    return packed


def _lines(found: dict[str, Changes]) -> Iterator[str]:
    for tenant_id, changes in found.items():
        for kind, ids in changes.items():
            line = f"{tenant_id} {kind}"
            if ids is None:
                yield f"{line} {EVERYTHING}"
                continue
            for each in sorted(ids):
                if len(line) + len(each) + 1 > PAYLOAD_BYTES:
                    yield line
                    line = f"{tenant_id} {kind}"
                line += f" {each}"
            yield line


def read(payload: str) -> list[tuple[str, str, list[str] | None]] | None:
    """Tenant, kind and ids (None: many) of each line; None: everything, or nothing that we understand."""
    found: list[tuple[str, str, list[str] | None]] = []
    for line in payload.split("\n"):
        tenant_id, _, rest = line.partition(" ")
        kind, _, ids = rest.partition(" ")
        if not (tenant_id and kind and ids):
            return None
        found.append((tenant_id, kind, None if ids == EVERYTHING else ids.split(" ")))
    return found
