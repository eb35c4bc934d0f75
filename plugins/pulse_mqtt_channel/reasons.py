"""What a broker answers (MQTT 5, 2.4), and what that means for a delivery. Pure."""

from __future__ import annotations

from pulse_core.api import PermanentFailure, PulseError, TemporaryFailure

REFUSED = 0x80
"""From here on a reason is a failure."""
NO_SUBSCRIBERS = 0x10

_NAMES = {
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "refused for a reason of the broker's own",
    0x84: "this version of MQTT is not spoken here: set another protocol",
    0x85: "the client identifier is not allowed",
    0x86: "wrong user name or password",
    0x87: "not authorised",
    0x88: "the server is unavailable",
    0x89: "the server is busy",
    0x8A: "banned",
    0x8B: "the server shuts down",
    0x8C: "this way to log in is not allowed",
    0x8D: "nothing was heard of us for too long",
    0x8E: "another client took our identifier",
    0x90: "the topic is not allowed",
    0x91: "the packet identifier is in use",
    0x93: "too much at once",
    0x95: "the message is too large",
    0x96: "too many messages",
    0x97: "a quota is used up",
    0x98: "ended by an administrator",
    0x99: "the payload is not of the announced format",
    0x9A: "retained messages are not allowed",
    0x9B: "this QoS is not allowed",
    0x9C: "use another server for now",
    0x9D: "the server has moved",
    0x9F: "too many connections",
    0xA0: "the longest time for a connection is over",
}
_PERMANENT = frozenset(
    {0x81, 0x82, 0x84, 0x85, 0x86, 0x87, 0x8A, 0x8C, 0x90, 0x95, 0x99, 0x9A, 0x9B, 0x9D}
)  # the same again will be answered the same


def failure(code: int, doing: str) -> PulseError:
    """Make the failure that fits reason ``code`` (0x80 and above)."""
    kind = PermanentFailure if code in _PERMANENT else TemporaryFailure
    return kind(f"{doing}: {_NAMES.get(code, 'failed')} (0x{code:02X})")
