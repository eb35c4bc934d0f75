"""The properties of MQTT 5 packets (2.2.2): read strictly, written as they are given."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Any

from pulse_mqtt.codes import Code
from pulse_mqtt.wire import Fields, PacketError, remaining_length, with_length

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Property(IntEnum):
    """Identifiers (table 2-4)."""

    PAYLOAD_FORMAT = 0x01
    MESSAGE_EXPIRY = 0x02
    CONTENT_TYPE = 0x03
    RESPONSE_TOPIC = 0x08
    CORRELATION_DATA = 0x09
    SUBSCRIPTION_IDENTIFIER = 0x0B
    SESSION_EXPIRY = 0x11
    ASSIGNED_CLIENT_IDENTIFIER = 0x12
    SERVER_KEEP_ALIVE = 0x13
    AUTHENTICATION_METHOD = 0x15
    AUTHENTICATION_DATA = 0x16
    REQUEST_PROBLEM_INFORMATION = 0x17
    WILL_DELAY = 0x18
    REQUEST_RESPONSE_INFORMATION = 0x19
    RESPONSE_INFORMATION = 0x1A
    SERVER_REFERENCE = 0x1C
    REASON_STRING = 0x1F
    RECEIVE_MAXIMUM = 0x21
    TOPIC_ALIAS_MAXIMUM = 0x22
    TOPIC_ALIAS = 0x23
    MAXIMUM_QOS = 0x24
    RETAIN_AVAILABLE = 0x25
    USER = 0x26
    MAXIMUM_PACKET_SIZE = 0x27
    WILDCARD_SUBSCRIPTION_AVAILABLE = 0x28
    SUBSCRIPTION_IDENTIFIER_AVAILABLE = 0x29
    SHARED_SUBSCRIPTION_AVAILABLE = 0x2A


_BYTES = {0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A}
_NUMBERS = {0x13, 0x21, 0x22, 0x23}
_LONGS = {0x02, 0x11, 0x18, 0x27}
_TEXTS = {0x03, 0x08, 0x12, 0x15, 0x1A, 0x1C, 0x1F}
_BINARIES = {0x09, 0x16}

_NOT_ZERO = {
    Property.RECEIVE_MAXIMUM: Code.PROTOCOL_ERROR,
    Property.MAXIMUM_PACKET_SIZE: Code.PROTOCOL_ERROR,
    Property.SUBSCRIPTION_IDENTIFIER: Code.PROTOCOL_ERROR,
    Property.TOPIC_ALIAS: Code.TOPIC_ALIAS_INVALID,
}


def _pair(fields: Fields) -> tuple[str, str]:
    return fields.text(), fields.text()


def _readers() -> dict[int, Callable[[Fields], Any]]:
    readers: dict[int, Callable[[Fields], Any]] = {
        Property.USER: _pair,
        Property.SUBSCRIPTION_IDENTIFIER: Fields.length,
    }
    kinds: list[tuple[set[int], Callable[[Fields], Any]]] = [
        (_BYTES, Fields.byte),
        (_NUMBERS, Fields.number),
        (_LONGS, Fields.long),
        (_TEXTS, Fields.text),
        (_BINARIES, Fields.binary),
    ]
    for identifiers, reader in kinds:
        readers.update(dict.fromkeys(identifiers, reader))
    return readers


_READERS = _readers()


def read_properties(fields: Fields, allowed: frozenset[Property]) -> dict[int, Any]:
    """Read the properties of a packet, whose ``allowed`` ones are given. User properties are checked and left out.

    :raises PacketError: Malformed Packet for a property that does not belong here, Protocol Error for one that comes
        twice or says what is not allowed.
    """
    part = Fields(fields.take(fields.length()))
    found: dict[int, Any] = {}
    while part.more:
        identifier = part.length()
        if identifier not in allowed:
            raise PacketError(f"property 0x{identifier:02x} where it does not belong")
        value = _READERS[identifier](part)
        if identifier == Property.USER:
            continue
        if identifier in found:
            raise PacketError(f"property 0x{identifier:02x} twice", Code.PROTOCOL_ERROR)
        if not value and identifier in _NOT_ZERO:
            raise PacketError(f"property 0x{identifier:02x} is 0", _NOT_ZERO[Property(identifier)])
        if identifier in _BYTES and value > 1:
            raise PacketError(f"property 0x{identifier:02x} is {value}", Code.PROTOCOL_ERROR)
        found[identifier] = value
    return found


def write_properties(properties: Mapping[int, Any]) -> bytes:
    """Write properties, their length before them. Those that may stand more than once are given as a list."""
    written = b"".join(
        bytes((identifier,)) + _written(identifier, one)
        for identifier, value in properties.items()
        for one in (value if isinstance(value, list) else [value])
    )
    return remaining_length(len(written)) + written


def _written(identifier: int, value: Any) -> bytes:
    if identifier in _BYTES:
        return bytes((value,))
    if identifier in _NUMBERS:
        return int(value).to_bytes(2, "big")
    if identifier in _LONGS:
        return int(value).to_bytes(4, "big")
    if identifier == Property.SUBSCRIPTION_IDENTIFIER:
        return remaining_length(value)
    if identifier == Property.USER:
        return with_length(value[0].encode()) + with_length(value[1].encode())
    return with_length(value if isinstance(value, bytes) else value.encode())
