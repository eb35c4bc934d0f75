"""MQTT 3.1.1 on the wire, as a server reads and writes it. Strict: whatever the standard forbids is an error.

Everything works on one ``bytes`` of received data and positions in it, so that a chunk with many packets is read
without copying anything but topics and payloads. Sections are those of the OASIS standard "MQTT Version 3.1.1".
"""

from __future__ import annotations

from msgspec import Struct

CONNECT = 0x10
PUBACK = 0x40
PUBREC = 0x50
PUBREL = 0x62
PUBCOMP = 0x70
SUBSCRIBE = 0x82
UNSUBSCRIBE = 0xA2
PINGREQ = 0xC0
DISCONNECT = 0xE0
"""First bytes of packets: type and the flags that 2.2.2 demands."""

PINGRESP = b"\xd0\x00"
PUBACK_HEAD = b"\x40\x02"
PUBREC_HEAD = b"\x50\x02"
PUBCOMP_HEAD = b"\x70\x02"
"""What stands before the packet id."""

ACCEPTED = 0
UNACCEPTABLE_PROTOCOL = 1
IDENTIFIER_REJECTED = 2
SERVER_UNAVAILABLE = 3
BAD_CREDENTIALS = 4
NOT_AUTHORIZED = 5
"""CONNACK return codes (3.2.2.3)."""

SUBSCRIPTION_REFUSED = 0x80
MAX_REMAINING = 268_435_455

_MAX_QOS = 2
_LEVEL = 4
_LENGTH_SHIFTS = 21


class PacketError(Exception):
    """The peer broke the protocol: there is nothing left but to close."""


class UnsupportedProtocolError(PacketError):
    """A CONNECT of another protocol or version (3.1.2.1, 3.1.2.2)."""


class Connect(Struct, frozen=True):
    """What a CONNECT says. The will is checked and left out."""

    client_id: str
    clean_session: bool
    keepalive_s: int
    username: str | None
    password: bytes | None


def read_header(data: bytes, pos: int, limit: int) -> tuple[int, int, int] | None:
    """Read the fixed header at ``pos``: the first byte, where the body starts, and where it ends.

    The end may lie beyond ``data``; None while the header itself is incomplete.

    :raises PacketError: for a remaining length of over four bytes or over ``limit`` (2.2.3).
    """
    size = len(data)
    body = pos + 2
    if body > size:
        return None
    length = data[pos + 1]
    if length > 127:  # noqa: PLR2004 - the continuation bit
        length &= 127
        shift = 7
        while True:
            if shift > _LENGTH_SHIFTS:
                raise PacketError("a remaining length of more than four bytes")
            if body >= size:
                return None
            digit = data[body]
            body += 1
            length |= (digit & 127) << shift
            if digit < 128:  # noqa: PLR2004 - the continuation bit
                break
            shift += 7
    if length > limit:
        raise PacketError(f"a packet of {length} bytes, where {limit} are allowed")
    return data[pos], body, body + length


def read_publish(data: bytes, first: int, body: int, end: int) -> tuple[bytes, int, bytes, bytes]:
    """Read a PUBLISH (3.3): topic (not checked yet), QoS, packet id as sent (empty for QoS 0), payload."""
    qos = first >> 1 & 3
    topic_at = body + 2
    if topic_at > end:
        raise PacketError("a PUBLISH without a topic")
    topic_end = topic_at + (data[body] << 8 | data[body + 1])
    payload_at = topic_end + 2 if qos else topic_end
    if payload_at > end:
        raise PacketError("a PUBLISH that ends too early")
    if not qos:
        if first & 8:
            raise PacketError("DUP on a PUBLISH of QoS 0")
        return data[topic_at:topic_end], 0, b"", data[topic_end:end]
    packet_id = data[topic_end:payload_at]
    if qos > _MAX_QOS or packet_id == b"\0\0":
        raise PacketError("a PUBLISH of QoS 3, or with packet id 0")
    return data[topic_at:topic_end], qos, packet_id, data[payload_at:end]


def topic_name(raw: bytes) -> str:
    """Check a topic that is published to (4.7): UTF-8, not empty, no wildcard."""
    topic = _text(raw)
    if not topic or "+" in topic or "#" in topic:
        raise PacketError("a topic name that is empty or has a wildcard")
    return topic


