"""INFORM: ask a receiver to take an alert, and understand what it says."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from pulse_core.api import PermanentFailure, PulseError, TemporaryFailure
from pulse_snmp import ber, usm
from pulse_snmp.engine import Engine

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

AnswerT = TypeVar("AnswerT")

_V2C = 1
_REPORTS = (1, 3, 6, 1, 6, 3, 15, 1, 1)  # RFC 3414, usmStats
_LEVEL, _TIME_WINDOW, _USER, _ENGINE, _DIGEST, _DECRYPTION = range(1, 7)
_REFUSALS = {
    _LEVEL: "the receiver does not give the user this level of security: auth_protocol or priv_protocol differ",
    _USER: "the receiver does not know the user",
    _DIGEST: "the receiver says the authentication is wrong: auth_password or auth_protocol differ from its own",
    _DECRYPTION: "the receiver cannot decrypt: priv_password or priv_protocol differ from its own",
}
_STATUSES = {1: "tooBig", 2: "noSuchName", 3: "badValue", 5: "genErr", 6: "noAccess", 13: "resourceUnavailable"}
_STATUSES |= {16: "authorizationError", 14: "commitFailed", 17: "notWritable", 18: "inconsistentName"}
_FOR_NOW = {5, 13}


class _Peer(Struct, frozen=True):
    """The receiver's engine as it was at ``at_s`` of our steady clock."""

    engine: Engine
    at_s: float

    def now(self) -> Engine:
        past_s = int(time.monotonic() - self.at_s)
        return Engine(self.engine.engine_id, self.engine.boots, self.engine.time_s + past_s)


class PlainInformer:
    """INFORMs of version 2c. A receiver that does not like the community says nothing at all."""

    def __init__(self, community: bytes) -> None:
        self._community = community

    async def inform(self, sock: socket.socket, pdu: bytes, request_id: int, heard: asyncio.Event) -> None:  # noqa: ARG002 - see SecureInformer
        """Send and return when the answer has come."""
        packet = v2c_message(self._community, pdu)
        status = await _ask(sock, packet, lambda data: _plain_status(data, request_id))
        _judge(status)


class SecureInformer:
    """INFORMs of version 3. It knows the receiver's engine from one INFORM to the next."""

    def __init__(self, user: usm.User, own_engine_id: bytes) -> None:
        self._user = user
        self._own_engine_id = own_engine_id
        self._peers: dict[object, _Peer] = {}

    async def inform(self, sock: socket.socket, pdu: bytes, request_id: int, heard: asyncio.Event) -> None:
        """Find out who is there, send, and return when an authentic answer has come.

        :param heard: set once the receiver has said anything: whoever then stays silent does not like what we send.
        :raises PermanentFailure: the receiver refuses the user, the password or the protocol.
        :raises TemporaryFailure: it does not get over its time window or its engine id.
        """
        address = sock.getpeername()
        try:
            if (peer := self._peers.get(address)) is None:
                peer = await self._discovered(sock)
                heard.set()
            self._peers = {address: await self._informed(sock, peer, pdu, request_id)}
        except BaseException:
            self._peers.pop(address, None)  # who stays silent may be another engine by now
            raise

    async def _informed(self, sock: socket.socket, peer: _Peer, pdu: bytes, request_id: int) -> _Peer:
        scoped = usm.in_context(self._own_engine_id, pdu)
        for _ in range(3):  # an engine id that is new, a time that is new, and the answer
            answer = await self._answered(sock, scoped, peer.now(), request_id)
            if answer.tag == usm.RESPONSE:
                _judge(answer.error_status)
                return peer
            peer = self._corrected(answer)
        raise TemporaryFailure("the receiver changes its engine id or its time with every message")

    async def _discovered(self, sock: socket.socket) -> _Peer:
        msg_id = usm.new_msg_id()

        def accept(data: bytes) -> _Peer | None:
            answer = self._user.unseal(data)
            if answer.msg_id != msg_id or answer.tag != usm.REPORT or not answer.engine.engine_id:
                return None
            return _Peer(answer.engine, time.monotonic())

        return await _ask(sock, usm.discovery(msg_id), accept)

    async def _answered(self, sock: socket.socket, scoped: bytes, engine: Engine, request_id: int) -> usm.Answer:
        msg_id = usm.new_msg_id()

        def accept(data: bytes) -> usm.Answer | None:
            answer = self._user.unseal(data)
            if answer.msg_id != msg_id:
                return None
            if answer.tag == usm.REPORT:
                proven = answer.level or not self._user.level
                return answer if proven or _about(answer) != _TIME_WINDOW else None
            return answer if answer.request_id == request_id and answer.level == self._user.level else None

        return await _ask(sock, self._user.seal(scoped, engine, msg_id, reportable=True), accept)

    def _corrected(self, report: usm.Answer) -> _Peer:
        """Return what a report teaches us about the receiver, or raise what it accuses us of."""
        about = _about(report)
        if about in _REFUSALS:
            raise PermanentFailure(_REFUSALS[about])
        if about not in (_TIME_WINDOW, _ENGINE):
            raise PermanentFailure(f"the receiver reports {'.'.join(map(str, report.first_oid))}")
        return _Peer(report.engine, time.monotonic())


def _about(report: usm.Answer) -> int:
    """Return which of usmStats a report is about; 0 for something else."""
    numbers = report.first_oid[len(_REPORTS) :]
    return numbers[0] if numbers and report.first_oid[: len(_REPORTS)] == _REPORTS else 0


def v2c_message(community: bytes, pdu: bytes) -> bytes:
    """Put a PDU into a message of version 2c (RFC 1901)."""
    return ber.tlv(ber.SEQUENCE, ber.integer(_V2C), ber.octets(community), pdu)


def _plain_status(data: bytes, request_id: int) -> int | None:
    message = ber.Reader(data).sequence()
    if message.integer() != _V2C:
        return None
    message.octets()
    pdu = message.sequence(usm.RESPONSE)
    return pdu.integer() if pdu.integer() == request_id else None


def _judge(status: int) -> None:
    if status == 0:
        return
    told = f"the receiver answers with the error {_STATUSES.get(status, 'no')} ({status})"
    failure: type[PulseError] = TemporaryFailure if status in _FOR_NOW else PermanentFailure
    raise failure(told)


async def _ask(sock: socket.socket, packet: bytes, accept: Callable[[bytes], AnswerT | None]) -> AnswerT:
    """Send, and return the first answer that is accepted. Others are nobody's business (RFC 3412 section 7.2)."""
    sock.send(packet)
    loop = asyncio.get_running_loop()
    while True:
        data = await loop.sock_recv(sock, 65535)
        try:
            answer = accept(data)
        except ber.Malformed:
            continue
        if answer is not None:
            return answer
