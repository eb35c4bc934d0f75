"""Which subscriptions a device may have, and which commands they are for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pulse_core.api import LONGEST_FILTER, MOST_SUBSCRIPTIONS
from pulse_mqtt.codes import Code
from pulse_mqtt.packets import GRANTED_QOS, IDENTIFIER_SHIFT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

COMMAND_QOS = 1
_COMMANDS = "cmd"
_SHARED = "$share/"


def grant(prefix: str, topic_filter: str, options: int, held: Mapping[str, int]) -> int:
    """Judge a subscription: the QoS that is granted, or why not. Nothing outside ``prefix`` is anybody's to hear."""
    if topic_filter.startswith(_SHARED):
        return Code.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
    if not topic_filter.startswith(prefix):
        return Code.NOT_AUTHORIZED
    if len(topic_filter) > LONGEST_FILTER or (len(held) >= MOST_SUBSCRIPTIONS and topic_filter not in held):
        return Code.QUOTA_EXCEEDED
    return min(options & GRANTED_QOS, COMMAND_QOS)


def command_names(prefix: str, filters: Iterable[str]) -> frozenset[str] | None:
    """The names of the commands that these filters match; None: of any name."""
    names: set[str] = set()
    for each in filters:
        levels = each[len(prefix) :].split("/")
        if levels[0] not in ("#", "+", _COMMANDS):
            continue
        if levels[0] == "#" or (len(levels) > 1 and levels[1] == "#"):
            return None
        if len(levels) == 2 or levels[2:] == ["#"]:  # noqa: PLR2004 - cmd and a name; "#" matches the level above, too
            if levels[1] == "+":
                return None
            names.add(levels[1])
    return frozenset(names)


def matching(prefix: str, subscriptions: Mapping[str, int], name: str) -> tuple[int, list[int]] | None:
    """The best QoS of the subscriptions that a command matches, and their identifiers; None: there is none."""
    qos, identifiers, found = 0, [], False
    for each, options in subscriptions.items():
        names = command_names(prefix, (each,))
        if names is None or name in names:
            found = True
            qos = max(qos, options & GRANTED_QOS)
            if identifier := options >> IDENTIFIER_SHIFT:
                identifiers.append(identifier)
    return (qos, identifiers) if found else None
