"""Receivers that cost next to nothing, in a process of their own: webhooks, mails, notifications, a broker's reader.

``python -m support.sinks SPEC.json`` with ``tests`` on PYTHONPATH; SPEC is a :class:`SinkSpec`. It prints its ports as
one line of JSON. With ``notes``, what arrives is written there: ``at_us key`` a line, where the key is the delivery id,
or ``alert_id/event`` of an SNMP notification, which holds no delivery id.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import paho.mqtt.client as paho
import uvloop
from paho.mqtt.enums import CallbackAPIVersion

from pulse_snmp import ber
from pulse_snmp.alert import INFORM, TRAP

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGE = 16 * 1024 * 1024
_NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"
_MAIL_ID = re.compile(rb"Message-ID: <d\.([^@>]+)@")
_RESPONSE = 0xA2


class SinkSpec(msgspec.Struct, frozen=True):
    """What to run. ``silent``: the first so many ports take everything and answer nothing. ``forget``: every so-manieth
    notification is answered and not noted. ``delay_s``: from the note to the answer.
    """

    kind: Literal["webhook", "email", "snmp", "mqtt"]
    ports: int = 1
    silent: int = 0
    notes: str | None = None
    forget: int = 0
    delay_s: float = 0.0
    broker_port: int = 0


class Notes:
    """Counts, and writes down, what arrived; every line is with the operating system before it is answered."""

    def __init__(self, spec: SinkSpec) -> None:
        self.count = 0
        self.wanted = spec.notes is not None
        self._forget = spec.forget
        self._delay_s = spec.delay_s
        self._kept_waiting: set[asyncio.Transport] = set()
        self._file = os.open(spec.notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND) if spec.notes else -1

    def add(self, key: bytes) -> None:
        self.count += 1
        if self.wanted and (not self._forget or self.count % self._forget):
            os.write(self._file, b"%d %b\n" % (time.time_ns() // 1000, key))

    def keep_waiting(self, transport: asyncio.Transport) -> None:
        """Remember whom nobody answers."""
        self._kept_waiting.add(transport)

    def drop(self) -> None:
        """Cut off all who are kept waiting."""
        while self._kept_waiting:
            self._kept_waiting.pop().abort()

    def answer(self, send: Callable[..., object], *answer: Any) -> None:
        """Send the answer to what was noted last, at once or a little later."""
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, send, *answer)
        else:
            send(*answer)


class Webhooks(asyncio.Protocol):
    """HTTP/1.1, one request after the other; every answer is 204."""

    def __init__(self, notes: Notes, silent: bool) -> None:
        self._notes = notes
        self._silent = silent
        self._buffer = b""

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower() + b"\r"
            size = int(_header(head, b"content-length"))
            if len(self._buffer) < end + 4 + size:
                return
            self._buffer = self._buffer[end + 4 + size :]
            self._notes.add(_header(head, b"webhook-id"))
            if self._silent:
                self._notes.keep_waiting(self._transport)
            else:
                self._notes.answer(self._transport.write, _NO_CONTENT)


def _header(head: bytes, name: bytes) -> bytes:
    return head.partition(b"\n" + name + b":")[2].partition(b"\r")[0].strip()


class Mails(asyncio.Protocol):
    """SMTP as far as a client needs it that sends one command at a time."""

    def __init__(self, notes: Notes, silent: bool) -> None:
        self._notes = notes
        self._silent = silent
        self._buffer = b""
        self._content = False

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        if not self._silent:
            transport.write(b"220 sink ESMTP\r\n")

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while self._taken(b"\r\n.\r\n" if self._content else b"\r\n"):
            pass

    def _taken(self, end: bytes) -> bool:
        text, found, rest = self._buffer.partition(end)
        if found:
            self._buffer = rest
            if self._content:
                self._mail(text)
            else:
                self._transport.write(self._command(text.upper()))
        return bool(found)

    def _mail(self, content: bytes) -> None:
        match = _MAIL_ID.search(content)
        self._notes.add(match[1] if match else b"?")
        self._content = False
        self._notes.answer(self._transport.write, b"250 taken\r\n")

    def _command(self, command: bytes) -> bytes:
        if command.startswith(b"EHLO"):
            return b"250-sink\r\n250 SIZE 10000000\r\n"
        self._content = command == b"DATA"
        return b"354 go on\r\n" if self._content else b"250 fine\r\n"


class Traps(asyncio.DatagramProtocol):
    """Version 2c is read where notes are wanted, and its INFORMs are answered; anything else is only counted."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        if not self._notes.wanted:
            self._notes.add(b"")
            return
        message = ber.Reader(data).sequence()
        version, community = message.integer(), message.octets()
        tag, content = message.element(INFORM, TRAP)
        self._notes.add(_told(content))
        if tag == INFORM:
            parts = (ber.integer(version), ber.octets(community), ber.tlv(_RESPONSE, content))
            self._notes.answer(self._transport.sendto, ber.tlv(ber.SEQUENCE, *parts), addr)


def _told(pdu: bytes) -> bytes:
    """Return ``alert_id/event`` of a notification's variables."""
    reader = ber.Reader(pdu)
    reader.integer(), reader.integer(), reader.integer()
    variables, texts = reader.sequence(), {}
    while variables.left:
        variable = variables.sequence()
        arcs = variable.oid()
        texts[arcs[-2]] = variable.element(ber.OCTETS, ber.INTEGER, ber.OID, ber.TIME_TICKS)[1]
    return texts[1] + b"/" + texts[7]


def _reader(notes: Notes, port: int) -> paho.Client:
    """A subscriber to everything, in a session that the broker keeps while it is away."""
    reader = paho.Client(CallbackAPIVersion.VERSION2, client_id="sink", clean_session=False)
    reader.on_connect = lambda client, *_: client.subscribe("#", qos=1)
    reader.on_message = lambda _c, _u, message: notes.add(json.loads(message.payload)["delivery_id"].encode())
    reader.connect("127.0.0.1", port)
    reader.loop_start()
    return reader


async def serve(spec: SinkSpec) -> None:
    """Receive until killed."""
    notes, loop, ports = Notes(spec), asyncio.get_running_loop(), []
    if spec.kind == "mqtt":
        _reader(notes, spec.broker_port)
    for number in range(spec.ports if spec.kind != "mqtt" else 0):
        if spec.kind == "snmp":
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LARGE)
            sock.bind(("127.0.0.1", 0))
            await loop.create_datagram_endpoint(lambda: Traps(notes), sock=sock)
        else:
            kind = Webhooks if spec.kind == "webhook" else Mails
            sock = socket.create_server(("127.0.0.1", 0), backlog=1000)
            silent = number < spec.silent
            await loop.create_server(lambda kind=kind, silent=silent: kind(notes, silent), sock=sock)  # type: ignore[misc]
        ports.append(sock.getsockname()[1])
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    while asked := await asyncio.to_thread(sys.stdin.readline):
        if asked == "drop\n":
            notes.drop()
        sys.stdout.write(f"{notes.count}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    uvloop.run(serve(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=SinkSpec)))
