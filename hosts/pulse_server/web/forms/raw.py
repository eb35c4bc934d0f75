"""What no other kind of field can show: JSON, typed as it is."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import msgspec

from pulse_server.web.forms.basics import ABSENT, Control, Field, Place, Reading, Showing, Typed

_MOST_LINES = 16


@dataclass(frozen=True, kw_only=True)
class Raw(Field):
    """Any JSON."""

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """Several lines of JSON."""
        text = _shown(ABSENT if value is ABSENT and self.default is None else self.initial(value))
        rows = min(max(3, text.count("\n") + 2), _MOST_LINES)
        return self.control("json", place, value=text, attrs={"rows": rows, "spellcheck": "false"})

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """The JSON; what is none is a fault."""
        text = reading.text(f"{place.name}~json")
        if text is None or (before is not ABSENT and text == _shown(before)):
            return before
        if not text.strip():
            return self.unset(before)
        try:
            return msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            reading.complain(place, f"this is not JSON: {error}")
            return Typed(text)

    def fits(self, value: Any) -> bool:
        """Anything."""
        return True


def _shown(value: Any) -> str:
    if isinstance(value, Typed):
        return value
    return "" if value is ABSENT else json.dumps(value, indent=2, ensure_ascii=False)
