"""What devices said last, of many of them at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from pulse_core.api import DeviceKey, LatestValue
from pulse_postgres.sqltime import moment, us
from pulse_postgres.telemetry.series import in_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_postgres.connections import Connections

READ_AT_MOST = 10_000
"""The latest values are looked for in so many readings in all, the newest of each device; in one of each at least."""

# The days are read one after another, from the newest on, and those behind the last reading that is wanted not at all.
_NEWEST = f"""
    SELECT d.place, {us("r.ts")}, r.metrics
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS d (tenant_id, device_id, place)
    CROSS JOIN LATERAL (
        SELECT t.ts, t.metrics FROM telemetry AS t
        WHERE t.tenant_id = d.tenant_id AND t.device_id = d.device_id AND t.ts >= $3
        ORDER BY t.ts DESC LIMIT $4) AS r
"""
_decode = msgspec.json.Decoder(dict[str, int | float | bool | str]).decode


async def latest_of(
    pool: Connections, devices: Sequence[DeviceKey], since_us: int
) -> dict[DeviceKey, dict[str, LatestValue]]:
    """The latest value of each metric in the newest readings of each device; the more devices, the fewer readings."""
    found: list[dict[str, LatestValue]] = [{} for _ in devices]
    each = max(1, READ_AT_MOST // max(1, len(devices)))
    whose = [device.tenant_id for device in devices], [device.device_id for device in devices]
    async with in_time(pool) as connection:
        rows = await connection.fetch(_NEWEST, *whose, moment(since_us), each)
    for place, ts_us, metrics in rows:
        of_device, told = found[place - 1], _decode(metrics)
        if not of_device:
            found[place - 1] = {name: LatestValue(ts_us, value) for name, value in told.items()}
            continue
        for name, value in told.items():
            if (kept := of_device.get(name)) is None or kept.ts_us < ts_us:
                of_device[name] = LatestValue(ts_us, value)
    return dict(zip(devices, found, strict=True))
