"""Topic filters (MQTT 5, 4.7): which are well formed, and which topics they match."""

from __future__ import annotations

import re

_LONGEST = 65_535
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")
_SHARED_PARTS = 3


def is_topic(topic: str) -> bool:
    """Whether something can be published to it."""
    return is_filter(topic) and not any(sign in topic for sign in "+#")


def is_filter(topic_filter: str) -> bool:
    """Whether it can be subscribed to: ``+`` and ``#`` stand for whole levels, ``#`` for the last."""
    if not topic_filter or _UNWRITABLE.search(topic_filter) or len(topic_filter.encode()) > _LONGEST:
        return False
    levels = topic_filter.split("/")
    if levels[0] == "$share" and (len(levels) < _SHARED_PARTS or not levels[1] or not unshared(topic_filter)):
        return False
    return all(level in {"+", "#"} or not set(level) & {"+", "#"} for level in levels) and "#" not in levels[:-1]


def unshared(topic_filter: str) -> str:
    """The filter without ``$share/{group}/`` (MQTT 5, 4.8.2)."""
    if not topic_filter.startswith("$share/"):
        return topic_filter
    return topic_filter.split("/", _SHARED_PARTS - 1)[-1]


def matches(topic_filter: str, topic: str) -> bool:
    """Whether what is published to ``topic`` reaches a subscriber to ``topic_filter`` (not shared)."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and wanted[0] in {"+", "#"}:
        return False
    if wanted[-1] == "#":
        wanted = wanted[:-1]
        levels = levels[: len(wanted)]
    return len(wanted) == len(levels) and all(want in {"+", level} for want, level in zip(wanted, levels, strict=True))
