"""What people change of a device: its name, its labels, when it is stale. Its site and tokens are provisioning's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Struct, UnsetType

from pulse_core.errors import NotFound, PermanentFailure
from pulse_postgres.acting import acting
from pulse_postgres.audit import audit
from pulse_postgres.devices import one_device
from pulse_postgres.revisions import demand_revision

if TYPE_CHECKING:
    from pulse_postgres.connections import Connections

MOST_LABELS = 32

_LOCK = """
    SELECT name, labels, stale_after_s::float8 AS stale_after_s, revision FROM devices
    WHERE tenant_id = $1 AND device_id = $2 FOR UPDATE
"""
_CHANGE = """
    UPDATE devices SET name = $3, labels = $4::jsonb, stale_after_s = $5, updated_at = now()
    WHERE tenant_id = $1 AND device_id = $2
"""


class DeviceChanges(Struct, frozen=True, kw_only=True):
    """What to change of a device; what is not set stays.

    ``labels`` are merged into those that are there, None removes one. ``stale_after_s``: None is the tenant's.
    """

    name: str | UnsetType = UNSET
    labels: Mapping[str, str | None] | UnsetType = UNSET
    stale_after_s: float | UnsetType | None = UNSET


class DeviceRequests:
    """``pool`` is the customer's :class:`~pulse_postgres.connections.TenantPool`, or logs in as pulse_admin."""

    def __init__(self, pool: Connections) -> None:
        self._pool = pool

    async def change(
        self,
        tenant_id: str,
        device_id: str,
        wanted: DeviceChanges,
        *,
        actor: str,
        only_if: Collection[str] | None = None,
    ) -> dict[str, Any]:
        """Change a device and return it. Whoever judges it hears of that at commit.

        :param only_if: see :func:`~pulse_postgres.revisions.demand_revision`.
        :raises NotFound: there is no such device. :raises PermanentFailure: too many labels.
        :raises Stale: it is none of those revisions.
        """
        async with acting(self._pool) as connection:
            row = await connection.fetchrow(_LOCK, tenant_id, device_id)
            if row is None:
                raise NotFound("there is no such device")
            demand_revision(row["revision"], only_if)
            before = {**row, "labels": msgspec.json.decode(row["labels"])}
            after = _changed(before, wanted)
            details = {
                name: {"old": before[name], "new": value} for name, value in after.items() if value != before[name]
            }
            if details:
                labels = msgspec.json.encode(after["labels"]).decode()
                await connection.execute(_CHANGE, tenant_id, device_id, after["name"], labels, after["stale_after_s"])
            resource = f"{tenant_id}/{device_id}"
            await audit(connection, actor, "device.change", tenant_id=tenant_id, resource=resource, details=details)
        return await one_device(self._pool, tenant_id, device_id)


def _changed(before: dict[str, Any], wanted: DeviceChanges) -> dict[str, Any]:
    given = {name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not UNSET}
    merged = {**before["labels"], **given.pop("labels", {})}
    labels = {name: value for name, value in merged.items() if value is not None}
    if len(labels) > MOST_LABELS:
        raise PermanentFailure(f"at most {MOST_LABELS} labels, please; these would be {len(labels)}")
    return {**before, **given, "labels": labels}
