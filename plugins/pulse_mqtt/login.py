"""Logging in: from a CONNECT to a session, or to the reason why not."""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any, Protocol

from pulse_core.api import (
    LONGEST_CLIENT_ID,
    ConnectionEvent,
    Credentials,
    DeviceKey,
    RawMessage,
    Reason,
    Rejected,
    StoreUnavailable,
)
from pulse_mqtt import codec5, codec311
from pulse_mqtt.codes import Code
from pulse_mqtt.packets import V5, V311
from pulse_mqtt.roster import Guest
from pulse_mqtt.session import Session, SessionKey
from pulse_mqtt.topics import key_of, prefix_of
from pulse_mqtt.wire import Fields, UnsupportedProtocolError

if TYPE_CHECKING:
    from pulse_core.api import Intake
    from pulse_mqtt.config import MqttConfig
    from pulse_mqtt.packets import Connect
    from pulse_mqtt.roster import Roster
    from pulse_mqtt.throttle import LoginThrottle
    from pulse_mqtt.wills import Wills

LEAST_PACKET = 80
"""The longest CONNACK of ours, generously: who takes less cannot be welcomed (3.1.2.11.4 of MQTT 5)."""
_PROTOCOL = b"MQTT"
_READERS = {V311: codec311.read_connect, V5: codec5.read_connect}
_ASSIGNED_BYTES = 12


class LoginRefused(Exception):  # noqa: N818 - a login that is refused is no error of ours
    """The answer is no. ``code`` as MQTT 5 has it."""

    def __init__(self, code: Code, why: str) -> None:
        super().__init__(why)
        self.code = code


class Applicant(Guest, Protocol):
    """A connection that wants in."""

    closed: bool
    address: str

    @property
    def protocol(self) -> str:
        """What it speaks, as ``mqtts/5``."""

    def proven(self) -> DeviceKey | None:
        """Who it is by its certificate."""


def version_of(body: bytes) -> int:
    """Read protocol name and level (3.1.2.1, 3.1.2.2).

    :raises UnsupportedProtocolError: it is neither MQTT 3.1.1 nor MQTT 5.0.
    """
    fields = Fields(body)
    name, level = fields.binary(), fields.byte()
    if name != _PROTOCOL or level not in _READERS:
        raise UnsupportedProtocolError(f"protocol {name[:16]!r} level {level}")
    return level


def read_connect(body: bytes, version: int) -> Connect:
    """Read the body of a CONNECT."""
    fields = Fields(body)
    fields.binary()
    fields.byte()
    return _READERS[version](fields)


