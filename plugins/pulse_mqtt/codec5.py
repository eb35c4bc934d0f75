"""MQTT 5.0 on the wire, as a server reads and writes it. Sections: OASIS standard "MQTT Version 5.0"."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_mqtt.codes import Code
from pulse_mqtt.packets import V5, Connect, Goodbye, Order, Subscribe, Unsubscribe, Will
from pulse_mqtt.properties import Property, read_properties, write_properties
from pulse_mqtt.wire import (
    MAX_QOS,
    MOST_FILTERS,
    PUBREL,
    ConnectFlag,
    Fields,
    PacketError,
    check_connect_flags,
    check_count,
    packet,
    packet_id,
    topic_filter,
    topic_name,
    with_length,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

_OPTION_BITS, _RETAIN_HANDLING, _NO_LOCAL = 0x3F, 0x30, 0x04
_ID_ONLY = 2
_SHARE = "$share"

_PUBLISH = frozenset(
    {
        Property.PAYLOAD_FORMAT,
        Property.MESSAGE_EXPIRY,
        Property.CONTENT_TYPE,
        Property.RESPONSE_TOPIC,
        Property.CORRELATION_DATA,
        Property.TOPIC_ALIAS,
        Property.USER,
    }
)
_WILL_PROPERTIES = _PUBLISH - {Property.TOPIC_ALIAS} | {Property.WILL_DELAY}
_CONNECT = frozenset(
    {
        Property.SESSION_EXPIRY,
        Property.AUTHENTICATION_METHOD,
        Property.AUTHENTICATION_DATA,
        Property.REQUEST_PROBLEM_INFORMATION,
        Property.REQUEST_RESPONSE_INFORMATION,
        Property.RECEIVE_MAXIMUM,
        Property.TOPIC_ALIAS_MAXIMUM,
        Property.USER,
        Property.MAXIMUM_PACKET_SIZE,
    }
)
_ACKNOWLEDGEMENT = frozenset({Property.REASON_STRING, Property.USER})
_SUBSCRIBE = frozenset({Property.SUBSCRIPTION_IDENTIFIER, Property.USER})
_UNSUBSCRIBE = frozenset({Property.USER})
_DISCONNECT = frozenset({Property.SESSION_EXPIRY, Property.REASON_STRING, Property.USER})
"""What a device may say in each packet; the rest is a server's to say (2.2.2.2)."""

_PUBLISH_CODES = frozenset({0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99})
_RELEASE_CODES = frozenset({0x00, 0x92})
_DISCONNECT_CODES = frozenset({0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99})
"""Reason codes that a device may send (3.4.2.1, 3.6.2.1, 3.14.2.1)."""

_NO_PROPERTIES: dict[int, Any] = {}


def read_publish(data: bytes, first: int, body: int, end: int) -> tuple[bytes, int, bytes, bytes, Mapping[int, Any]]:
    """Read a PUBLISH (3.3): topic (not checked yet), QoS, packet id as sent, payload, properties."""
    qos = first >> 1 & 3
    topic_at = body + 2
    if topic_at > end:
        raise PacketError("a PUBLISH without a topic")
    topic_end = topic_at + (data[body] << 8 | data[body + 1])
    at = topic_end + 2 if qos else topic_end
    if at >= end:
        raise PacketError("a PUBLISH that ends too early")
    if qos > MAX_QOS or (not qos and first & 8):
        raise PacketError("a PUBLISH of QoS 3, or of QoS 0 with DUP")
    ident = data[topic_end:at]
    if qos and ident == b"\0\0":
        raise PacketError("packet id 0", Code.PROTOCOL_ERROR)
    if not data[at]:
        return data[topic_at:topic_end], qos, ident, data[at + 1 : end], _NO_PROPERTIES
    fields = Fields(data[at:end])
    properties = read_properties(fields, _PUBLISH)
    if Property.RESPONSE_TOPIC in properties:
        _response_topic(properties[Property.RESPONSE_TOPIC])
    return data[topic_at:topic_end], qos, ident, fields.rest(), properties


def read_connect(fields: Fields) -> Connect:
    """Read what stands in a CONNECT after protocol name and version (3.1.2.3 on)."""
    flags = fields.byte()
    check_connect_flags(flags)
    keepalive_s = fields.number()
    said = read_properties(fields, _CONNECT)
    if Property.AUTHENTICATION_DATA in said and Property.AUTHENTICATION_METHOD not in said:
        raise PacketError("authentication data without a method", Code.PROTOCOL_ERROR)
    client_id = fields.text()
    will = _read_will(fields, flags) if flags & ConnectFlag.WILL else None
    username = fields.text() if flags & ConnectFlag.USERNAME else None
    password = fields.binary() if flags & ConnectFlag.PASSWORD else None
    fields.finish()
    return Connect(
        V5,
        client_id,
        bool(flags & ConnectFlag.CLEAN),
        keepalive_s,
        username,
        password,
        will,
        said.get(Property.SESSION_EXPIRY, 0),
        said.get(Property.RECEIVE_MAXIMUM, 65_535),
        said.get(Property.MAXIMUM_PACKET_SIZE),
        bool(said.get(Property.REQUEST_PROBLEM_INFORMATION, 1)),
        said.get(Property.AUTHENTICATION_METHOD),
    )


