"""Topics: the customer's template, and what values become in it. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLES = ("tenant_id", "device_id", "site_id", "severity", "alert_type", "alert_id")
LONGEST_TOPIC_BYTES = 65_535
"""MQTT 5, 1.5.4: a string has a length of two bytes."""

_PLACE = re.compile(r"\{([^{}]*)\}")
_NEVER = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff#+]")
"""Wildcards (4.7.1) and what no string should hold (1.5.4)."""
_IN_VALUES = re.compile(_NEVER.pattern[:-1] + "/%]")
"""A value must not make levels of its own; ``%`` because it is what the others become."""


def check(template: str) -> str:
    """Return the template if every topic made of it is one. Raises ValueError saying what is wrong."""
    fixed = _PLACE.sub("", template)
    if "{" in fixed or "}" in fixed:
        raise ValueError("a brace without its partner")
    unknown = [name for name in _PLACE.findall(template) if name not in VARIABLES]
    if unknown:
        raise ValueError(f"{{{unknown[0]}}} is not a variable; there are: {', '.join(VARIABLES)}")
    if _NEVER.search(fixed):
        raise ValueError("a topic to publish to holds no +, no # and no control characters")
    if template.startswith("$"):
        raise ValueError("topics that begin with $ belong to the broker")
    return template


def topic(template: str, values: Mapping[str, str]) -> str:
    """Fill ``values`` in. What a value may not hold is percent-encoded, so that every alert has a topic.

    :raises ValueError: too long, or nothing at all.
    """
    made = _PLACE.sub(lambda place: _IN_VALUES.sub(_encoded, values[place[1]]), template)
    if made.startswith("$"):
        made = f"%24{made[1:]}"
    if not 0 < len(made.encode()) <= LONGEST_TOPIC_BYTES:
        raise ValueError(f"the topic has {len(made.encode())} bytes; 1 to {LONGEST_TOPIC_BYTES} are allowed")
    return made


def _encoded(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass"))
