"""Name resolution that blocks nothing else: the system's resolver in daemon threads."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable

from pulse_core.addresses import shown
from pulse_core.errors import NameUnresolved

LookUp = Callable[[str, int], Awaitable[list[str]]]
"""``await look_up(host, port)``: the addresses of a name as text. Raises NameUnresolved."""

_AT_ONCE = 64
_PATIENCE_S = 8.0


class Resolver:
    """Looks names up with ``getaddrinfo``.

    The loop's own thread pool would not do: a few names whose servers never answer would hold all its
    threads, and the process could not end before they come back.
    """

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def look_up(self, host: str, port: int) -> list[str]:
        """Return every address of ``host``. Raises NameUnresolved: no such name, no answer, no thread."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._free.acquire()
                answer = _in_thread(host, port)
                answer.add_done_callback(lambda _: self._free.release())  # not before the thread is done
                return await asyncio.shield(answer)
        except TimeoutError as error:
            raise NameUnresolved(f"{shown(host)}: no answer from DNS within {_PATIENCE_S:g} s") from error
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a host name"
            raise NameUnresolved(f"{shown(host)} cannot be resolved: {why}") from error


def _in_thread(host: str, port: int) -> asyncio.Future[list[str]]:
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str], error: Exception | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(addresses)
        else:
            answer.set_exception(error)
            answer.exception()  # whoever asked may have given up: not an error nobody looked at

    def work() -> None:
        addresses, problem = [], None
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
            addresses = [str(sockaddr[0]) for *_, sockaddr in found]
        except (OSError, UnicodeError) as error:
            problem = error
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, addresses, problem)

    threading.Thread(target=work, name="name look-up", daemon=True).start()
    return answer
