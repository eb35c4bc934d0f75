"""How often callers may do something. In memory, each process for itself: nothing is looked up to refuse somebody."""

from __future__ import annotations

import hashlib
import secrets
from time import monotonic
from typing import TYPE_CHECKING, TypeVar, cast

from quart import current_app, g, request

from pulse_core.errors import TooMany
from pulse_core.remembered import Remembered
from pulse_server.throttle import Throttle

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from quart import Quart

    from pulse_core.config import LimitsConfig

FoundT = TypeVar("FoundT")

_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_KNOWN_S = 3600.0
_KNOWN_AT_MOST = 10_000
_PER_MINUTE = 60


class Limits:
    """The buckets of one process."""

    def __init__(self, config: LimitsConfig) -> None:
        self._writers = _bucket(config.writes_per_s * _PER_MINUTE, config.writes_burst)
        self._addresses = _bucket(config.address_writes_per_s * _PER_MINUTE, config.address_writes_burst)
        self.guesses = Guesses(config.failures_per_minute)

    def charge_address(self, address: str) -> None:
        """A write comes from there. Raises TooMany."""
        _charge(self._addresses, address, "too many writes from this address")

    def charge_writer(self, tenant_id: str, subject: str) -> None:
        """Somebody writes. Raises TooMany."""
        _charge(self._writers, f"{tenant_id} {subject}", "too many writes")


class Guesses:
    """Who shows credentials that are none, again and again, is not heard any more for a while.

    Only failures count, and what was good within the last hour is looked at from whatever address: so a guesser shuts
    out nobody else behind the same address who is at work.
    """

    def __init__(self, per_minute: int) -> None:
        self._throttle = _bucket(per_minute, per_minute)
        self._secret = secrets.token_bytes(32)
        self._known: Remembered[bytes, float] = Remembered(_KNOWN_AT_MOST)

    async def judge(
        self, address: str, credentials: str, ask: Callable[[str], Awaitable[FoundT | None]]
    ) -> FoundT | None:
        """Ask whose credentials those are; None counts as a failure of ``address``.

        :raises TooMany: there were too many; nothing was asked.
        """
        if self._throttle is None:
            return await ask(credentials)
        name = hashlib.blake2b(credentials.encode("utf-8", "replace"), key=self._secret, digest_size=16).digest()
        if not self._is_known(name) and (wait_s := self._throttle.look_s(address, monotonic())):
            raise TooMany("too many wrong credentials from this address", retry_after_s=wait_s)
        found = await ask(credentials)
        if found is None:
            self._known.forget(name)
            self._throttle.owe(address, monotonic())
        else:
            self._known.put(name, monotonic())
        return found

    def _is_known(self, name: bytes) -> bool:
        seen = self._known.get(name)
        return seen is not None and monotonic() - seen < _KNOWN_S


def install(app: Quart, config: LimitsConfig) -> None:
    """Make the buckets, and charge addresses before anything else is looked at."""
    app.extensions["limits"] = Limits(config)
    app.before_request(_charge_address)


def limits() -> Limits:
    """The buckets of the application that answers the current request."""
    return cast("Limits", current_app.extensions["limits"])


def guesses() -> Guesses:
    """Who guesses."""
    return limits().guesses


def charge_writer() -> None:
    """Charge whoever makes the current request, if it writes and they have proved who they are. Raises TooMany."""
    principal = g.get("principal")
    if principal is not None and request.method not in _READING:
        limits().charge_writer(principal.tenant_id or "", principal.subject)


async def _charge_address() -> None:
    if request.method not in _READING:
        limits().charge_address(request.remote_addr or "")


def _bucket(per_minute: float, burst: int) -> Throttle | None:
    return Throttle(per_minute=per_minute, burst=burst) if per_minute else None


def _charge(throttle: Throttle | None, key: str, complaint: str) -> None:
    wait_s = throttle.wait_s(key, monotonic()) if throttle is not None else 0.0
    if wait_s:
        raise TooMany(complaint, retry_after_s=wait_s)
