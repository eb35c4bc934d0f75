"""Reading a request's body: a piece at a time, never more than allowed, never for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


class TooLargeError(Exception):
    """The body is larger than allowed.

    :param start: as much of it as was read.
    """

    def __init__(self, start: bytes) -> None:
        super().__init__(f"more than {len(start)} bytes")
        self.start = start


class PeerGoneError(Exception):
    """The peer closed before its body ended: nobody is there to be answered."""


class CrowdedError(Exception):
    """Too much is being read already."""


class Bodies:
    """Reads bodies for all requests, and bounds what they hold together."""

    def __init__(self, timeout_s: float, max_buffered_bytes: int) -> None:
        self._timeout_s = timeout_s
        self._free_bytes = max_buffered_bytes

    async def read(self, receive: Receive, limit: int) -> bytes:
        """Read a body of at most ``limit`` bytes.

        :raises TooLargeError: as soon as it is larger.
        :raises TimeoutError: when it does not end in time.
        """
        async with asyncio.timeout(self._timeout_s):
            message = await receive()
            if message["type"] == "http.request" and not message.get("more_body"):
                body: bytes = message.get("body", b"")
                if len(body) > limit:
                    raise TooLargeError(body)
                return body
            return await self._gather(message, receive, limit)

    async def _gather(self, message: MutableMapping[str, Any], receive: Receive, limit: int) -> bytes:
        body = bytearray()
        try:
            while True:
                if message["type"] != "http.request":
                    raise PeerGoneError
                piece = message.get("body", b"")
                body += piece
                self._free_bytes -= len(piece)
                if len(body) > limit:
                    raise TooLargeError(bytes(body))
                if not message.get("more_body"):
                    return bytes(body)
                if self._free_bytes < 0:
                    raise CrowdedError
                message = await receive()
        finally:
            self._free_bytes += len(body)
