"""What the load generator puts on the wire, encoded once and only patched for each message."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

FIRST_SEQ = 1_000_000
"""Seven digits, and so it stays: every message of a device has the same length."""
LAST_ID = 0xFFFF
PUBACK, PUBREC, PUBREL, PUBCOMP = 0x40, 0x50, 0x62, 0x70
PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"
SESSION_S = 3600
"""For how long a session of QoS 2 outlives its connection."""
MQTT5 = 5
_RECEIVE_MAXIMUM = 0x21
_SIZES = {0x11: 4, 0x13: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1}
"""Bytes of the properties of a CONNACK that are no strings."""
_READINGS = tuple(
    b',"metrics":{"temp_c":%d.%d,"humidity_pct":%d.5,"battery_pct":%d}}'
    % (20 + n % 10, n % 10, 40 + n % 10, 50 + n % 50)
    for n in range(250)
)


class DeviceWords:
    """One device's bytes: its login, the fixed parts of its messages, over MQTT with this QoS and version (4 or 5)."""

    def __init__(
        self, tenant_id: str, device_id: str, site_id: str, token: str, *, qos: int = 1, version: int = 4
    ) -> None:
        self._qos, self._version = qos, version
        self._login = f"{tenant_id}/{device_id}".encode()
        self._token = token.encode()
        self._client = device_id.encode()
        self._site = b',"site_id":"%b","seq":' % site_id.encode()
        topic = b"tenant/%b/device/%b/telemetry" % (tenant_id.encode(), device_id.encode())
        self._properties = b"\x00" if version == MQTT5 else b""
        size = 2 + len(topic) + (2 if qos else 0) + len(self._properties) + len(self.body(0, FIRST_SEQ))
        self._publish = bytes([0x30 | qos << 1]) + _length(size) + struct.pack("!H", len(topic)) + topic
        self._request = (
            b"POST /ingest/v1/%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"X-Provision-Token: %b\r\nContent-Length: %d\r\n\r\n" % (topic, self._token, len(self.body(0, FIRST_SEQ)))
        )
        self._batch_head = b'{"tenant_id":"%b","device_id":"%b","msg_type":"telemetry","provision_token":"%b",' % (
            tenant_id.encode(),
            device_id.encode(),
            self._token,
        )

    def connect(self) -> bytes:
        """CONNECT without keep-alive; with a session that goes on for QoS 2, which needs one, and a clean one else."""
        persistent = self._qos == 2
        flags = 0xC0 if persistent else 0xC2
        body = b"\x00\x04MQTT" + bytes([self._version, flags, 0, 0])
        if self._version == MQTT5:
            body += b"\x05\x11" + struct.pack("!I", SESSION_S) if persistent else b"\x00"
        body += b"".join(struct.pack("!H", len(text)) + text for text in (self._client, self._login, self._token))
        return b"\x10" + _length(len(body)) + body

    def body(self, ts_ms: int, seq: int) -> bytes:
        """One message's JSON: three metrics. ``ts_ms`` 0 stands for any of thirteen digits."""
        return b'{"ts":%013d%b%d%b' % (ts_ms or 10**12, self._site, seq, _READINGS[seq % 250])

    def publish(self, packet_id: int, ts_ms: int, seq: int) -> bytes:
        """PUBLISH."""
        return b'%b%b%b{"ts":%d%b%d%b' % (
            self._publish,
            packet_id.to_bytes(2, "big") if self._qos else b"",
            self._properties,
            ts_ms,
            self._site,
            seq,
            _READINGS[seq % 250],
        )

    def post(self, ts_ms: int, seq: int) -> bytes:
        """One message as an HTTP request."""
        return self._request + self.body(ts_ms, seq)

    def in_batch(self, ts_ms: int, seq: int) -> bytes:
        """One message as an element of a batch."""
        return self._batch_head + self.body(ts_ms, seq)[1:]


class Answers:
    """Every short packet of one kind, in the order of packet ids: a burst of acknowledgements is one slice of this."""

    def __init__(self, kind: int) -> None:
        self._all = b"".join(bytes([kind, 2]) + struct.pack("!H", number) for number in range(1, LAST_ID + 1))

    def run(self, first: int, count: int) -> bytes:
        """``count`` of them, from that of the ``first``-th message (counted from 0) on."""
        start, end = first % LAST_ID, first % LAST_ID + count
        found = self._all[4 * start : 4 * end]
        return found if end <= LAST_ID else found + self._all[: 4 * (end - LAST_ID)]


def receive_maximum(connack: bytes) -> int:
    """How many messages a peer takes that it has not answered: what its CONNACK says, in MQTT 5 (3.2.2.3.3)."""
    at, end = 5, len(connack)
    while at < end:
        kind = connack[at]
        if kind == _RECEIVE_MAXIMUM:
            return int.from_bytes(connack[at + 1 : at + 3], "big")
        size = _SIZES.get(kind)
        at += 1 + (2 + int.from_bytes(connack[at + 1 : at + 3], "big") if size is None else size)
    return LAST_ID


def batch_request(elements: Sequence[bytes]) -> bytes:
    """Many messages as one HTTP request."""
    body = b'{"messages":[' + b",".join(elements) + b"]}"
    head = b"POST /ingest/v1/batch HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return head + b"Content-Length: %d\r\n\r\n" % len(body) + body


def now_ms() -> int:
    """The time as devices write it."""
    return time.time_ns() // 1_000_000


def _length(value: int) -> bytes:
    encoded = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        encoded.append(low | (0x80 if value else 0))
        if not value:
            return bytes(encoded)
