"""What a device may do at the broker, and what the bridge may: judged by user name and topic alone."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING

from pulse_core.api import DeviceKey
from pulse_mqtt_bridge.filters import is_filter, is_topic, matches, unshared
from pulse_mqtt_bridge.topics import DEVICE_ID, TENANT_ID

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_mqtt_bridge.topics import TopicMap


class Action(Enum):
    """What somebody wants to do."""

    PUBLISH = auto()
    SUBSCRIBE = auto()
    RECEIVE = auto()
    """Be handed a message of this topic, because of a subscription."""


def key_of(username: str) -> DeviceKey | None:
    """Read ``{tenant_id}/{device_id}``; None when it is not that."""
    tenant_id, _, device_id = username.partition("/")
    named = TENANT_ID.fullmatch(tenant_id) and DEVICE_ID.fullmatch(device_id)
    return DeviceKey(tenant_id, device_id) if named else None


def device_may(key: DeviceKey, action: Action, topic: str, topics: TopicMap) -> bool:
    """Whether a device may. Below ``tenant/{tenant_id}/device/{device_id}/`` it may, as at our own door.

    Besides, it publishes where the bridge's topics say that it does, if those are others.
    """
    own = f"tenant/{key.tenant_id}/device/{key.device_id}/"
    below = topic.startswith(own) and len(topic) > len(own)
    if action is Action.SUBSCRIBE:
        return below and is_filter(topic)
    if not is_topic(topic):
        return False
    if below or action is Action.RECEIVE:
        return below
    named = topics.read(topic)
    return named is not None and (named.tenant_id, named.device_id) == (key.tenant_id, key.device_id)


def bridge_may(subscriptions: Sequence[str], action: Action, topic: str) -> bool:
    """Whether the bridge itself may: subscribe to what it subscribes to, and be handed that. It publishes nothing.

    Brokers differ in whether they tell the name of a shared subscription's group.
    """
    if action is Action.SUBSCRIBE:
        return topic in subscriptions or topic in map(unshared, subscriptions)
    return action is Action.RECEIVE and any(matches(unshared(each), topic) for each in subscriptions)
