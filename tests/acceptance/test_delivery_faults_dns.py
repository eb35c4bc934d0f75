"""A name whose address changes between look-ups: each attempt is judged anew, and goes where its look-up said."""

from __future__ import annotations

import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.schedule import Schedule
from pulse_core.testing.channels import LOOPBACK
from support.delivering import running
from support.faults import DEAD, RETRYING, Bench, now_us, webhook
from support.outbox import make
from support.rude_http import RudePeer, answers
from support.rude_peers import mail, mail_fields, mqtt, mqtt_fields, mute, snmp_fields

if TYPE_CHECKING:
    from collections.abc import Iterator

ALLOWED, PRIVATE = "127.0.0.1", "127.0.0.2"
SOON = Schedule(waits_s=(0.2,), every_s=3600)


class Rebinding:
    """Answers the first question with an address that may be called, and all later ones with another."""

    def __init__(self) -> None:
        self.asked = 0

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked += 1
        return [ALLOWED] if self.asked == 1 else [PRIVATE]


class Trap:
    """Listens at the private address, for connections and for datagrams."""

    def __init__(self, port: int) -> None:
        self._sockets = [socket.socket(type=kind) for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM)]
        for sock in self._sockets:
            sock.setblocking(False)
            sock.bind((PRIVATE, port))
        self._sockets[0].listen()

    def caught(self) -> bool:
        tcp, udp = self._sockets
        with suppress(BlockingIOError):
            tcp.accept()[0].close()
            return True
        with suppress(BlockingIOError):
            return bool(udp.recv(65535))
        return False

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


@contextmanager
def trap(port: int) -> Iterator[Trap]:
    made = Trap(port)
    try:
        yield made
    finally:
        made.close()


def of_webhook(port: int) -> dict[str, Any]:
    return webhook(f"http://hooks.example:{port}")


def of_snmp(port: int) -> dict[str, Any]:
    return snmp_fields(port, host="snmp.example")


PEERS = {
    "webhook": (answers("503 Later"), of_webhook),
    "email": (mail(greeting="421 later"), mail_fields),
    "mqtt": (mqtt(greeting=0x88), mqtt_fields),
    "snmp": (mute(), of_snmp),
}


def port_of(peer: Any) -> int:
    """The port at which a peer listens."""
    if isinstance(peer, RudePeer):
        return peer.port
    return int(peer.fields.get("port") or peer.fields["url"].rpartition(":")[2])


@pytest.mark.parametrize("kind", PEERS)
@pytest.mark.parametrize("allow", [(f"{ALLOWED}/32",), LOOPBACK], ids=["refused", "the trap works"])
async def test_a_name_that_changes_between_look_ups(bench: Bench, kind: str, allow: tuple[str, ...]) -> None:
    names = Rebinding()
    bench.trust(names, allow=allow)
    peers, fields_of = PEERS[kind]
    async with peers(bench) as peer:
        with trap(port_of(peer)) as private:
            delivery = make(await bench.integrate(kind, fields_of(port_of(peer))), due_us=now_us())
            async with running(bench.engine(timeout_s=2, schedule=SOON)):
                await bench.outbox.insert([delivery])
                state = await bench.settled(delivery, attempts=2)
            first, second = await bench.outbox.noted(delivery)
            assert first.outcome == "TEMPORARY"
            assert "public" not in first.detail, "the first attempt met the peer"
            assert names.asked == 2, "each attempt looks up once"
            if allow == LOOPBACK:
                assert (state.status, private.caught()) == (RETRYING, True)
            else:
                assert (state.status, second.outcome, private.caught()) == (DEAD, "PERMANENT", False)
                assert "is not, or not only, at a public address" in second.detail
                assert PRIVATE not in bench.written(), "an internal address is nobody's business"
