"""Connections for the running platform: pools, tenants, change streams, and which errors mean "it is away"."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import asyncpg

from pulse_core.errors import SchemaError, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator

    from asyncpg.pool import PoolConnectionProxy

CONNECT_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 60.0

_PING_EVERY_S = 2.0
_PING_TIMEOUT_S = 3.0
_BY_INDEX = {"enable_seqscan": "off"}
_AS_ASKED = {"plan_cache_mode": "force_custom_plan"}
_QUEUED_AT_MOST = 100
"""More than this is read again as a whole: a thousand devices registered at once must not wait for a look-up each."""

_AWAY = (
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InsufficientResourcesError,
    asyncpg.QueryCanceledError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.ReadOnlySQLTransactionError,
    OSError,
    TimeoutError,
)
"""What is nobody's data's fault: the same work may succeed later."""


_BROKEN_OFF = "another operation (2) is in progress"
"""What asyncpg says when the server said goodbye between two queries, and the socket's end was not seen yet."""


@contextmanager
def unavailable() -> Iterator[None]:
    """Turn what means "the database is away, or too busy" into StoreUnavailable; let every other error through.

    Wrap database calls only: any OSError or TimeoutError inside counts.
    """
    try:
        yield
    except _AWAY as error:
        raise StoreUnavailable(f"the database does not answer: {type(error).__name__}: {error}") from error
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):  # asyncpg's own DataError: an argument that cannot be sent
            raise
        if "clos" in str(error) or "released" in str(error):  # "connection is closed", "pool is closing" …
            raise StoreUnavailable(f"the database connection is gone: {error}") from error
        raise
    except asyncpg.InternalClientError as error:
        if _BROKEN_OFF in str(error):
            raise StoreUnavailable(f"the database ended the connection: {error}") from error
        raise


@asynccontextmanager
async def beside(pool: asyncpg.Pool[Any]) -> AsyncIterator[PoolConnectionProxy[Any]]:
    """A connection for what is written beside the data path. Whoever gives up drops it: a server that hangs does not
    take a cancel either.

    Whatever the database says against it (a device is removed at this very moment) comes as StoreUnavailable: that it
    cannot be written just now is no reason for the data path to end.
    """
    with unavailable():
        async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection:
            try:
                yield connection
            except asyncpg.PostgresError as error:
                raise StoreUnavailable(str(error)) from error
            except asyncio.CancelledError:
                connection.terminate()
                raise


@contextmanager
def login_refused() -> Iterator[None]:
    """Say what to do when the database does not know a login role, or not by this password."""
    try:
        yield
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise SchemaError(
            "the database knows no such login role, or another password for it: "
            "run `pulse migrate` with this secret_key"
        ) from error


async def connect(dsn: str, **options: Any) -> asyncpg.Connection[Any]:
    """Connect as :func:`asyncpg.connect` does, to the first address in ``dsn``, one a line, whose password is right."""
    *first, last = dsn.splitlines()
    for each in first:
        with suppress(asyncpg.InvalidPasswordError):
            return await connect(each, **options)
    connection: asyncpg.Connection[Any] = await asyncpg.connect(last, **options)
    return connection


async def open_pool(
    dsn: str, *, name: str, max_size: int = 10, by_index: bool = False, as_asked: bool = False
) -> asyncpg.Pool:
    """Open a pool of at most ``max_size`` connections. ``name`` shows in ``pg_stat_activity``.

    :param by_index: every statement is made for an index: let none, and no check of a foreign key, read a whole table
        because that was small when its plan was made. Plans are kept; a storm is faster than the next ANALYZE.
    :param as_asked: plan each statement for the values it comes with, instead of once for all of them: one list is
        asked for by a label that half of the devices bear, and by one that three do. Costs some 0.2 ms.
    :raises StoreUnavailable: the database does not answer.
    :raises SchemaError: it knows no such login role, or another password for it.
    """
    planning = (_BY_INDEX if by_index else {}) | (_AS_ASKED if as_asked else {})
    with unavailable(), login_refused():
        pool: asyncpg.Pool[Any] = await asyncpg.create_pool(
            dsn,
            connect=cast("Any", connect),  # its type spells out every option
            min_size=1,
            max_size=max_size,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings=server_settings(name) | planning,
        )
    return pool


def server_settings(name: str) -> dict[str, str]:
    """What each of our connections asks for: a name, UTC, no JIT (it slows short queries down)."""
    return {"application_name": f"pulse {name}", "timezone": "UTC", "jit": "off"}


@asynccontextmanager
async def tenant(pool: asyncpg.Pool, tenant_id: str) -> AsyncIterator[PoolConnectionProxy[Any]]:
    """A connection of ``pulse_web`` in a transaction that sees and writes the rows of one tenant only."""
    if not tenant_id:
        raise ValueError("a tenant's id is never empty")
    with unavailable():
        async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection, connection.transaction():
            await connection.execute("SELECT set_config('app.tenant_id', $1, true)", tenant_id)
            yield connection


async def listen(dsn: str, *channels: str) -> AsyncGenerator[str | None, None]:
    """Yield None (resync: anything may have changed), then the payload of every notification on ``channels``.

    None comes again when more piled up than is worth telling apart. A dead peer is noticed within about 5 s.

    :raises StoreUnavailable: the connection could not be made, or is lost. Iterate again to reconnect.
    """
    name = server_settings(f"listen {' '.join(channels)}")
    with unavailable():
        connection = await connect(dsn, timeout=CONNECT_TIMEOUT_S, server_settings=name)
    heard = _Heard()
    connection.add_termination_listener(lambda _: heard.end())
    try:
        with unavailable():
            for channel in channels:
                await connection.add_listener(channel, lambda *said: heard.add(str(said[3])))
        yield None
        while True:
            payload = await heard.next(connection)
            yield payload
    finally:
        with suppress(*_AWAY, asyncpg.InterfaceError):
            connection.terminate()


class _Heard:
    """Notifications that wait to be taken; beyond a bound they become one "resync"."""

    def __init__(self) -> None:
        self._waiting: asyncio.Queue[str | None] = asyncio.Queue()
        self._ended = asyncio.Event()

    def add(self, payload: str) -> None:
        if self._waiting.qsize() < _QUEUED_AT_MOST:
            self._waiting.put_nowait(payload)
            return
        while not self._waiting.empty():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)

    def end(self) -> None:
        self._ended.set()
        self._waiting.put_nowait(None)

    async def next(self, connection: asyncpg.Connection[Any]) -> str | None:
        """Return the next payload; ping while there is none. Raises StoreUnavailable when the connection is lost."""
        while True:
            if self._ended.is_set():
                raise StoreUnavailable("the database connection for notifications is lost")
            try:
                async with asyncio.timeout(_PING_EVERY_S):
                    payload = await self._waiting.get()
            except TimeoutError:
                with unavailable():
                    await connection.execute("SELECT 1", timeout=_PING_TIMEOUT_S)
                continue
            if not self._ended.is_set():
                return payload
