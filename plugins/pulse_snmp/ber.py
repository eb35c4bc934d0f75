"""The Basic Encoding Rules as far as SNMP uses them: definite lengths, tags of one byte (X.690, RFC 3417 section 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

INTEGER = 0x02
OCTETS = 0x04
OID = 0x06
SEQUENCE = 0x30
TIME_TICKS = 0x43

_LONG = 0x80
_MORE = 0x80
_LONGEST_LENGTH_BYTES = 4


class Malformed(ValueError):  # noqa: N818 - a state of a packet, caught where packets are read
    """A packet that is not what it should be."""


def tlv(tag: int, *parts: bytes) -> bytes:
    """Encode one element whose content is ``parts``."""
    content = b"".join(parts)
    size = len(content)
    if size < _LONG:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, _LONG | len(length))) + length + content


def integer(value: int, tag: int = INTEGER) -> bytes:
    """Encode an integer of 0 or more; with another ``tag``, one of SNMP's application types."""
    return tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octets(value: bytes) -> bytes:
    """Encode an OCTET STRING."""
    return tlv(OCTETS, value)


def oid(arcs: Iterable[int]) -> bytes:
    """Encode an OBJECT IDENTIFIER of two arcs at least."""
    first, second, *others = arcs
    return tlv(OID, *(_base128(arc) for arc in (first * 40 + second, *others)))


def _base128(arc: int) -> bytes:
    digits = [arc & 0x7F]
    while arc := arc >> 7:
        digits.append(arc & 0x7F | _MORE)
    return bytes(reversed(digits))


class Reader:
    """Reads the elements of ``data``, one after the other. Every method raises Malformed at the first oddity."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def element(self, *tags: int) -> tuple[int, bytes]:
        """Return the tag (one of ``tags``) and the content of the next element."""
        if self._at + 2 > len(self._data):
            raise Malformed("it ends too early")
        tag, size = self._data[self._at], self._data[self._at + 1]
        start = self._at + 2
        if size & _LONG:
            count = size & ~_LONG
            size = int.from_bytes(self._data[start : start + count], "big")
            start += count
            if not 0 < count <= _LONGEST_LENGTH_BYTES:
                raise Malformed("a length that SNMP does not use")
        if tag not in tags:
            raise Malformed(f"tag {tag:#x} instead of {tags[0]:#x}")
        if start + size > len(self._data):
            raise Malformed("it ends too early")
        self._at = start + size
        return tag, self._data[start : self._at]

    def octets(self) -> bytes:
        """Return an OCTET STRING."""
        return self.element(OCTETS)[1]

    def integer(self) -> int:
        """Return an INTEGER of 32 bits."""
        content = self.element(INTEGER)[1]
        if not 0 < len(content) <= 4:  # noqa: PLR2004 - 32 bits
            raise Malformed("an integer that SNMP does not use")
        return int.from_bytes(content, "big", signed=True)

    def oid(self) -> tuple[int, ...]:
        """Return an OBJECT IDENTIFIER."""
        arcs, arc = [], 0
        content = self.element(OID)[1]
        if not content or content[-1] & _MORE:
            raise Malformed("an object identifier that ends too early")
        for digit in content:
            arc = arc << 7 | digit & 0x7F
            if not digit & _MORE:
                arcs.append(arc)
                arc = 0
        return (min(arcs[0] // 40, 2), arcs[0] - min(arcs[0] // 40, 2) * 40, *arcs[1:])

    def sequence(self, tag: int = SEQUENCE) -> Reader:
        """Return a reader of the next element's content."""
        return Reader(self.element(tag)[1])

    @property
    def left(self) -> int:
        """How many bytes are still to be read."""
        return len(self._data) - self._at
