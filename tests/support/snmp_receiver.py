"""An SNMP receiver made of pysnmp's own engine: the other side of the channel, which shares no code of ours with it."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pysnmp.carrier.asyncio.dgram import udp, udp6
from pysnmp.entity import config
from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413 import ntfrcv
from pysnmp.proto import rfc3411
from pysnmp.proto.api import v2c

from pulse_core.testing.receivers import Mood, Received
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

COMMUNITY = "c0mmunity-of-tests"
USER, AUTH_PASSWORD, PRIV_PASSWORD = "pulse", "auth-pass-of-tests", "priv-pass-of-tests"
ENGINE_ID = "8001869f0501020304050607"
"""The sender's engine id, which a receiver of v3 traps has to know."""

AUTH = {
    "none": config.USM_AUTH_NONE,
    "MD5": config.USM_AUTH_HMAC96_MD5,
    "SHA": config.USM_AUTH_HMAC96_SHA,
    "SHA-224": config.USM_AUTH_HMAC128_SHA224,
    "SHA-256": config.USM_AUTH_HMAC192_SHA256,
    "SHA-384": config.USM_AUTH_HMAC256_SHA384,
    "SHA-512": config.USM_AUTH_HMAC384_SHA512,
}
PRIV = {
    "none": config.USM_PRIV_NONE,
    "DES": config.USM_PRIV_CBC56_DES,
    "AES-128": config.USM_PRIV_CFB128_AES,
    "AES-192": config.USM_PRIV_CFB192_AES_BLUMENTHAL,
    "AES-256": config.USM_PRIV_CFB256_AES_BLUMENTHAL,
    "AES-192-C": config.USM_PRIV_CFB192_AES,
    "AES-256-C": config.USM_PRIV_CFB256_AES,
}
_STATUS = {"ok": 0, "temporary": 5, "permanent": 16}  # genErr, authorizationError


class SnmpReceiver:
    """Records every notification as JSON ``[[oid, type, value], …]``; answers INFORMs as its mood says."""

    def __init__(self, auth: str = "SHA-256", priv: str = "AES-128", *, host: str = "127.0.0.1") -> None:
        self.mood: Mood = "ok"
        self.received: list[Received] = []
        self.host = host
        self._engine = SnmpEngine()
        self._transport = udp6.Udp6AsyncioTransport() if ":" in host else udp.UdpAsyncioTransport()
        for engine_id in (None, v2c.OctetString(hexValue=ENGINE_ID)):
            keys = [AUTH_PASSWORD if auth != "none" else None, PRIV_PASSWORD if priv != "none" else None]
            config.add_v3_user(self._engine, USER, AUTH[auth], keys[0], PRIV[priv], keys[1], securityEngineId=engine_id)
        config.add_v1_system(self._engine, "tests", COMMUNITY)
        _Taking(self._engine, self)

    async def start(self) -> None:
        domain = udp6.DOMAIN_NAME if ":" in self.host else udp.DOMAIN_NAME
        sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.bind((self.host, 0))
        self.port = sock.getsockname()[1]
        self._transport.open_server_mode(sock=sock)
        config.add_transport(self._engine, domain, self._transport)
        await until(lambda: self._transport.transport is not None, what="the receiver's socket")

    async def stop(self) -> None:
        self._engine.close_dispatcher()
        for _ in range(3):  # the transport and the timer end in the loop's next turns
            await asyncio.sleep(0)


class _Taking(ntfrcv.NotificationReceiver):  # type: ignore[misc]
    def __init__(self, engine: SnmpEngine, receiver: SnmpReceiver) -> None:
        super().__init__(engine, lambda *_: None)
        self._receiver = receiver

    def process_pdu(self, engine: Any, *message: Any) -> None:
        *address, pdu, max_size, reference = message
        variables = [
            [str(oid), type(value).__name__, value.asOctets().decode() if hasattr(value, "asOctets") else str(value)]
            for oid, value in v2c.apiPDU.get_varbinds(pdu)
        ]
        self._receiver.received.append(Received(body=json.dumps(variables).encode()))
        if pdu.tagSet in rfc3411.CONFIRMED_CLASS_PDUS and self._receiver.mood != "silent":
            response = v2c.apiPDU.get_response(pdu)
            v2c.apiPDU.set_error_status(response, _STATUS[self._receiver.mood])
            v2c.apiPDU.set_varbinds(response, v2c.apiPDU.get_varbinds(pdu))
            engine.message_dispatcher.return_response_pdu(engine, *address, response, max_size, reference, {})


@asynccontextmanager
async def snmp_receiver(
    auth: str = "SHA-256", priv: str = "AES-128", host: str = "127.0.0.1"
) -> AsyncIterator[SnmpReceiver]:
    """Run an :class:`SnmpReceiver`."""
    receiver = SnmpReceiver(auth, priv, host=host)
    await receiver.start()
    try:
        yield receiver
    finally:
        await receiver.stop()