class Desk:
    """Judges logins; one for all connections."""

    def __init__(
        self,
        intake: Intake,
        config: MqttConfig,
        roster: Roster[Any],
        wills: Wills,
        throttle: LoginThrottle,
        source: str,
    ) -> None:
        self._intake = intake
        self._config = config
        self._roster = roster
        self._wills = wills
        self._throttle = throttle
        self._source = source

    def who(self, connect: Connect, applicant: Applicant) -> DeviceKey:
        """Whom a CONNECT names. What is wrong with it by itself is refused here, before anything is looked up.

        :raises LoginRefused: see :class:`LoginRefused`.
        """
        if connect.authentication_method is not None:
            raise LoginRefused(Code.BAD_AUTHENTICATION_METHOD, "there is no enhanced authentication")
        proven = applicant.proven()
        key = key_of(connect.username) if connect.username is not None else proven
        if key is None:
            raise LoginRefused(Code.BAD_USER_NAME_OR_PASSWORD, "the user name is {tenant_id}/{device_id}")
        nameless = connect.version == V311 and not connect.client_id and not connect.clean
        if nameless or len(connect.client_id) > LONGEST_CLIENT_ID:
            raise LoginRefused(Code.CLIENT_IDENTIFIER_NOT_VALID, f"a client id has 1 to {LONGEST_CLIENT_ID} characters")
        if connect.maximum_packet_size is not None and connect.maximum_packet_size < LEAST_PACKET:
            raise LoginRefused(Code.IMPLEMENTATION_SPECIFIC_ERROR, f"packets of {LEAST_PACKET} bytes must fit")
        if proven is not None and key != proven:
            raise LoginRefused(Code.NOT_AUTHORIZED, "the certificate is another device's")
        if (will := connect.will) is not None:
            if will.retain and connect.version == V5:
                raise LoginRefused(Code.RETAIN_NOT_SUPPORTED, "nothing is retained")
            if not will.topic.startswith(prefix_of(key)):
                raise LoginRefused(Code.NOT_AUTHORIZED, "the will's topic is not the device's own")
        return key

    async def log_in(self, key: DeviceKey, connect: Connect, applicant: Applicant) -> Session:
        """Check the token, and begin a session or go on with one. The caller is to look whether it was ended meanwhile.

        :raises LoginRefused: see :class:`LoginRefused`.
        """
        if not self._throttle.admits(applicant.address, key, time.monotonic()):
            raise LoginRefused(Code.CONNECTION_RATE_EXCEEDED, "too many failed logins from this address")
        proven = applicant.proven() is not None
        token = (connect.password or b"").decode("utf-8", "replace")
        try:
            await self._intake.authenticate(Credentials(key, token, proven))
        except Rejected as error:
            self._throttle.failed(applicant.address, time.monotonic())
            self._count_refusal(key, connect, applicant, error.reason)
            raise LoginRefused(Code.NOT_AUTHORIZED, "not authorized") from error
        except StoreUnavailable as error:
            raise LoginRefused(Code.SERVER_UNAVAILABLE, "try again later") from error
        self._throttle.welcomed(applicant.address, key)
        return await self._open(Session(self._session_key(key, connect), self._expiry_s(connect)), connect, applicant)

    def _session_key(self, key: DeviceKey, connect: Connect) -> SessionKey:
        return SessionKey(key, connect.client_id or f"pulse-{secrets.token_hex(_ASSIGNED_BYTES)}")

    def _expiry_s(self, connect: Connect) -> int:
        longest_s = self._config.longest_session_s
        if connect.version == V5:
            return min(connect.expiry_s, longest_s)
        return 0 if connect.clean else longest_s

    async def _open(self, session: Session, connect: Connect, applicant: Applicant) -> Session:
        key = session.key
        if applicant.closed:
            return session
        before = self._roster.welcome(key, applicant, resumed=not connect.clean)
        self._wills.back(key, resumed=not connect.clean)
        if not connect.client_id and not session.expiry_s:
            return session  # nobody can have stored one under a name that was just made up
        try:
            found = await self._intake.open_session(
                key.device, key.client_id, clean=connect.clean, expiry_s=session.expiry_s
            )
        except asyncio.CancelledError:
            self._give_back(session, before, applicant)
            raise
        except StoreUnavailable as error:
            self._give_back(session, before, applicant)
            raise LoginRefused(Code.SERVER_UNAVAILABLE, "try again later") from error
        if found is not None:
            session.present = True
            session.subscriptions = found
            if before is not None:
                session.unreleased, session.settling = before.unreleased, before.settling
        self._roster.settle(key)
        return session

    def _give_back(self, session: Session, before: Session | None, applicant: Guest) -> None:
        """Nobody goes on with a session: it waits as the connection before has left it."""
        self.part(before or session, applicant)

    def part(self, session: Session, connection: Guest) -> None:
        """A connection has ended: its session waits for the next one, or is over."""
        if self._roster.part(session, connection) and session.stored:
            self._intake.leave_session(session.key.device, session.key.client_id, session.expiry_s)

    def _count_refusal(self, key: DeviceKey, connect: Connect, applicant: Applicant, reason: Reason) -> None:
        """Tell quarantine and the device's history of a refused login. The peer is not kept waiting for it."""
        now_us = time.time_ns() // 1000
        login = RawMessage(key.tenant_id, key.device_id, "connect", b"", now_us, self._source, refused=reason)
        future = asyncio.ensure_future(self._intake.submit([login]))
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._intake.connection_event(
            key,
            ConnectionEvent.REFUSED,
            protocol=applicant.protocol,
            address=applicant.address,
            client_id=connect.client_id,
            detail=str(reason),
        )
