"""Which topics are a device's own, and what they mean."""

from __future__ import annotations

import re

from pulse_core.api import DeviceKey, MsgType, Reason
from pulse_mqtt.wire import topic_name

_USERNAME = re.compile(r"([A-Za-z0-9_.:-]{1,64})/([A-Za-z0-9_.:-]{1,128})")
_LONGEST_SHOWN = 256
_KINDS = {str(kind): (str(kind), None) for kind in MsgType}


def key_of(username: str | None) -> DeviceKey | None:
    """Read ``{tenant_id}/{device_id}``; None when it is not that."""
    match = _USERNAME.fullmatch(username or "")
    return DeviceKey(match[1], match[2]) if match else None


def prefix_of(key: DeviceKey) -> str:
    """What all topics of a device begin with."""
    return f"tenant/{key.tenant_id}/device/{key.device_id}/"


class Topics:
    """The topics of one logged-in device: all begin with ``tenant/{tenant_id}/device/{device_id}/``."""

    __slots__ = ("known", "prefix")

    def __init__(self, key: DeviceKey) -> None:
        self.prefix = prefix_of(key)
        self.known: dict[bytes, tuple[str, Reason | None]] = {}
        """The topics that mean something and were published to, as sent: for the hot path."""

    def judge(self, raw: bytes) -> tuple[str, Reason | None, bool]:
        """Judge a topic: message type (cut to what may be shown), why it is refused, whether it is the device's own.

        :raises PacketError: when it is no topic name at all.
        """
        topic = topic_name(raw)
        if not topic.startswith(self.prefix):
            return topic[:_LONGEST_SHOWN], Reason.BAD_TOPIC_FORMAT, False
        rest = topic[len(self.prefix) : len(self.prefix) + _LONGEST_SHOWN]
        if rest in _KINDS:
            self.known[raw] = _KINDS[rest]
        return rest, None if rest and "/" not in rest else Reason.BAD_TOPIC_FORMAT, True
