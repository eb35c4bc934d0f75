"""``/mqtt/auth`` and ``/mqtt/acl``: where a broker asks whether a device is who it says, and what it may.

The bridge's own login at that broker is answered too, so that the broker needs no other list of users.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import OrderedDict
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from pulse_core.api import ConnectionEvent, Credentials, RawMessage, Reason, Rejected, StoreUnavailable
from pulse_mqtt_bridge.asking import UnreadableError, read_question, shows_secret
from pulse_mqtt_bridge.rights import bridge_may, device_may, key_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from pulse_core.api import DeviceKey, Intake
    from pulse_mqtt_bridge.asking import Question
    from pulse_mqtt_bridge.config import BridgeConfig

REMEMBERED = 100_000
"""Devices that have logged in at the broker: by their tokens we can say whether a revocation means them. The one that
logged in longest ago is forgotten first."""
_AGAIN_S = 0.5
_AT_ONCE = 256
"""Questions that are being answered; more are sent away, so that a broker cannot make us forget everything else."""


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes


def _json(status: int, **content: Any) -> Answer:
    return Answer(status, msgspec.json.encode(content))


_YES = _json(200, result="allow", is_superuser=False, Ok=True, Error="")
_NO = _json(200, result="deny", is_superuser=False, Ok=False, Error="denied")
_NO_BY_STATUS = _NO._replace(status=403)
_STRANGER = _json(401, Ok=False, Error="the secret is not the right one")
_NOT_ALLOWED = _json(405, Ok=False, Error="only POST")
_LATER = _json(503, Ok=False, Error="try again")


class AccessDoors:
    """Two ASGI apps, :meth:`auth` and :meth:`acl`."""

    def __init__(self, intake: Intake, config: BridgeConfig, source: str, log: Any) -> None:
        assert config.auth_secret is not None  # noqa: S101 - without it there are no doors
        self._intake = intake
        self._config = config
        self._secret = config.auth_secret.get_secret_value().encode()
        self._topics = config.topics
        self._source = source
        self._log = log
        self._shown: OrderedDict[DeviceKey, str] = OrderedDict()
        self._revoked: set[DeviceKey] = set()
        self._under_way = 0

    async def auth(self, scope: Any, receive: Any, send: Any) -> None:
        """Is this user who it says?"""
        await self._serve(scope, receive, send, self._may_log_in, login=True)

    async def acl(self, scope: Any, receive: Any, send: Any) -> None:
        """May this user do that with this topic?"""
        await self._serve(scope, receive, send, self._may, login=False)

    async def follow_revocations(self) -> None:
        """Deny devices what they are still connected for, once their token is no longer good. Runs until cancelled."""
        while True:
            with suppress(StoreUnavailable):
                async for key in self._intake.revocations():
                    await self._look_at(key)
            await asyncio.sleep(_AGAIN_S)

    async def _look_at(self, key: DeviceKey) -> None:
        """After a rotation the device may have come with its new token before the old one ended."""
        token = self._shown.get(key)
        while token is not None:
            try:
                await self._intake.authenticate(Credentials(key, token))
            except Rejected:
                self._revoked.add(key)
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN_S)
                continue
            return

    async def _serve(
        self, scope: Any, receive: Any, send: Any, ask: Callable[[Question], Awaitable[bool]], *, login: bool
    ) -> None:
        if scope["type"] != "http":
            return
        self._under_way += 1
        try:
            answer = await self._answer(scope, receive, ask, login=login)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is no yes
            self._log.error("bridge.door_failed", error=repr(error), exc_info=error)
            answer = _LATER
        finally:
            self._under_way -= 1
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(answer.body)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(
        self, scope: Any, receive: Any, ask: Callable[[Question], Awaitable[bool]], *, login: bool
    ) -> Answer:
        if not shows_secret(scope["headers"], self._secret):
            return _STRANGER
        if scope["method"] != "POST":
            return _NOT_ALLOWED
        if self._under_way > _AT_ONCE or self._intake.stopping.is_set():
            return _LATER
        try:
            question = await read_question(scope, receive, login=login)
        except (UnreadableError, TimeoutError) as error:
            return _json(400, Ok=False, Error=str(error) or "the body did not end in time")
        try:
            allowed = await ask(question)
        except StoreUnavailable:
            return _LATER
        return _YES if allowed else _NO_BY_STATUS if question.wants_status else _NO

    async def _may_log_in(self, question: Question) -> bool:
        if self._is_bridge(question.username):
            password = self._config.password
            expected = password.get_secret_value().encode() if password else b""
            return bool(expected) and hmac.compare_digest(question.password.encode("utf-8", "replace"), expected)
        key = key_of(question.username)
        if key is None:
            return False
        try:
            await self._intake.authenticate(Credentials(key, question.password))
        except Rejected as error:
            self._count_refusal(key, question.client_id, error.reason)
            return False
        self._remember(key, question.password)
        return True

    def _remember(self, key: DeviceKey, token: str) -> None:
        self._revoked.discard(key)
        self._shown.pop(key, None)
        self._shown[key] = token
        if len(self._shown) > REMEMBERED:
            self._revoked.discard(self._shown.popitem(last=False)[0])

    async def _may(self, question: Question) -> bool:
        if self._is_bridge(question.username):
            subscriptions = self._config.subscriptions
            allowed = [bridge_may(subscriptions, action, question.topic) for action in question.actions]
        elif (key := key_of(question.username)) is None or key in self._revoked:
            return False
        else:
            allowed = [device_may(key, action, question.topic, self._topics) for action in question.actions]
        return bool(allowed) and all(allowed)

    def _is_bridge(self, username: str) -> bool:
        return self._config.user is not None and username == self._config.user

    def _count_refusal(self, key: DeviceKey, client_id: str, reason: Reason) -> None:
        """Tell quarantine and the device's history of a refused login. The broker is not kept waiting for it."""
        login = RawMessage(
            key.tenant_id, key.device_id, "connect", b"", time.time_ns() // 1000, self._source, refused=reason
        )
        future = asyncio.ensure_future(self._intake.submit([login]))
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._intake.connection_event(key, ConnectionEvent.REFUSED, client_id=client_id, detail=str(reason))
