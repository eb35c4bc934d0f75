"""What both versions of MQTT share on the wire: the fixed header, the types of data, the rules for topics.

Everything works on one ``bytes`` of received data and positions in it, so that a chunk with many packets is read
without copying anything but topics and payloads. Strict: whatever the standards forbid is an error. Sections are those
of the OASIS standard "MQTT Version 5.0"; where MQTT 3.1.1 differs, its codec says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_mqtt.codes import Code

if TYPE_CHECKING:
    from collections.abc import Sized

CONNECT = 0x10
PUBACK = 0x40
PUBREC = 0x50
PUBREL = 0x62
PUBCOMP = 0x70
SUBSCRIBE = 0x82
UNSUBSCRIBE = 0xA2
PINGREQ = 0xC0
DISCONNECT = 0xE0
AUTH = 0xF0
"""First bytes of packets: type and the flags that 2.1.3 demands."""

PINGRESP = b"\xd0\x00"
PUBACK_HEAD = b"\x40\x02"
PUBREC_HEAD = b"\x50\x02"
PUBCOMP_HEAD = b"\x70\x02"
"""What stands before the packet id, when nothing else follows."""

MAX_QOS = 2
MOST_FILTERS = 256
"""In one SUBSCRIBE or UNSUBSCRIBE: more than any session holds, and read in no time that others would notice."""
MAX_REMAINING = 268_435_455
_OF_DEVICES = {one >> 4 for one in (PUBACK, PUBREC, PUBREL, PUBCOMP, SUBSCRIBE, UNSUBSCRIBE, PINGREQ, DISCONNECT)}
_OF_A_WILL = 0x38
_LENGTH_SHIFTS = 21
_PACKET_ID = 2


class ConnectFlag:
    """Bits of the connect flags (3.1.2.3)."""

    CLEAN = 0x02
    WILL = 0x04
    WILL_RETAIN = 0x20
    PASSWORD = 0x40
    USERNAME = 0x80


class PacketError(Exception):
    """The peer broke the protocol: there is nothing left but to close. ``code`` says why, in MQTT 5's terms."""

    def __init__(self, message: str, code: Code = Code.MALFORMED_PACKET) -> None:
        super().__init__(message)
        self.code = code


class UnsupportedProtocolError(PacketError):
    """A CONNECT of another protocol or version (3.1.2.1, 3.1.2.2)."""

    def __init__(self, message: str) -> None:
        super().__init__(message, Code.UNSUPPORTED_PROTOCOL_VERSION)


def read_header(data: bytes, pos: int, limit: int, padded: bool = False) -> tuple[int, int, int] | None:
    """Read the fixed header at ``pos``: the first byte, where the body starts, and where it ends.

    The end may lie beyond ``data``; None while the header itself is incomplete. ``padded``: a length may be longer
    written than need be, as in MQTT 3.1.1, which does not say otherwise.

    :raises PacketError: for a remaining length of over four bytes, over ``limit``, or longer written than need be
        (1.5.5).
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
        if not digit and not padded:
            raise PacketError("a remaining length that could be shorter")
    if length > limit:
        raise PacketError(f"a packet of {length} bytes, where {limit} are allowed", Code.PACKET_TOO_LARGE)
    return data[pos], body, body + length


def code_of(first: int) -> Code:
    """Why a packet is refused by its first byte: its flags are wrong (2.1.3), or it is no device's to send."""
    malformed = not first >> 4 or first >> 4 in _OF_DEVICES
    return Code.MALFORMED_PACKET if malformed else Code.PROTOCOL_ERROR


def check_connect_flags(flags: int) -> None:
    """3.1.2.3 to 3.1.2.7: what holds for both versions."""
    if flags & 0x01:
        raise PacketError("the reserved flag of CONNECT is set")
    if flags >> 3 & 3 > MAX_QOS or (not flags & ConnectFlag.WILL and flags & _OF_A_WILL):
        raise PacketError("will flags that contradict each other")


