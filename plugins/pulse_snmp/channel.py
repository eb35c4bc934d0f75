"""Sending: one datagram for a trap; for an INFORM also the answer."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import time
from typing import TYPE_CHECKING

from pulse_core.api import Channel, PermanentFailure, TemporaryFailure
from pulse_snmp import alert, usm
from pulse_snmp.config import SnmpConfig
from pulse_snmp.engine import CLOCK, Engine
from pulse_snmp.informing import PlainInformer, SecureInformer, v2c_message
from pulse_snmp.selfcheck import check_all

if TYPE_CHECKING:
    from pulse_core.api import Notification, PluginConfig, Services

_ADDRESS_LIFE_S = 30.0
_REFUSAL_COMES_WITHIN_S = 0.1
_REFUSAL_IS_AWAITED_EVERY_S = 1.0


class SnmpChannel(Channel[SnmpConfig]):
    """Sends each notification from a socket of its own: what comes back is about this one, and nothing is left over.

    A trap has no answer, but the network may say that nobody listens: now and then a trap waits a moment for that.
    """

    name = "snmp"
    summary = "An SNMP trap or INFORM (v2c, v3) to a network management system"
    integration_type = SnmpConfig

    def __init__(self, integration: SnmpConfig, services: Services, config: PluginConfig) -> None:
        super().__init__(integration, services, config)
        self._prefix = alert.prefix_arcs(integration.oid_prefix)
        self._engine_id = bytes.fromhex(integration.engine_id)
        self._user: usm.User | None = None
        self._informer: PlainInformer | SecureInformer = PlainInformer(self._community)
        self._address: tuple[str, float] | None = None
        self._refusal_awaited_s = -_REFUSAL_IS_AWAITED_EVERY_S

    @classmethod
    def endpoint(cls, integration: SnmpConfig) -> str:
        """Deliveries to one port of one host share a limit."""
        host = integration.host.lower().strip("[]").rstrip(".")
        return f"[{host}]:{integration.port}" if ":" in host else f"{host}:{integration.port}"

    @classmethod
    async def check(cls, config: PluginConfig) -> None:  # noqa: ARG003 - nothing to set
        """See that the protocols of version 3 work on this machine, and that the MIB is there. In a thread."""
        await asyncio.to_thread(check_all)

    async def open(self) -> None:
        """Derive the keys of version 3, in a thread: it takes some 10 ms a password."""
        if self.integration.version == "3":
            self._user = await asyncio.to_thread(usm.User, self.integration)
            self._informer = SecureInformer(self._user, self._engine_id)

    async def send(self, notification: Notification) -> str:
        """Send one trap, or one INFORM and wait for its answer; the receipt says which."""
        where = f"{self.integration.host[:100]} port {self.integration.port}"
        try:
            with await self._socket() as sock:
                return await self._told(sock, notification)
        except OSError as error:
            self._address = None
            raise TemporaryFailure(f"{where}: {_reason(error)}") from error
        except (TemporaryFailure, PermanentFailure) as error:
            self._address = None
            if where in str(error):  # the guard's
                raise
            raise type(error)(f"{where}: {error}") from error

    async def _told(self, sock: socket.socket, notification: Notification) -> str:
        address = sock.getpeername()[0]
        if self.integration.notification == "trap":
            size = await self._trap(sock, notification)
            return f"trap of {size} bytes sent to {address}; a trap has no receipt"
        started_s = time.monotonic()
        await self._inform(sock, notification)
        return f"INFORM answered by {address} in {(time.monotonic() - started_s) * 1000:.0f} ms"

    async def _socket(self) -> socket.socket:
        """Return a socket to the receiver; its name is looked up twice a minute, not for every alert."""
        outbound, port = self.services.outbound, self.integration.port
        if self._address is not None and time.monotonic() < self._address[1]:
            return await outbound.open_datagram_socket(self._address[0], port)
        sock = await outbound.open_datagram_socket(self.integration.host, port)
        self._address = (sock.getpeername()[0], time.monotonic() + _ADDRESS_LIFE_S)
        return sock

    async def _trap(self, sock: socket.socket, notification: Notification) -> int:
        now_s = CLOCK.seconds()
        pdu = alert.alert_pdu(alert.TRAP, notification, self._prefix, now_s)
        if self._user is None:
            packet = v2c_message(self._community, pdu)
        else:
            engine = Engine(self._engine_id, self.integration.engine_boots, now_s)
            scoped = usm.in_context(self._engine_id, pdu)
            packet = self._user.seal(scoped, engine, usm.new_msg_id(), reportable=False)
        sock.send(packet)
        await self._not_refused(sock)
        return len(packet)

    async def _not_refused(self, sock: socket.socket) -> None:
        """Raise ConnectionRefusedError if the network says so: at once, or within the moment now and then spent on it.

        So a receiver that is down is noticed, and a storm of alerts is not slowed down.
        """
        if time.monotonic() - self._refusal_awaited_s < _REFUSAL_IS_AWAITED_EVERY_S:
            if problem := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(problem, os.strerror(problem))
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_REFUSAL_COMES_WITHIN_S):
                await asyncio.get_running_loop().sock_recv(sock, 1)
        self._refusal_awaited_s = time.monotonic()

    async def _inform(self, sock: socket.socket, notification: Notification) -> None:
        pdu = alert.alert_pdu(alert.INFORM, notification, self._prefix, CLOCK.seconds())
        heard = asyncio.Event()
        try:
            async with asyncio.timeout(self.integration.timeout_s):
                await self._informer.inform(sock, pdu, alert.request_id(notification.delivery_id), heard)
        except TimeoutError as error:
            raise TemporaryFailure(self._silence(heard=heard.is_set())) from error

    def _silence(self, *, heard: bool) -> str:
        """What it may mean that no answer came: of some mistakes a receiver says nothing at all."""
        within = f"within {self.integration.timeout_s:g} s"
        if self._user is None:
            return f"no answer {within}: nobody is there, or the community is wrong"
        unwelcome = (
            "the priv_password is wrong" if self.integration.priv_protocol != "none" else "the user is not allowed"
        )
        if heard:
            return f"no answer to the INFORM {within}, although the receiver is there: {unwelcome}, perhaps"
        return f"no answer {within}: nobody is there, or {unwelcome}"

    @property
    def _community(self) -> bytes:
        secret = self.integration.community
        return secret.get_secret_value().encode() if secret is not None else b""


def _reason(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "nobody listens there"
    return os.strerror(error.errno).lower() if error.errno else "it cannot be sent"
