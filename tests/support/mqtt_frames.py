"""A device's packets in either version of MQTT (4: 3.1.1, 5), for tests that say the same in both."""

from __future__ import annotations

import struct
from typing import NamedTuple

from support.mqtt311 import packet, publish, text

MQTT311, MQTT5 = 4, 5
TYPES = {0x20: "CONNACK", 0x30: "PUBLISH", 0x40: "PUBACK", 0x50: "PUBREC", 0x70: "PUBCOMP", 0x90: "SUBACK"}
TYPES |= {0xB0: "UNSUBACK", 0xD0: "PINGRESP", 0xE0: "DISCONNECT"}
"""What a server may send."""


class Frames:
    """Writes packets of one version. ``properties`` are as on the wire, without their length; 3.1.1 leaves them out."""

    def __init__(self, version: int) -> None:
        self.version = version

    def properties(self, said: bytes = b"") -> bytes:
        """A property section; nothing in MQTT 3.1.1. ``said`` is shorter than 128 bytes."""
        return bytes([len(said)]) + said if self.version == MQTT5 else b""

    def connect(
        self,
        username: str,
        password: str,
        client_id: str,
        *,
        clean: bool = True,
        keepalive_s: int = 60,
        expiry_s: int = 0,
        will: tuple[str, bytes] | None = None,
        properties: bytes = b"",
    ) -> bytes:
        """CONNECT. ``expiry_s`` is for MQTT 5; a session of 3.1.1 that is not clean is kept anyway."""
        flags = 0xC0 | clean << 1 | (will is not None) << 2
        expiry = b"\x11" + struct.pack("!I", expiry_s) if expiry_s else b""
        body = text("MQTT") + bytes([self.version, flags]) + struct.pack("!H", keepalive_s)
        body += self.properties(expiry + properties) + text(client_id)
        if will is not None:
            body += self.properties() + text(will[0]) + text(will[1])
        return packet(0x10, body + text(username) + text(password))

    def publish(
        self,
        topic: str,
        payload: bytes,
        qos: int,
        packet_id: int = 1,
        *,
        dup: bool = False,
        retain: bool = False,
        properties: bytes = b"",
    ) -> bytes:
        """PUBLISH."""
        return publish(topic, self.properties(properties) + payload, qos, packet_id, dup=dup, retain=retain)

    def subscribe(self, packet_id: int, *filters: tuple[str, int], properties: bytes = b"") -> bytes:
        """SUBSCRIBE: filters with their options, the QoS among them."""
        body = struct.pack("!H", packet_id) + self.properties(properties)
        return packet(0x82, body + b"".join(text(one) + bytes([options]) for one, options in filters))

    def unsubscribe(self, packet_id: int, *filters: str) -> bytes:
        """UNSUBSCRIBE."""
        return packet(0xA2, struct.pack("!H", packet_id) + self.properties() + b"".join(text(one) for one in filters))

    def disconnect(self, code: int = 0) -> bytes:
        """DISCONNECT; with a reason code, in MQTT 5."""
        return packet(0xE0, bytes([code]) if code and self.version == MQTT5 else b"")


class Packet(NamedTuple):
    """A packet that a server sent."""

    first: int
    body: bytes

    @property
    def kind(self) -> str:
        """Its name."""
        return TYPES.get(self.first & 0xF0, f"0x{self.first:02x}")

    @property
    def packet_id(self) -> int:
        """That of an acknowledgement."""
        return int.from_bytes(self.body[:2], "big")


def split(data: bytes) -> tuple[list[Packet], bytes]:
    """Cut whole packets out of what a server has sent, and return the rest.

    :raises ValueError: for what no server may say.
    """
    found: list[Packet] = []
    pos = 0
    while pos + 2 <= len(data):
        length, at, shift = 0, pos + 1, 0
        while True:
            if at >= len(data):
                return found, data[pos:]
            digit = data[at]
            length |= (digit & 127) << shift
            at, shift = at + 1, shift + 7
            if digit < 128:
                break
        if data[pos] & 0xF0 not in TYPES:
            raise ValueError(f"a packet that begins with 0x{data[pos]:02x}")
        if at + length > len(data):
            break
        found.append(Packet(data[pos], data[at : at + length]))
        pos = at + length
    return found, data[pos:]
