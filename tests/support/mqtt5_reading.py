"""Whole packets of MQTT 5 for the listener's codec, as a connection hands them to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_mqtt import codec5, wire

if TYPE_CHECKING:
    from collections.abc import Callable


def _connect(body: bytes) -> Any:
    fields = wire.Fields(body)
    if fields.binary() != b"MQTT" or fields.byte() != 5:
        raise wire.UnsupportedProtocolError("the test says so")
    return codec5.read_connect(fields)


_READERS: dict[int, Callable[[bytes], Any]] = {
    wire.CONNECT: _connect,
    wire.SUBSCRIBE: codec5.read_subscribe,
    wire.UNSUBSCRIBE: codec5.read_unsubscribe,
    wire.DISCONNECT: codec5.read_disconnect,
}


def read(raw: bytes) -> Any:
    """Read one whole packet.

    :raises PacketError: when it is none that a device may send after another.
    """
    header = wire.read_header(raw, 0, wire.MAX_REMAINING)
    if header is None or header[2] != len(raw):
        raise wire.PacketError("not one whole packet")
    first, body, end = header
    if first >> 4 == 3:
        topic, *rest = codec5.read_publish(raw, first, body, end)
        return (wire.topic_name(topic) if topic else "", *rest)
    if first in (wire.PUBACK, wire.PUBREC, wire.PUBREL, wire.PUBCOMP):
        return codec5.read_acknowledgement(first, raw[body:end])
    if first not in _READERS:
        raise wire.PacketError(f"a packet that begins with {first:02x}")
    return _READERS[first](raw[body:end])
