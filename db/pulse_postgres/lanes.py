"""A lane: one connection that owns some partitions of the devices, and commits their batches.

The connection holds a session-level advisory lock for each of its partitions, so a process that takes over waits
until the former owner's backend is gone, whatever became of the process behind it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import asyncpg
import structlog

from pulse_core.errors import StoreUnavailable
from pulse_postgres import writes as sql
from pulse_postgres.pool import server_settings, unavailable
from pulse_postgres.states import load_states

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.api import ReadingKey, TelemetryStore
    from pulse_core.records import DeviceState, WriteSet

_LOCK_CLASS = 0x50554C53
"""First half of the advisory locks' key ("PULS"); the second is the partition."""

# Always in the order of the partitions, so that two takers cannot block each other.
_TRY_LOCKS = "SELECT pg_try_advisory_lock($1, p) FROM unnest($2::int[]) AS p"
_LOCKS = "SELECT pg_advisory_lock($1, p) FROM unnest($2::int[]) AS p"

_SERVER_SETTINGS = server_settings("lane") | {
    # A host that vanished must not keep its partitions for hours.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "60s",
}
_CONNECT_TIMEOUT_S = 10.0
_COMMIT_TIMEOUT_S = 60.0
_CLOSE_TIMEOUT_S = 5.0
_TRIES = 5

_log = structlog.get_logger(__name__)


class PostgresLaneStores:
    """Opens lanes. ``dsn`` logs in as pulse_pipeline."""

    def __init__(self, dsn: str, telemetry: TelemetryStore) -> None:
        self._dsn = dsn
        self._telemetry = telemetry

    async def open(self, shard: int, partitions: Sequence[int]) -> PostgresLane:
        """Take ownership of ``partitions``, waiting for a former owner's connection to end.

        :raises StoreUnavailable: when the database does not answer.
        """
        lane = PostgresLane(self._dsn, self._telemetry, shard, partitions)
        await lane.connect()
        return lane


class PostgresLane:
    """See :class:`pulse_core.ports.LaneStore`. One coroutine at a time may use it."""

    def __init__(self, dsn: str, telemetry: TelemetryStore, shard: int, partitions: Sequence[int]) -> None:
        self._dsn = dsn
        self._telemetry = telemetry
        self._shard = shard
        self._partitions = sorted(partitions)
        self._connection: asyncpg.Connection | None = None

    async def connect(self) -> asyncpg.Connection:
        """Return the lane's connection, a new one with the locks taken again if the last one was lost."""
        if (kept := self._connection) is not None and not kept.is_closed() and not kept.is_in_transaction():
            return kept
        if kept is not None:
            self._drop(kept)
        with unavailable():
            connection = await asyncpg.connect(self._dsn, timeout=_CONNECT_TIMEOUT_S, server_settings=_SERVER_SETTINGS)
            try:
                await self._own(connection)
            except BaseException:
                connection.terminate()
                raise
        self._connection = connection
        return connection

    async def load(self) -> list[DeviceState]:
        """The committed state of the lane's devices, their open alerts included; a device never seen has none."""
        connection = await self.connect()
        with unavailable():
            return await load_states(connection, frozenset(self._partitions))

    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        """Which of these readings (by index) are stored already."""
        return await self._telemetry.known(keys)

    async def commit(self, writes: WriteSet) -> None:
        """Write all of it in one transaction; the same WriteSet again changes nothing.

        What hangs on a device or an integration that was deleted meanwhile is left out.

        :raises StoreUnavailable: the outcome is unknown; commit the same WriteSet again.
        """
        await self._telemetry.prepare(writes.readings)
        if not self._telemetry.transactional:
            await self._telemetry.write(writes.readings, None)
        connection = await self.connect()
        try:
            with unavailable():
                async with asyncio.timeout(_COMMIT_TIMEOUT_S):
                    await self._commit(connection, writes)
        except (StoreUnavailable, asyncio.CancelledError):
            self._drop(connection)  # any other error is the data's: rolled back, and the connection is good
            raise

    async def close(self) -> None:
        """Give the connection and the partitions back."""
        connection, self._connection = self._connection, None
        if connection is None or connection.is_closed():
            return
        try:
            with unavailable():
                await connection.close(timeout=_CLOSE_TIMEOUT_S)
        except StoreUnavailable as error:
            _log.info("lane connection was gone already", shard=self._shard, error=str(error))
        finally:
            connection.terminate()

    async def _own(self, connection: asyncpg.Connection) -> None:
        taken = await connection.fetch(_TRY_LOCKS, _LOCK_CLASS, self._partitions)
        if not all(row[0] for row in taken):
            _log.warning("waiting for the process that has this lane's devices", shard=self._shard)
            await connection.fetch(_LOCKS, _LOCK_CLASS, self._partitions)

    async def _commit(self, connection: asyncpg.Connection, writes: WriteSet) -> None:
        for _ in range(_TRIES - 1):
            try:
                return await self._transaction(connection, writes)
            except asyncpg.ForeignKeyViolationError:
                writes = await sql.without_the_vanished(connection, writes)
            except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError):
                continue
        return await self._transaction(connection, writes)

    async def _transaction(self, connection: asyncpg.Connection, writes: WriteSet) -> None:
        async with connection.transaction():
            if self._telemetry.transactional:
                await self._telemetry.write(writes.readings, connection)
            await sql.write_states(connection, writes.states)
            happened = await sql.write_changes(connection, writes.changes)
            await sql.write_deliveries(connection, writes.deliveries, happened)
            await sql.write_rejects(connection, writes.rejects, writes.batch_id, self._partitions[0], self._shard)

    def _drop(self, connection: asyncpg.Connection) -> None:
        connection.terminate()
        self._connection = None
