"""Messages as they come: PUBLISH, taken apart (MQTT 5 and 3.1.1, 3.3)."""

from __future__ import annotations

from msgspec import Struct

_MOST_QOS = 2
_LONGEST_VARINT = 4


class Arrival(Struct, frozen=True, gc=False):
    """A PUBLISH. ``topic`` is None when it is no UTF-8; ``packet_id`` is 0 for QoS 0."""

    topic: str | None
    payload: bytes
    qos: int
    packet_id: int
    again: bool
    """The broker says that it sent it before (DUP)."""
    retained: bool
    """It is old: the broker kept it for whoever subscribes."""


def read_publish(first: int, body: bytes, *, five: bool) -> Arrival:
    """Take a packet apart; its properties say nothing to us. Raises ValueError for one that is malformed.

    :param first: its first byte. :param five: whether it is MQTT 5.
    """
    qos = first >> 1 & 3
    at = 2 + int.from_bytes(body[:2], "big")
    if qos > _MOST_QOS or len(body) < at + (2 if qos else 0):
        raise ValueError("not a PUBLISH")
    try:
        topic = body[2:at].decode()
    except UnicodeDecodeError:
        topic = None
    packet_id = 0
    if qos:
        packet_id = int.from_bytes(body[at : at + 2], "big")
        at += 2
        if not packet_id:
            raise ValueError("a PUBLISH without a number")
    if five:
        at = _after_properties(body, at)
    return Arrival(topic, body[at:], qos, packet_id, bool(first & 8), bool(first & 1))


def _after_properties(body: bytes, at: int) -> int:
    length = 0
    for place in range(_LONGEST_VARINT):
        if at >= len(body):
            break
        byte = body[at]
        at += 1
        length |= (byte & 127) << 7 * place
        if byte < 128:  # noqa: PLR2004 - the last byte of a variable byte integer
            if at + length > len(body):
                break
            return at + length
    raise ValueError("properties that do not end")
