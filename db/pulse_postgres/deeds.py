"""A deed that is done once, however often it is asked for: its key is written in its own transaction."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from pulse_core.errors import PulseError

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

# Whoever asks with the same key at the same moment waits here until the first one's transaction has ended.
_CLAIM = """
    INSERT INTO request_keys (tenant_id, subject, key, request) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING RETURNING true
"""


class Repeated(PulseError):  # noqa: N818 - nothing went wrong
    """The deed was done already, by another request with the same key. Nothing was done now."""


class Deed:
    """What one request with an Idempotency-Key does.

    :param subject: who asks; with ``tenant_id`` ('' for those who have none) whose key it is.
    :param request: what is asked for, sealed.
    """

    def __init__(self, tenant_id: str, subject: str, key: str, request: bytes) -> None:
        self.tenant_id = tenant_id
        self.subject = subject
        self.key = key
        self.request = request
        self.done = False
        """A transaction was committed, and the key with it."""

    async def claim(self, connection: PoolConnectionProxy[Any]) -> None:
        """Write the key, in the transaction that does the deed. Raises Repeated: somebody else's is there."""
        if not self.done and not await connection.fetchval(
            _CLAIM, self.tenant_id, self.subject, self.key, self.request
        ):
            raise Repeated(self.key)


DEED: ContextVar[Deed | None] = ContextVar("deed", default=None)
"""The deed of the current request, if it carries a key. Whoever takes requests sets it, so that no store forgets it."""