def read_connect(body: bytes) -> Connect:
    """Read the body of a CONNECT (3.1).

    :raises UnsupportedProtocolError: when it is another protocol or version.
    """
    fields = _Fields(body)
    name, level = fields.binary(), fields.byte()
    if name != b"MQTT" or level != _LEVEL:
        raise UnsupportedProtocolError(f"protocol {name[:16]!r} level {level}")
    flags = fields.byte()
    _check_connect_flags(flags)
    keepalive_s = fields.number()
    client_id = fields.text()
    if flags & 0x04:
        topic_name(fields.binary())
        fields.binary()
    username = fields.text() if flags & 0x80 else None
    password = fields.binary() if flags & 0x40 else None
    fields.finish()
    return Connect(client_id, bool(flags & 0x02), keepalive_s, username, password)


def _check_connect_flags(flags: int) -> None:
    """3.1.2.3 to 3.1.2.9."""
    will_qos = flags >> 3 & 3
    if flags & 0x01:
        raise PacketError("the reserved flag of CONNECT is set")
    if will_qos > _MAX_QOS or (not flags & 0x04 and flags & 0x38):
        raise PacketError("will flags that contradict each other")
    if flags & 0x40 and not flags & 0x80:
        raise PacketError("a password without a user name")


def read_packet_id(body: bytes) -> bytes:
    """Read the body of PUBACK, PUBREC, PUBREL or PUBCOMP: a packet id and nothing else."""
    if len(body) != 2 or body == b"\0\0":  # noqa: PLR2004 - a packet id is two bytes
        raise PacketError("an acknowledgement without a packet id of its own")
    return body


def read_subscribe(body: bytes) -> tuple[bytes, list[tuple[str, int]]]:
    """Read the body of a SUBSCRIBE (3.8): packet id, and topic filters with the QoS asked for."""
    fields = _Fields(body)
    packet_id = read_packet_id(fields.take(2))
    filters = []
    while fields.more:
        topic_filter, qos = _topic_filter(fields.text()), fields.byte()
        if qos > _MAX_QOS:
            raise PacketError("a SUBSCRIBE for QoS 3")
        filters.append((topic_filter, qos))
    if not filters:
        raise PacketError("a SUBSCRIBE without a topic filter")
    return packet_id, filters


def read_unsubscribe(body: bytes) -> tuple[bytes, list[str]]:
    """Read the body of an UNSUBSCRIBE (3.10): packet id and topic filters."""
    fields = _Fields(body)
    packet_id = read_packet_id(fields.take(2))
    filters = []
    while fields.more:
        filters.append(_topic_filter(fields.text()))
    if not filters:
        raise PacketError("an UNSUBSCRIBE without a topic filter")
    return packet_id, filters


def connack(code: int) -> bytes:
    """Write a CONNACK (3.2) with session present 0."""
    return bytes((0x20, 2, 0, code))


def suback(packet_id: bytes, codes: list[int]) -> bytes:
    """Write a SUBACK (3.9): one granted QoS, or SUBSCRIPTION_REFUSED, a filter."""
    return b"\x90" + remaining_length(2 + len(codes)) + packet_id + bytes(codes)


def unsuback(packet_id: bytes) -> bytes:
    """Write an UNSUBACK (3.11)."""
    return b"\xb0\x02" + packet_id


def remaining_length(length: int) -> bytes:
    """Write a remaining length (2.2.3): 7 bits a byte, lowest first."""
    digits = bytearray()
    while True:
        length, digit = length >> 7, length & 127
        digits.append(digit | 128 if length else digit)
        if not length:
            return bytes(digits)


def _text(raw: bytes) -> str:
    """1.5.3: UTF-8 without surrogates (Python's decoder refuses them) and without U+0000."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise PacketError("a string that is not UTF-8") from error
    if "\0" in text:
        raise PacketError("a string with U+0000")
    return text


def _topic_filter(text: str) -> str:
    """4.7.1: ``#`` stands alone at the end, ``+`` fills its level."""
    levels = text.split("/")
    wrong = any(level not in ("+", "#") and ("+" in level or "#" in level) for level in levels)
    if not text or wrong or "#" in levels[:-1]:
        raise PacketError("not a topic filter")
    return text


class _Fields:
    """The fields of a packet's body, one after the other."""

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._pos = 0

    @property
    def more(self) -> bool:
        return self._pos < len(self._body)

    def take(self, count: int) -> bytes:
        end = self._pos + count
        if end > len(self._body):
            raise PacketError("a packet that ends too early")
        part = self._body[self._pos : end]
        self._pos = end
        return part

    def byte(self) -> int:
        return self.take(1)[0]

    def number(self) -> int:
        return int.from_bytes(self.take(2), "big")

    def binary(self) -> bytes:
        return self.take(self.number())

    def text(self) -> str:
        return _text(self.binary())

    def finish(self) -> None:
        if self.more:
            raise PacketError("a packet with bytes to spare")
