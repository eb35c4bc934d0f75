"""Which devices of a tenant a query is of, and in which group each is: as the registry has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.errors import PermanentFailure
from pulse_postgres.acting import asking
from pulse_postgres.devices import DeviceFilter
from pulse_postgres.paging import Where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_postgres.connections import Connections

DEVICES_AT_MOST = 10_000
LABEL = "label:"


async def device_groups(
    pool: Connections,
    tenant_id: str,
    *,
    by: str = "device",
    devices: Sequence[str] | None = None,
    sites: Sequence[str] | None = None,
    label: str | None = None,
) -> dict[str, str]:
    """The group of each device that is meant.

    :param by: ``device``, ``site`` or ``label:`` and its name; of the last, devices without it are left out.
    :param label: as of :class:`~pulse_postgres.devices.DeviceFilter`.
    :raises PermanentFailure: those are more than 10,000.
    """
    where = DeviceFilter(label=label).where(Where())
    where.add("d.tenant_id = {}", tenant_id)
    where.add_given("d.device_id = ANY({}::text[])", devices)
    where.add_given("d.site_id = ANY({}::text[])", sites)
    group = {"device": "d.device_id", "site": "d.site_id"}.get(by, "g.value")
    join = ""
    if by.startswith(LABEL):
        name = where.put(by.removeprefix(LABEL))
        join = f"JOIN device_labels g ON g.tenant_id = d.tenant_id AND g.device_id = d.device_id AND g.name = {name}"
    most = where.put(DEVICES_AT_MOST + 1)
    query = f"SELECT d.device_id, {group} FROM devices d {join} WHERE {where} LIMIT {most}"
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    if len(rows) > DEVICES_AT_MOST:
        raise PermanentFailure(f"more than {DEVICES_AT_MOST} devices: choose some by device, site or label")
    return {row[0]: row[1] for row in rows}