def _read_will(fields: Fields, flags: int) -> Will:
    said = read_properties(fields, _WILL_PROPERTIES)
    if Property.RESPONSE_TOPIC in said:
        _response_topic(said[Property.RESPONSE_TOPIC])
    topic, payload = topic_name(fields.binary()), fields.binary()
    return Will(topic, payload, flags >> 3 & 3, bool(flags & ConnectFlag.WILL_RETAIN), said.get(Property.WILL_DELAY, 0))


def read_acknowledgement(first: int, body: bytes) -> tuple[bytes, int]:
    """Read the body of PUBACK, PUBREC, PUBREL or PUBCOMP: packet id and reason code (3.4 to 3.7)."""
    if len(body) == _ID_ONLY:
        return packet_id(body), 0
    fields = Fields(body)
    ident, code = packet_id(fields.take(2)), fields.byte()
    if code not in (_RELEASE_CODES if first >> 4 in (PUBREL >> 4, 7) else _PUBLISH_CODES):
        raise PacketError(f"reason code 0x{code:02x} where it has no meaning")
    if fields.more:
        read_properties(fields, _ACKNOWLEDGEMENT)
        fields.finish()
    return ident, code


def read_subscribe(body: bytes) -> Subscribe:
    """Read the body of a SUBSCRIBE (3.8)."""
    fields = Fields(body)
    ident = packet_id(fields.take(2))
    said = read_properties(fields, _SUBSCRIBE)
    filters: list[tuple[str, int]] = []
    while fields.more and len(filters) <= MOST_FILTERS:
        found, options = topic_filter(fields.text()), fields.byte()
        _check_options(found, options)
        filters.append((found, options))
    check_count(filters)
    return Subscribe(ident, filters, said.get(Property.SUBSCRIPTION_IDENTIFIER, 0))


def _check_options(found: str, options: int) -> None:
    """3.8.3.1, and 4.8.2 for shared subscriptions."""
    if options & ~_OPTION_BITS or options & 3 > MAX_QOS or options & _RETAIN_HANDLING == _RETAIN_HANDLING:
        raise PacketError("subscription options that do not exist")
    levels = found.split("/", 2)
    if levels[0] != _SHARE:
        return
    if options & _NO_LOCAL:
        raise PacketError("No Local on a shared subscription", Code.PROTOCOL_ERROR)
    if len(levels) < 3 or not all(levels) or levels[1] in ("+", "#"):  # noqa: PLR2004 - $share, its name, a filter
        raise PacketError("not a shared subscription", Code.TOPIC_FILTER_INVALID)


def read_unsubscribe(body: bytes) -> Unsubscribe:
    """Read the body of an UNSUBSCRIBE (3.10)."""
    fields = Fields(body)
    ident = packet_id(fields.take(2))
    read_properties(fields, _UNSUBSCRIBE)
    filters: list[str] = []
    while fields.more and len(filters) <= MOST_FILTERS:
        filters.append(topic_filter(fields.text()))
    check_count(filters)
    return Unsubscribe(ident, filters)


def read_disconnect(body: bytes) -> Goodbye:
    """Read the body of a DISCONNECT (3.14)."""
    if not body:
        return Goodbye()
    fields = Fields(body)
    code = fields.byte()
    if code not in _DISCONNECT_CODES:
        raise PacketError(f"reason code 0x{code:02x} where it has no meaning")
    said: Mapping[int, Any] = read_properties(fields, _DISCONNECT) if fields.more else _NO_PROPERTIES
    fields.finish()
    return Goodbye(code, said.get(Property.SESSION_EXPIRY))


def connack(code: int, properties: Mapping[int, Any], *, session_present: bool = False) -> bytes:
    """Write a CONNACK (3.2)."""
    return packet(0x20, bytes((session_present, code)) + write_properties(properties))


def acknowledgement(head: int, ident: bytes, code: int, reason: str) -> bytes:
    """Write a PUBACK, PUBREC or PUBCOMP with a reason code; ``reason`` may be empty."""
    said = write_properties({Property.REASON_STRING: reason}) if reason else b""
    return packet(head, ident + bytes((code,)) + said)


def suback(head: int, ident: bytes, codes: list[int]) -> bytes:
    """Write a SUBACK (0x90) or UNSUBACK (0xB0): one reason code a filter."""
    return packet(head, ident + b"\0" + bytes(codes))


def disconnect(code: int, reason: str) -> bytes:
    """Write a DISCONNECT (3.14); ``reason`` may be empty."""
    said = write_properties({Property.REASON_STRING: reason}) if reason else b""
    return packet(0xE0, bytes((code,)) + said)


def publish(order: Order) -> bytes:
    """Write a command as a PUBLISH (3.3)."""
    properties = write_properties(
        {
            Property.PAYLOAD_FORMAT: 1,
            Property.MESSAGE_EXPIRY: order.expires_in_s,
            Property.CONTENT_TYPE: "application/json",
            Property.SUBSCRIPTION_IDENTIFIER: order.identifiers,
            Property.USER: [("command_id", order.command_id)],
        }
    )
    ident = order.packet_id.to_bytes(2, "big") if order.qos else b""
    first = 0x30 | order.repeated << 3 | order.qos << 1
    return packet(first, with_length(order.topic.encode()) + ident + properties + order.payload)


def _response_topic(topic: str) -> None:
    """3.3.2.3.5."""
    if not topic or "+" in topic or "#" in topic:
        raise PacketError("a response topic that is empty or has a wildcard", Code.PROTOCOL_ERROR)
