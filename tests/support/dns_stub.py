"""A name service of a few lines: it answers from a table, and counts what it was asked."""

from __future__ import annotations

import asyncio
import struct
from ipaddress import ip_address
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

A, AAAA = 1, 28
NXDOMAIN, SERVFAIL = 3, 2
SILENT = -1


class DnsStub(asyncio.DatagramProtocol):
    """Answers A and AAAA questions (RFC 1035).

    :param table: for a name, its answers in turn (the last one for ever): addresses, or an error code, or SILENT.
    """

    def __init__(self, table: Mapping[str, Sequence[Sequence[str] | int]]) -> None:
        self._table = table
        self.asked: dict[str, int] = {}
        """How often each name was looked up (questions for A)."""
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name, kind, question = _question(data)
        turn = self.asked.get(name, 0)
        answers = self._table.get(name, [NXDOMAIN])
        if kind == A:
            self.asked[name] = turn + 1
        else:
            turn = max(turn - 1, 0)
        answer = answers[min(turn, len(answers) - 1)]
        if answer != SILENT and self._transport is not None:
            self._transport.sendto(_reply(data[:2], question, kind, answer), addr)


def _question(data: bytes) -> tuple[str, int, bytes]:
    labels, at = [], 12
    while length := data[at]:
        labels.append(data[at + 1 : at + 1 + length].decode().lower())
        at += 1 + length
    return ".".join(labels), int.from_bytes(data[at + 1 : at + 3], "big"), data[12 : at + 5]


def _reply(message_id: bytes, question: bytes, kind: int, answer: Sequence[str] | int) -> bytes:
    code = answer if isinstance(answer, int) else 0
    addresses = [] if isinstance(answer, int) else [ip_address(text) for text in answer]
    packed = [one.packed for one in addresses if {4: A, 6: AAAA}[one.version] == kind]
    records = b"".join(b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 0, len(raw)) + raw for raw in packed)
    return message_id + struct.pack(">HHHHH", 0x8180 | code, 1, len(packed), 0, 0) + question + records
