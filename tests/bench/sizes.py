"""How many bytes things take in PostgreSQL: what docs/how-to/capacity.md reckons with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import psycopg

from bench.figures import Bench, Figure
from pulse_postgres.migrate import migrate
from pulse_server.embedded import EmbeddedPostgres

if TYPE_CHECKING:
    from typing import Any

DAY = "2026-01-02"
METRICS = (1, 5, 20)
_SECRET_KEY = "5ca1ab1e0ddba11f005eedfacade0ff15ca1ab1e0ddba11f005eedfacade0ff1"

_FLEET = """
    INSERT INTO tenants (tenant_id) VALUES ('tenant-a') ON CONFLICT DO NOTHING;
    INSERT INTO devices (tenant_id, device_id, site_id, token_hash, name, labels)
    SELECT 'tenant-a', 'device-' || lpad(n::text, 6, '0'), 'site-' || n % 20, sha256(n::text::bytea), 'Boiler ' || n,
           '{"model": "m7"}' FROM generate_series(1, %(devices)s) n;
    INSERT INTO device_state (tenant_id, device_id, status, status_since, last_seen_at, last_ts, source, memory, wake)
    SELECT tenant_id, device_id, 'ONLINE', now(), now(), now(), 'mqtt', '{"heartbeat": {"open": false}}',
           '{"heartbeat": 1796000000000000}' FROM devices;
"""
# In the order in which a fleet sends: a message of each device, again and again.
_READINGS = """
    INSERT INTO telemetry (tenant_id, device_id, ts, key_hash, received_at, msg_type, site_id, seq, metrics)
    SELECT d.tenant_id, d.device_id, moment, hashtextextended(d.device_id || moment::text, 0),
           moment + interval '30 ms', 'telemetry', d.site_id, n,
           (SELECT jsonb_object_agg('temperature_' || m, round((20 + 10 * random() + 0 * n)::numeric, 2))
            FROM generate_series(1, %(metrics)s) m)
    FROM generate_series(1, %(each)s) n CROSS JOIN LATERAL (SELECT *, %(day)s::timestamptz
         + (n * 86000.0 / %(each)s + random()) * interval '1 second' AS moment FROM devices) d
    ORDER BY n, d.device_id
"""
_OF_TABLE = "SELECT pg_table_size(%(name)s::regclass), pg_indexes_size(%(name)s::regclass)"


class Taken(NamedTuple):
    """Bytes of one reading, or of one device: its rows, and what its indexes add. ``wal``: what is written besides."""

    rows: float
    indexes: float
    wal: float = 0.0

    @property
    def bytes(self) -> float:
        """On disk, for as long as it is kept."""
        return self.rows + self.indexes


def of_a_device(connection: psycopg.Connection[Any], devices: int) -> Taken:
    """Register devices in an empty, migrated database, and weigh them."""
    connection.execute(_FLEET.encode().replace(b"%(devices)s", str(devices).encode()))
    weighed = [_weighed(connection, table) for table in ("devices", "device_labels", "device_state")]
    return Taken(sum(rows for rows, _ in weighed) / devices, sum(indexes for _, indexes in weighed) / devices)


def of_a_reading(connection: psycopg.Connection[Any], metrics: int, each: int) -> Taken:
    """Have every registered device send ``each`` readings of so many metrics within one day, and weigh them."""
    day = f"telemetry_{DAY.replace('-', '')}"
    connection.execute(f"SELECT ensure_telemetry_day('{DAY}')".encode())
    connection.execute(f"TRUNCATE {day}".encode())
    before = _one(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'")
    values = {"metrics": metrics, "each": each, "day": f"{DAY}T00:00:00Z"}
    count = connection.execute(_READINGS.encode(), values).rowcount
    wal = _one(connection, "SELECT pg_current_wal_insert_lsn() - '0/0'") - before
    rows, indexes = _weighed(connection, day)
    return Taken(rows / count, indexes / count, wal / count)


def _weighed(connection: psycopg.Connection[Any], table: str) -> tuple[int, int]:
    row = connection.execute(_OF_TABLE.encode(), {"name": table}).fetchone()
    assert row
    return int(row[0]), int(row[1])


def _one(connection: psycopg.Connection[Any], query: str) -> float:
    row = connection.execute(query.encode()).fetchone()
    assert row
    return float(row[0])


def sizes(bench: Bench) -> list[Figure]:
    """Bytes a reading and a device in PostgreSQL."""
    server = EmbeddedPostgres(bench.fresh_folder() / "postgres")
    devices, each = (200, 20) if bench.small else (5_000, 100)
    try:
        url = server.start()
        migrate(url, _SECRET_KEY)
        with psycopg.connect(url, autocommit=True) as connection:
            device = of_a_device(connection, devices)
            found = {metrics: of_a_reading(connection, metrics, each) for metrics in METRICS}
    finally:
        server.stop()
    told = [_figure(f"A reading of {metrics} metrics", taken) for metrics, taken in found.items()]
    return [_figure("A device", device), *told]


def _figure(name: str, taken: Taken) -> Figure:
    wal = f"; {taken.wal:.0f} B of WAL" if taken.wal else ""
    value = f"{taken.bytes:.0f} B: row {taken.rows:.0f}, indexes {taken.indexes:.0f}{wal}"
    return Figure(name, value, "-", met=True)
