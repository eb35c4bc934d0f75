"""A device's HTTP link: one POST a reading, tried again until there is an answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
from typing import TYPE_CHECKING, Any

import aiohttp

if TYPE_CHECKING:
    from pulse_simulator.fleet import Member

_BACKOFF_S = (0.5, 1.0, 2.0, 4.0, 8.0)
_TIMEOUT = aiohttp.ClientTimeout(total=30)
_LOST = (aiohttp.ClientError, TimeoutError, OSError)
_ACCEPTED, _TOO_MANY, _SERVER_ERROR = 202, 429, 500


class HttpLink:
    """One device's way to the platform over HTTP. ``session`` is the fleet's: it keeps connections alive."""

    def __init__(self, member: Member, base_url: str, session: aiohttp.ClientSession) -> None:
        self._member = member
        self._url = f"{base_url.rstrip('/')}/ingest/v1/{member.base}"
        self._session = session
        self._failures = 0
        self._in_reach = asyncio.Event()
        self._in_reach.set()

    async def send(self, msg_type: str, payload: bytes) -> bool:
        """Post until there is a final answer: True for 202, False for a refusal.

        429, 5xx and no answer at all are tried again.
        """
        while True:
            await self._in_reach.wait()
            status, wait_s = await self._post(msg_type, payload, self._member.token)
            if status == _ACCEPTED:
                self._failures = 0
                return True
            if status and status < _SERVER_ERROR and status != _TOO_MANY:
                return False
            await self._back_off(wait_s)

    async def knock(self, token: str) -> None:
        """Post once with another token."""
        await self._post("heartbeat", b"{}", token)

    async def leave(self) -> None:
        """Start no post until :meth:`come_back`."""
        self._in_reach.clear()

    def come_back(self) -> None:
        """Post again."""
        self._in_reach.set()

    async def within_reach(self) -> None:
        """Return when nothing keeps the device from the platform."""
        await self._in_reach.wait()

    async def ask(self, method: str, path: str, timeout: aiohttp.ClientTimeout) -> tuple[int, Any]:
        """Ask once for something below the device's own path: status (0 for no answer) and JSON."""
        headers = {"X-Provision-Token": self._member.token}
        try:
            async with self._session.request(method, f"{self._url}/{path}", headers=headers, timeout=timeout) as answer:
                return answer.status, json.loads(await answer.read() or b"null")
        except (*_LOST, ValueError):
            return 0, None

    async def _post(self, msg_type: str, payload: bytes, token: str) -> tuple[int, float | None]:
        headers = {"X-Provision-Token": token, "Content-Type": "application/json"}
        try:
            async with self._session.post(
                f"{self._url}/{msg_type}", data=payload, headers=headers, timeout=_TIMEOUT
            ) as answer:
                await answer.read()
                return answer.status, _seconds(answer.headers.get("Retry-After"))
        except _LOST:
            return 0, None

    async def _back_off(self, wait_s: float | None) -> None:
        pause_s = wait_s or _BACKOFF_S[min(self._failures, len(_BACKOFF_S) - 1)]
        self._failures += 1
        await asyncio.sleep(pause_s * random.uniform(1, 1.3))


def _seconds(header: str | None) -> float | None:
    with contextlib.suppress(ValueError):
        return float(header) if header else None
    return None
