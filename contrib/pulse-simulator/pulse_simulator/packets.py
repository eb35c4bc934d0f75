"""The few MQTT 3.1.1 packets that a device needs which publishes and obeys (OASIS MQTT 3.1.1, sections 2 and 3)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio

PUBLISH, CONNACK, PUBACK, PINGRESP, SUBSCRIBE = 0x30, 0x20, 0x40, 0xD0, 0x82
PINGREQ = b"\xc0\x00"
DISCONNECT = b"\xe0\x00"
_DUP = 0x08
_QOS1 = 0x02
_LONGEST = 0x7F


class ProtocolError(ConnectionError):
    """The peer sent what MQTT 3.1.1 does not allow, or what we never asked for."""


def _text(value: str) -> bytes:
    raw = value.encode()
    return struct.pack("!H", len(raw)) + raw


def _packet(first: int, body: bytes) -> bytes:
    length = len(body)
    head = bytearray([first])
    while True:
        head.append(length & _LONGEST | (0x80 if length > _LONGEST else 0))
        length >>= 7
        if not length:
            return bytes(head) + body


def connect(client_id: str, username: str, password: str, *, keep_alive_s: int, clean: bool = True) -> bytes:
    """CONNECT (3.1) with a user name and a password."""
    flags = 0xC0 | (0x02 if clean else 0)
    head = _text("MQTT") + bytes([4, flags]) + struct.pack("!H", keep_alive_s)
    return _packet(0x10, head + _text(client_id) + _text(username) + _text(password))


def publish(topic: str, payload: bytes, packet_id: int, *, again: bool = False) -> bytes:
    """PUBLISH with QoS 1 (3.3); ``again`` sets DUP on what was sent before."""
    first = PUBLISH | _QOS1 | (_DUP if again else 0)
    return _packet(first, _text(topic) + struct.pack("!H", packet_id) + payload)


def subscribe(topic_filter: str, packet_id: int) -> bytes:
    """SUBSCRIBE to one filter with QoS 1 (3.8)."""
    return _packet(SUBSCRIBE, struct.pack("!H", packet_id) + _text(topic_filter) + b"\x01")


def puback(packet_id: int) -> bytes:
    """PUBACK (3.4)."""
    return _packet(PUBACK, struct.pack("!H", packet_id))


def received(first: int, body: bytes) -> tuple[str, int, bytes]:
    """Read the body of a PUBLISH: topic, packet id (0 with QoS 0), payload."""
    (length,) = struct.unpack_from("!H", body)
    topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
    if not first & _QOS1:
        return topic, 0, rest
    return topic, struct.unpack_from("!H", rest)[0], rest[2:]


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one packet: its first byte and its body. Raises ``EOFError`` at the end of the stream."""
    first = (await reader.readexactly(1))[0]
    length, shift = 0, 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & _LONGEST) << shift
        if byte <= _LONGEST:
            return first, await reader.readexactly(length)
        shift += 7
        if shift > 3 * 7:
            raise ProtocolError("remaining length of more than four bytes")
