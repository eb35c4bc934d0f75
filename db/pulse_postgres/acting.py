"""A transaction in which somebody changes things, and what the database's refusals mean."""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import asyncpg

from pulse_core.errors import Conflict, NotFound, PermanentFailure
from pulse_postgres.deeds import DEED
from pulse_postgres.pool import CONNECT_TIMEOUT_S, unavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from asyncpg.pool import PoolConnectionProxy

    from pulse_postgres.connections import Connections


@asynccontextmanager
async def acting(
    pool: Connections,
    *,
    exists: str = "it exists already",
    missing: str = "there is no such object",
    keyed: bool = True,
) -> AsyncIterator[PoolConnectionProxy[Any]]:
    """Give a connection in a transaction. The key of the current :data:`~pulse_postgres.deeds.DEED` is its first write.

    :param exists: what to say when a unique key is taken (Conflict).
    :param missing: what to say when something referred to does not exist (NotFound).
    :param keyed: False for what is no deed: it is written however often the request is made.
    :raises PermanentFailure: a value that cannot be stored: a NUL, a lone surrogate, an id of the wrong form.
    :raises Repeated: another request with the same key did it.
    """
    deed = DEED.get() if keyed else None
    with asking():
        try:
            async with pool.acquire(timeout=CONNECT_TIMEOUT_S) as connection, connection.transaction():
                if deed is not None:
                    await deed.claim(connection)
                yield connection
        except asyncpg.UniqueViolationError as error:
            raise Conflict(exists) from error
        except asyncpg.ForeignKeyViolationError as error:
            raise NotFound(missing) from error
        except asyncpg.CheckViolationError as error:
            raise PermanentFailure(f"not allowed: {error.constraint_name}") from error
    if deed is not None:
        deed.done = True


@contextmanager
def asking() -> Iterator[None]:
    """Around every query with values from outside: StoreUnavailable, or PermanentFailure for unstorable values."""
    with unavailable():
        try:
            yield
        except (asyncpg.DataError, asyncpg.exceptions._base.DataError, UnicodeEncodeError) as error:  # noqa: SLF001 - it has no public name
            raise PermanentFailure("a value cannot be stored: text with characters that are none") from error