def remaining_length(length: int) -> bytes:
    """Write a remaining length, or any variable byte integer (1.5.5): 7 bits a byte, lowest first."""
    digits = bytearray()
    while True:
        length, digit = length >> 7, length & 127
        digits.append(digit | 128 if length else digit)
        if not length:
            return bytes(digits)


def packet(first: int, body: bytes) -> bytes:
    """Write a whole packet."""
    return bytes((first,)) + remaining_length(len(body)) + body


def with_length(raw: bytes) -> bytes:
    """Write a string or binary data (1.5.4, 1.5.6)."""
    return len(raw).to_bytes(2, "big") + raw


def text(raw: bytes) -> str:
    """1.5.4: UTF-8 without surrogates (Python's decoder refuses them) and without U+0000."""
    try:
        found = raw.decode()
    except UnicodeDecodeError as error:
        raise PacketError("a string that is not UTF-8") from error
    if "\0" in found:
        raise PacketError("a string with U+0000")
    return found


def topic_name(raw: bytes) -> str:
    """Check a topic that is published to (4.7): UTF-8, not empty, no wildcard."""
    topic = text(raw)
    if not topic or "+" in topic or "#" in topic:
        raise PacketError("a topic name that is empty or has a wildcard", Code.TOPIC_NAME_INVALID)
    return topic


def topic_filter(found: str) -> str:
    """4.7.1: ``#`` stands alone at the end, ``+`` fills its level."""
    levels = found.split("/")
    wrong = any(level not in ("+", "#") and ("+" in level or "#" in level) for level in levels)
    if not found or wrong or "#" in levels[:-1]:
        raise PacketError("not a topic filter", Code.TOPIC_FILTER_INVALID)
    return found


def check_count(filters: Sized) -> None:
    """See that there are some topic filters, and not more than :data:`MOST_FILTERS`."""
    if not filters:
        raise PacketError("no topic filter", Code.PROTOCOL_ERROR)
    if len(filters) > MOST_FILTERS:
        raise PacketError(f"more than {MOST_FILTERS} topic filters at once", Code.QUOTA_EXCEEDED)


def packet_id(raw: bytes) -> bytes:
    """Check a packet id (2.2.1): two bytes, not zero."""
    if len(raw) != _PACKET_ID:
        raise PacketError("a packet that ends too early")
    if raw == b"\0\0":
        raise PacketError("packet id 0", Code.PROTOCOL_ERROR)
    return raw


class Fields:
    """The fields of a packet's body, one after the other."""

    __slots__ = ("_body", "_pos")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._pos = 0

    @property
    def more(self) -> bool:
        """Whether anything is left."""
        return self._pos < len(self._body)

    def take(self, count: int) -> bytes:
        """So many bytes."""
        end = self._pos + count
        if end > len(self._body):
            raise PacketError("a packet that ends too early")
        part = self._body[self._pos : end]
        self._pos = end
        return part

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self._body) - self._pos)

    def byte(self) -> int:
        """One byte."""
        return self.take(1)[0]

    def number(self) -> int:
        """A two byte integer."""
        return int.from_bytes(self.take(2), "big")

    def long(self) -> int:
        """A four byte integer."""
        return int.from_bytes(self.take(4), "big")

    def length(self) -> int:
        """A variable byte integer (1.5.5)."""
        value = shift = 0
        while True:
            digit = self.byte()
            value |= (digit & 127) << shift
            if digit < 128:  # noqa: PLR2004 - the continuation bit
                break
            shift += 7
            if shift > _LENGTH_SHIFTS:
                raise PacketError("a variable byte integer of more than four bytes")
        if shift and not digit:
            raise PacketError("a variable byte integer that could be shorter")
        return value

    def binary(self) -> bytes:
        """Binary data, its length before it."""
        return self.take(self.number())

    def text(self) -> str:
        """A string."""
        return text(self.binary())

    def finish(self) -> None:
        """Nothing may be left."""
        if self.more:
            raise PacketError("a packet with bytes to spare")
