"""A lane: one connection that owns some partitions of the devices, and commits their batches.

The connection holds a session-level advisory lock for each of its partitions, so a process that takes over waits
until the former owner's backend is gone, whatever became of the process behind it.
"""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import asyncpg
import structlog

from pulse_core.errors import OwnershipLost, StoreUnavailable
from pulse_core.telemetry_store import asking
from pulse_postgres import writes as sql
from pulse_postgres.pool import connect, server_settings, unavailable
from pulse_postgres.states import load_states
from pulse_postgres.tally import write_tally

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.api import ReadingKey, TelemetryStore
    from pulse_core.records import DeviceState, Reading, WriteSet

LOCK_CLASS = 0x50554C53
"""First half of the advisory locks' key ("PULS"); the second is the partition."""

# Tried, not waited for: a backend that waits for a lock does not notice that its client is gone.
_TRY_LOCKS = "SELECT bool_and(pg_try_advisory_lock($1, p)) FROM unnest($2::int[]) AS p"
_LET_GO = "SELECT pg_advisory_unlock_all()"
_TRY_EVERY_S = 0.1

_TAKE_OVER = """
    INSERT INTO lane_partitions (partition, owner) SELECT p, $2 FROM unnest($1::smallint[]) AS p
    ON CONFLICT (partition) DO UPDATE SET owner = excluded.owner
"""
_STILL_MINE = "SELECT bool_and(owner = $2) FROM lane_partitions WHERE partition = ANY($1::smallint[])"

_SERVER_SETTINGS = server_settings("lane") | {
    # A host that vanished must not keep its partitions for hours.
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "idle_in_transaction_session_timeout": "60s",
}
_CONNECT_TIMEOUT_S = 10.0
_COMMIT_TIMEOUT_S = 60.0
_PING_TIMEOUT_S = 5.0
_CLOSE_TIMEOUT_S = 5.0
_TRIES = 5

_log = structlog.get_logger(__name__)


class PostgresLaneStores:
    """Opens lanes. ``dsn`` logs in as pulse_pipeline."""

    def __init__(self, dsn: str, telemetry: TelemetryStore) -> None:
        self._dsn = dsn
        self._telemetry = telemetry

    @property
    def readings_first(self) -> bool:
        """Whether the telemetry store takes no part in the transaction."""
        return not self._telemetry.transactional

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
        self._owner = uuid.uuid4()
        self._owned = False
        self._written: uuid.UUID | None = None
        """The batch whose readings a store beside the database has taken."""

    async def connect(self) -> asyncpg.Connection:
        """Return the lane's connection, a new one with the locks taken again if the last one was lost.

        :raises OwnershipLost: somebody else had a partition since.
        """
        if (kept := self._connection) is not None and not kept.is_closed() and not kept.is_in_transaction():
            return kept
        if kept is not None:
            self._drop(kept)
        with unavailable():
            connection = await connect(self._dsn, timeout=_CONNECT_TIMEOUT_S, server_settings=_SERVER_SETTINGS)
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
        """Which of these readings (by index) are stored already. No keys: only see whether the database answers."""
        if keys:
            with asking(self._telemetry):
                return await self._telemetry.known(keys)
        connection = await self.connect()
        try:
            with unavailable():
                await connection.execute("SELECT 1", timeout=_PING_TIMEOUT_S)
        except (StoreUnavailable, asyncio.CancelledError):
            self._drop(connection)
            raise
        return set()

    async def commit(self, writes: WriteSet) -> None:
        """Write all of it in one transaction; the same WriteSet again changes nothing.

        What hangs on a device or an integration that was deleted meanwhile is left out. A telemetry store that takes
        no part in the transaction has the readings before it: whatever is committed has its readings.

        :raises StoreUnavailable: the outcome is unknown; commit the same WriteSet again.
        :raises OwnershipLost: another process took the devices over; nothing is written any more.
        :raises ReadingsRefused: the telemetry store can never keep some of them; nothing is committed.
        """
        if self._telemetry.transactional:
            await self._telemetry.prepare(writes.readings)
        elif writes.readings and writes.batch_id != self._written:
            await self._write_beside(writes.readings)
            self._written = writes.batch_id
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
            _log.info("lane.was_gone_already", shard=self._shard, error=str(error))
        finally:
            connection.terminate()

    async def _own(self, connection: asyncpg.Connection) -> None:
        """Take all locks or none, so that two takers never wait for each other."""
        waited = False
        while not await connection.fetchval(_TRY_LOCKS, LOCK_CLASS, self._partitions):
            await connection.execute(_LET_GO)
            if not waited:
                _log.warning("lane.waits_for_its_owner", shard=self._shard)
            waited = True
            await asyncio.sleep(_TRY_EVERY_S)
        if not self._owned:
            await connection.execute(_TAKE_OVER, self._partitions, self._owner)
            self._owned = True
        elif not await connection.fetchval(_STILL_MINE, self._partitions, self._owner):
            raise OwnershipLost("another process had these devices meanwhile: this one has to start again")

    async def _write_beside(self, readings: Sequence[Reading]) -> None:
        await self.connect()  # if the devices are another process's by now, their readings are, too
        with asking(self._telemetry):
            async with asyncio.timeout(_COMMIT_TIMEOUT_S):
                await self._telemetry.prepare(readings)
                await self._telemetry.write(readings, None)

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
            kept = self._telemetry.transactional
            await write_tally(connection, writes, self._partitions[0], self._shard, readings_kept=kept)

    def _drop(self, connection: asyncpg.Connection) -> None:
        connection.terminate()
        self._connection = None
