"""Mail servers, MQTT brokers and SNMP managers that refuse, break off or fall silent, and how they are reached."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.fake_broker import PUBLISH, fake_broker
from support.mail_script import mail_script
from support.mail_server import mail_server
from support.snmp_receiver import AUTH_PASSWORD, COMMUNITY, PRIV_PASSWORD, USER, snmp_receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager

    from pulse_core.testing.receivers import Mood
    from support.faults import Bench

    Peers = Callable[[Bench], AbstractAsyncContextManager["Known"]]

PASSWORD = "p4ssword-of-the-account"


@dataclass
class Known:
    """A peer: how to reach it, and what it has got."""

    fields: dict[str, Any]
    received: Callable[[], int] = int

    @property
    def heard(self) -> int:
        return self.received()


def mail_fields(port: int, **fields: Any) -> dict[str, Any]:
    usual = {"host": "mail.example", "port": port, "tls": "none", "from_address": "alerts@pulse.example"}
    return {**usual, "to": ["ops@pulse.example"], "user": "pulse", "password": PASSWORD, **fields}


def mqtt_fields(port: int, **fields: Any) -> dict[str, Any]:
    return {"url": f"mqtt://broker.example:{port}", "user": "pulse", "password": PASSWORD, **fields}


def snmp_fields(port: int, **fields: Any) -> dict[str, Any]:
    usual = {"host": "127.0.0.1", "port": port, "notification": "inform", "timeout_s": 1}
    return {**usual, "community": COMMUNITY, **fields}


def trap_fields(port: int) -> dict[str, Any]:
    return snmp_fields(port, notification="trap")


def secure_fields(port: int, **fields: Any) -> dict[str, Any]:
    keys = {"auth_password": AUTH_PASSWORD, "priv_password": PRIV_PASSWORD}
    ways = {"auth_protocol": "SHA-256", "priv_protocol": "AES-128"}
    return snmp_fields(port, **{"version": "3", "user": USER, "community": None, **ways, **keys, **fields})


def gone(fields_of: Callable[[int], dict[str, Any]], kind: socket.SocketKind = socket.SOCK_STREAM) -> Peers:
    """A port that is taken, where nobody listens."""

    @asynccontextmanager
    async def running(bench: Bench) -> AsyncIterator[Known]:
        with socket.socket(type=kind) as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
            if kind == socket.SOCK_DGRAM:
                held.close()  # one that is only bound would take datagrams
            yield Known(fields_of(port))

    return running


def mail(*, tls: str = "none", **answers: str) -> Peers:
    """A mail server that follows a script."""

    @asynccontextmanager
    async def running(bench: Bench) -> AsyncIterator[Known]:
        async with mail_script(**answers) as script:
            yield Known(mail_fields(script.port, tls=tls), lambda: len(script.contents))
            if tls != "none":
                assert not [line for line in script.heard if line.startswith(("AUTH", "MAIL"))], "said in the clear"

    return running


def mail_over_tls(name: str, tls: str, valid_days: int = 1) -> Peers:
    """A mail server with a certificate."""

    @asynccontextmanager
    async def running(bench: Bench) -> AsyncIterator[Known]:
        context = bench.authority.server(name, valid_days=valid_days)
        async with mail_server(tls=context, implicit=tls == "implicit") as server:
            yield Known(mail_fields(server.port, tls=tls), lambda: len(server.mails))

    return running


def mqtt(*, fields: dict[str, Any] | None = None, mood: Mood = "ok", **manners: int | None) -> Peers:
    """A broker with a manner: see :class:`FakeBroker`."""

    @asynccontextmanager
    async def running(bench: Bench) -> AsyncIterator[Known]:
        async with fake_broker() as broker:
            broker.mood = mood
            for name, value in manners.items():
                setattr(broker, name, value)
            yield Known(mqtt_fields(broker.port, **(fields or {})), lambda: broker.heard.count(PUBLISH))

    return running


def mqtt_over_tls(name: str, valid_days: int = 1) -> Peers:
    """A broker with a certificate."""

    @asynccontextmanager
    async def running(bench: Bench) -> AsyncIterator[Known]:
        async with fake_broker(bench.authority.server(name, valid_days=valid_days)) as broker:
            url = f"mqtts://broker.example:{broker.port}"
            yield Known(mqtt_fields(broker.port, url=url), lambda: len(broker.logins))

    return running


def snmp(mood: Mood = "ok", fields_of: Callable[..., dict[str, Any]] = snmp_fields, **fields: Any) -> Peers:
    """A receiver that knows another community, but the users of version 3."""

    @asynccontextmanager
    async def running(bench: Bench) -> AsyncIterator[Known]:
        async with snmp_receiver() as receiver:
            receiver.mood = mood
            yield Known(fields_of(receiver.port, **fields), lambda: len(receiver.received))

    return running


def mute(fields_of: Callable[..., dict[str, Any]] = snmp_fields, **fields: Any) -> Peers:
    """A port that takes datagrams and never says anything."""

    @asynccontextmanager
    async def running(bench: Bench) -> AsyncIterator[Known]:
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(("127.0.0.1", 0))
            yield Known(fields_of(sock.getsockname()[1], **fields), lambda: told(sock))

    return running


def told(sock: socket.socket) -> int:
    """How many datagrams have come that tell of the device."""
    count = 0
    with suppress(BlockingIOError):
        while data := sock.recv(65535):
            count += b"device-1" in data
    return count
