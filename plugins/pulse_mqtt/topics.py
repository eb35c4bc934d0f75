"""Which topics are a device's own, and what they mean."""

from __future__ import annotations

import re

from pulse_core.api import DeviceKey, MsgType, Reason
from pulse_mqtt.codec311 import SUBSCRIPTION_REFUSED, topic_name

_USERNAME = re.compile(r"([A-Za-z0-9_.:-]{1,64})/([A-Za-z0-9_.:-]{1,128})")
_COMMAND_QOS = 1
_LONGEST_SHOWN = 256


def key_of(username: str | None) -> DeviceKey | None:
    """Read ``{tenant_id}/{device_id}``; None when it is not that."""
    match = _USERNAME.fullmatch(username or "")
    return DeviceKey(match[1], match[2]) if match else None


class Topics:
    """The topics of one logged-in device: all begin with ``tenant/{tenant_id}/device/{device_id}/``."""

    def __init__(self, key: DeviceKey) -> None:
        self.key = key
        self._prefix = f"tenant/{key.tenant_id}/device/{key.device_id}/"
        self.known: dict[bytes, tuple[str, Reason | None]] = {
            f"{self._prefix}{kind}".encode(): (str(kind), None) for kind in MsgType
        }
        """The topics that mean something, as sent: for the hot path."""

    def judge(self, raw: bytes) -> tuple[str, Reason | None, bool]:
        """Judge any other topic: message type (cut to what may be shown), why it is refused, whether it is own.

        :raises PacketError: when it is no topic name at all.
        """
        topic = topic_name(raw)
        if not topic.startswith(self._prefix):
            return topic[:_LONGEST_SHOWN], Reason.BAD_TOPIC_FORMAT, False
        rest = topic[len(self._prefix) : len(self._prefix) + _LONGEST_SHOWN]
        return rest, None if rest and "/" not in rest else Reason.BAD_TOPIC_FORMAT, True

    def grant(self, topic_filter: str, qos: int) -> int:
        """Answer a subscription: the granted QoS, or refused unless the filter stays within the device's own."""
        return min(qos, _COMMAND_QOS) if topic_filter.startswith(self._prefix) else SUBSCRIPTION_REFUSED
