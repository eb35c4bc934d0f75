"""MQTT 3.1.1 on the wire, as a server reads and writes it. Sections are those of the OASIS standard "MQTT Version
3.1.1".
"""

from __future__ import annotations

from pulse_mqtt.codes import Code
from pulse_mqtt.packets import V311, Connect, Subscribe, Unsubscribe, Will
from pulse_mqtt.wire import (
    MAX_QOS,
    MOST_FILTERS,
    ConnectFlag,
    Fields,
    PacketError,
    check_connect_flags,
    check_count,
    packet,
    packet_id,
    topic_filter,
    topic_name,
)


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
    ident = data[topic_end:payload_at]
    if qos > MAX_QOS or ident == b"\0\0":
        raise PacketError("a PUBLISH of QoS 3, or with packet id 0")
    return data[topic_at:topic_end], qos, ident, data[payload_at:end]


def read_connect(fields: Fields) -> Connect:
    """Read what stands in a CONNECT after protocol name and level (3.1.2.3 on)."""
    flags = fields.byte()
    check_connect_flags(flags)
    if flags & ConnectFlag.PASSWORD and not flags & ConnectFlag.USERNAME:
        raise PacketError("a password without a user name")
    keepalive_s = fields.number()
    client_id = fields.text()
    will = None
    if flags & ConnectFlag.WILL:
        will = Will(topic_name(fields.binary()), fields.binary(), flags >> 3 & 3, bool(flags & ConnectFlag.WILL_RETAIN))
    username = fields.text() if flags & ConnectFlag.USERNAME else None
    password = fields.binary() if flags & ConnectFlag.PASSWORD else None
    fields.finish()
    return Connect(V311, client_id, bool(flags & ConnectFlag.CLEAN), keepalive_s, username, password, will)


def read_acknowledgement(body: bytes) -> bytes:
    """Read the body of PUBACK, PUBREC, PUBREL or PUBCOMP: a packet id and nothing else."""
    if len(body) != 2 or body == b"\0\0":  # noqa: PLR2004 - a packet id is two bytes
        raise PacketError("an acknowledgement without a packet id of its own")
    return body


def read_subscribe(body: bytes) -> Subscribe:
    """Read the body of a SUBSCRIBE (3.8): packet id, and topic filters with the QoS asked for."""
    fields = Fields(body)
    ident = packet_id(fields.take(2))
    filters: list[tuple[str, int]] = []
    while fields.more and len(filters) <= MOST_FILTERS:
        found, qos = topic_filter(fields.text()), fields.byte()
        if qos > MAX_QOS:
            raise PacketError("a SUBSCRIBE for QoS 3")
        filters.append((found, qos))
    check_count(filters)
    return Subscribe(ident, filters)


def read_unsubscribe(body: bytes) -> Unsubscribe:
    """Read the body of an UNSUBSCRIBE (3.10): packet id and topic filters."""
    fields = Fields(body)
    ident = packet_id(fields.take(2))
    filters: list[str] = []
    while fields.more and len(filters) <= MOST_FILTERS:
        filters.append(topic_filter(fields.text()))
    check_count(filters)
    return Unsubscribe(ident, filters)


def connack(code: int, *, session_present: bool = False) -> bytes:
    """Write a CONNACK (3.2); ``code`` as 3.2.2.3 has it."""
    return bytes((0x20, 2, session_present, code))


def suback(ident: bytes, codes: list[int]) -> bytes:
    """Write a SUBACK (3.9): one granted QoS, or 0x80 (refused), a filter."""
    return packet(0x90, ident + bytes(min(code, Code.UNSPECIFIED_ERROR) for code in codes))


def unsuback(ident: bytes) -> bytes:
    """Write an UNSUBACK (3.11)."""
    return b"\xb0\x02" + ident
