"""What a topic says of a message: its tenant, its device, its type."""

from __future__ import annotations

import re
from typing import NamedTuple

TENANT_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
DEVICE_ID = re.compile(r"[A-Za-z0-9_.:-]{1,128}")
_LONGEST_TYPE = 64
_NAMES = {"tenant_id", "device_id", "msg_type"}
_FIELD = re.compile(r"\{([^{}]*)\}")


class Named(NamedTuple):
    """What a topic names."""

    tenant_id: str
    device_id: str
    msg_type: str


class TopicMap:
    """Reads topics by a template: ``plants/{tenant_id}/{device_id}/up/{msg_type}``.

    :param tenant_id: of every device, if the template names none. :param msg_type: likewise, of every message.
    :raises ValueError: the template is none, or names too little or too much.
    """

    def __init__(self, template: str, tenant_id: str | None = None, msg_type: str | None = None) -> None:
        levels = template.split("/")
        named = _FIELD.findall(template)
        fixed = {name for name, value in (("tenant_id", tenant_id), ("msg_type", msg_type)) if value is not None}
        if template.startswith("$") or "#" in levels[:-1]:
            raise ValueError("a topic begins with no $, and # is its last level")
        if len(named) != len(set(named)) or not set(named) <= _NAMES:
            raise ValueError("{tenant_id}, {device_id} and {msg_type} may each stand once in a topic, and no others")
        if missing := _NAMES - set(named) - fixed:
            raise ValueError(f"the topic does not say {', '.join(sorted(missing))}")
        if twice := set(named) & fixed:
            raise ValueError(f"{', '.join(sorted(twice))}: either in the topic or by itself, please")
        self._fixed = {"tenant_id": tenant_id, "msg_type": msg_type}
        self._pattern = re.compile("/".join(map(_pattern_of, levels)).replace("/.*", "(?:/.*)?"), re.DOTALL)
        self.filter = "/".join("+" if "{" in level else level for level in levels)
        """What to subscribe to for all such topics."""

    def read(self, topic: str) -> Named | None:
        """What the topic names; None when it is no such topic, or an id in it can be none."""
        match = self._pattern.fullmatch(topic)
        if match is None:
            return None
        found = {**self._fixed, **match.groupdict()}
        named = Named(found["tenant_id"] or "", found["device_id"] or "", (found["msg_type"] or "")[:_LONGEST_TYPE])
        if not TENANT_ID.fullmatch(named.tenant_id) or not DEVICE_ID.fullmatch(named.device_id):
            return None
        return named


def _pattern_of(level: str) -> str:
    if level == "+":
        return "[^/]*"
    if level == "#":
        return ".*"
    fields = _FIELD.findall(level)
    if len(fields) > 1:
        raise ValueError("one level of a topic can say one thing only")
    before, _, after = level.partition("{%s}" % fields[0]) if fields else (level, "", "")  # noqa: UP031 - braces
    if any(sign in before + after for sign in "+#{}\0"):
        raise ValueError("+ and # stand for whole levels of a topic")
    return re.escape(before) + (f"(?P<{fields[0]}>[^/]+)" if fields else "") + re.escape(after)
