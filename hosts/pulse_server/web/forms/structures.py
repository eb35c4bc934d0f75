"""Fields that hold fields: objects, and one of several kinds of value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pulse_server.web.forms.basics import ABSENT, Control, Field, Option, Place, Reading, Showing
from pulse_server.web.forms.scalars import Constant

_NOTHING = "none"


@dataclass(frozen=True, kw_only=True)
class Group(Field):
    """An object whose fields are known."""

    fields: dict[str, Field]
    closed: bool = True
    """There may be no other fields. Otherwise they are kept as they are."""

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """A frame around its fields."""
        current = self.initial(value)
        values = current if isinstance(current, dict) else {}
        children = [
            field.show(values.get(key, ABSENT), place.child(key), showing) for key, field in self.fields.items()
        ]
        return self.control("group", place, children=children)

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """What its fields hold."""
        old = before if isinstance(before, dict) else {}
        taken = {} if self.closed else {key: each for key, each in old.items() if key not in self.fields}
        for key, field in self.fields.items():
            value = field.take(reading, place.child(key), old.get(key, ABSENT))
            if value is not ABSENT:
                taken[key] = value
        return taken

    def fits(self, value: Any) -> bool:
        """An object with the fields that must be there, each of its kind."""
        if not isinstance(value, dict) or (self.closed and value.keys() - self.fields.keys()):
            return False
        return all(
            field.fits(value[key]) if key in value else not (field.required or isinstance(field, Constant))
            for key, field in self.fields.items()
        )

    def likeness(self, value: dict[str, Any]) -> int:
        """How much an object that does not fit, since something is missing or wrong, looks like one of these."""
        known = value.keys() & self.fields.keys()
        constants = [key for key in known if isinstance(self.fields[key], Constant)]
        return len(known) + sum(1000 if self.fields[key].fits(value[key]) else -1000 for key in constants)

    def blank(self) -> Any:
        """What its fields begin with."""
        start = self.default if isinstance(self.default, dict) else {}
        values = {key: start[key] if key in start else field.blank() for key, field in self.fields.items()}
        return {key: value for key, value in values.items() if value is not ABSENT}


@dataclass(frozen=True, kw_only=True)
class Variants(Field):
    """One of several kinds of value."""

    variants: tuple[Field, ...]

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """All of them, one of which is chosen; without a script all can be seen, with a style sheet just that one."""
        current = self.initial(value)
        chosen = self._kind_of(current)
        options = [Option(str(at), each.label, at == chosen) for at, each in enumerate(self.variants)]
        if self.nullable:
            options.insert(0, Option(_NOTHING, "none", current in (None, ABSENT)))
        children = [
            each.show(current if at == chosen else ABSENT, place.variant(at), showing)
            for at, each in enumerate(self.variants)
        ]
        return self.control("variants", place, options=options, children=children, chosen=chosen)

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """What the chosen one holds."""
        token = reading.text(f"{place.name}~kind")
        if token == _NOTHING:
            return self.unset(before)
        numbers = [str(at) for at in range(len(self.variants))]
        if token not in numbers:
            return before
        at = numbers.index(token)
        kept = before if self._kind_of(before) == at else ABSENT
        return self.variants[at].take(reading, place.variant(at), kept)

    def fits(self, value: Any) -> bool:
        """Any of them."""
        return (self.nullable and value is None) or self._kind_of(value) is not None

    def _kind_of(self, value: Any) -> int | None:
        """Which one a value is; None: none of them, or nothing."""
        if value is ABSENT:
            return None
        fitting = next((at for at, each in enumerate(self.variants) if each.fits(value)), None)
        if fitting is not None or not isinstance(value, dict):
            return fitting
        alike = {at: each.likeness(value) for at, each in enumerate(self.variants) if isinstance(each, Group)}
        return max(alike, key=lambda at: alike[at], default=None)
