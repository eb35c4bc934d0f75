"""Fields with many values: lists a line each, boxes to tick, rows, and maps from names to values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pulse_core.masking import MASK
from pulse_server.web.forms.basics import ABSENT, Control, Field, Option, Place, Reading, Showing, among, same
from pulse_server.web.forms.raw import Raw
from pulse_server.web.forms.scalars import Choice, Number, Text, number

_MOST_ROWS = 500
_MOVED = "type it again: it has another place in the list now, and the stored one cannot move along"


def _raw(field: Field) -> Raw:
    """The same field, for values that its own kind cannot show."""
    return Raw(
        label=field.label, help=field.help, required=field.required, nullable=field.nullable, default=field.default
    )


@dataclass(frozen=True, kw_only=True)
class Lines(Field):
    """A list of texts, numbers or words to choose from, each on a line of its own."""

    item: Text | Number | Choice
    most: int | None = None

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """Several lines to type on; JSON where a line cannot hold what is there."""
        current = self.initial(value)
        if current not in (ABSENT, None) and not self._are_lines(current):
            return _raw(self).show(value, place, showing)
        text = "\n".join(map(str, current or ()))
        rows = min(max(3, len(current or ()) + 1), 10)
        return self.control("lines", place, value=text, attrs={"rows": rows, "spellcheck": "false"})

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """A value for each line that is not empty."""
        text = reading.text(f"{place.name}~lines")
        if text is None:
            return _raw(self).take(reading, place, before)
        lines = [line.strip() for line in text.split("\n") if line.strip()]
        if isinstance(before, list) and lines == [str(each) for each in before]:
            return before
        if not lines and _means_unset(self, before):
            return self.unset(before)
        return [self._of(line) for line in lines]

    def fits(self, value: Any) -> bool:
        """A list of such values that reads the same when its lines are read again."""
        if value is None:
            return self.nullable
        return self._are_lines(value) and all(map(self.item.fits, value))

    def blank(self) -> Any:
        """An empty list, unless there is a default."""
        return [] if self.default is ABSENT and not self.nullable else super().blank()

    def _of(self, line: str) -> Any:
        if isinstance(self.item, Number):
            return number(line)
        return self.item.value_of(line) if isinstance(self.item, Choice) else line

    def _are_lines(self, value: Any) -> bool:
        return isinstance(value, list) and all(self._is_a_line(each) for each in value)

    def _is_a_line(self, value: Any) -> bool:
        line = str(value)
        clean = bool(line) and line == line.strip() and not {"\n", "\r"} & set(line)
        return clean and same(self._of(line), value)


@dataclass(frozen=True, kw_only=True)
class Checks(Field):
    """Some of several values, each once."""

    item: Choice

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """A box to tick for each."""
        current = self.initial(value)
        if current is not ABSENT and not self.fits(current):
            return _raw(self).show(value, place, showing)
        chosen = current or ()
        labels = self.item.labels or map(str, self.item.values)
        options = [
            Option(token, label, among(each, chosen))
            for token, label, each in zip(self.item.tokens(), labels, self.item.values, strict=True)
        ]
        return self.control("checks", place, options=options)

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """What is ticked."""
        if not reading.has(f"{place.name}~shown"):
            return _raw(self).take(reading, place, before)
        chosen = [self.item.value_of(token) for token in reading.sent.getlist(place.name)]
        if isinstance(before, list) and len(before) == len(chosen) and all(among(each, before) for each in chosen):
            return before
        return self.unset(before) if not chosen and _means_unset(self, before) else chosen

    def fits(self, value: Any) -> bool:
        """A list of these values, none twice."""
        if value is None:
            return self.nullable
        known = isinstance(value, list) and all(among(each, self.item.values) for each in value)
        return known and not any(among(each, value[:at]) for at, each in enumerate(value))

    def blank(self) -> Any:
        """Nothing ticked, unless there is a default."""
        return [] if self.default is ABSENT and not self.nullable else super().blank()


@dataclass(frozen=True, kw_only=True)
class Rows(Field):
    """A list of anything else: a row each, and one to spare."""

    item: Field
    most: int | None = None

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """The rows, each of which can be removed."""
        current = self.initial(value)
        items = current if isinstance(current, list) else []
        room = max(0, (self.most or _MOST_ROWS) - len(items))
        spares = min(room, showing.spares(place, 1))
        children = [self._row(each, place, at, showing) for at, each in enumerate(items)]
        children += [self._row(ABSENT, place, len(items) + at, showing, spare=True) for at in range(spares)]
        return self.control("rows", place, children=children, can_grow=room > spares)

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """What the rows hold, without those that are removed and those that were not used."""
        count = _count(reading, place)
        if count is None:
            return before
        old = before if isinstance(before, list) else []
        taken: list[Any] = []
        for at in range(count):
            where = place.child(str(at))
            was = old[at] if at < len(old) else ABSENT
            if reading.has(f"{where.name}~remove"):
                continue
            value = self.item.take(reading, where, was)
            if was is ABSENT and (value is ABSENT or same(value, self.item.blank())):
                continue
            if len(taken) != at and _holds_mask(value):
                reading.complain(place.child(str(len(taken))), _MOVED)
                value = _unmasked(value)
            taken.append(value)
        return self.unset(before) if not taken and _means_unset(self, before) else taken

    def fits(self, value: Any) -> bool:
        """A list of such items."""
        if value is None:
            return self.nullable
        return isinstance(value, list) and all(self.item.fits(each) for each in value)

    def blank(self) -> Any:
        """An empty list, unless there is a default."""
        return [] if self.default is ABSENT and not self.nullable else super().blank()

    def _row(self, value: Any, place: Place, at: int, showing: Showing, *, spare: bool = False) -> Control:
        control = self.item.show(value, place.child(str(at), loose=spare), showing)
        control.label, control.spare, control.removable = f"{self.item.label} {at + 1}", spare, False
        return control


@dataclass(frozen=True, kw_only=True)
class Map(Field):
    """Names, and a value for each."""

    item: Field
    most: int | None = None

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """A row a name, and some to spare; JSON where a name cannot be typed."""
        current = self.initial(value)
        if current not in (ABSENT, None) and not self._are_rows(current):
            return _raw(self).show(value, place, showing)
        items = list((current or {}).items())
        room = max(0, (self.most or _MOST_ROWS) - len(items))
        spares = min(room, showing.spares(place, 2))
        rows = [*items, *[("", ABSENT)] * spares]
        children = [self._row(at, key, each, place, showing) for at, (key, each) in enumerate(rows)]
        return self.control("map", place, children=children, can_grow=room > spares)

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """What the rows hold. A row without a name was not used."""
        count = _count(reading, place)
        if count is None:
            return _raw(self).take(reading, place, before)
        old = before if isinstance(before, dict) else {}
        taken: dict[str, Any] = {}
        for at in range(count):
            where = _row_place(place, at)
            key = reading.text(f"{where.name}~key") or ""
            key = key if key in old else key.strip()
            if reading.has(f"{where.name}~remove"):
                continue
            value = self.item.take(reading, where, old.get(key, ABSENT) if key else ABSENT)
            if key in taken:
                reading.complain(place, f"{key!r} is there twice")
            elif key:
                taken[key] = "" if value is ABSENT else value
            elif not (value is ABSENT or same(value, self.item.blank())):
                reading.complain(place, "a value has no name: give it one, or empty its box")
        return self.unset(before) if not taken and _means_unset(self, before) else taken

    def fits(self, value: Any) -> bool:
        """Values of this kind, under names that can be typed."""
        if value is None:
            return self.nullable
        return self._are_rows(value) and all(map(self.item.fits, value.values()))

    def blank(self) -> Any:
        """No names, unless there is a default."""
        return {} if self.default is ABSENT and not self.nullable else super().blank()

    @staticmethod
    def _are_rows(value: Any) -> bool:
        """Whether boxes can hold it, right or wrong."""
        if not isinstance(value, dict) or any(isinstance(each, dict | list) for each in value.values()):
            return False
        return all(key and key == key.strip() and not {"\n", "\r"} & set(key) for key in value)

    def _row(self, at: int, key: str, value: Any, place: Place, showing: Showing) -> Control:
        control = self.item.show(value, _row_place(place, at), showing)
        control.row_key, control.spare = key, not key
        control.label = f"Value of {key}" if key else "Value"
        control.required = control.removable = False
        return control


def _means_unset(field: Field, before: Any) -> bool:
    """Whether emptying a list means that there is none; where an empty one was, it stays one."""
    return before is None or (field.nullable and before not in ([], {}))


def _row_place(place: Place, at: int) -> Place:
    return place.child(str(at), loose=True)


def _count(reading: Reading, place: Place) -> int | None:
    """How many rows the form had; None: it had none to fill in."""
    text = reading.text(f"{place.name}~rows")
    if text is None or not text.isascii() or not text.isdigit():
        return None
    return min(int(text[:6]), _MOST_ROWS)


def _unmasked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _unmasked(each) for key, each in value.items() if each != MASK}
    return [_unmasked(each) for each in value] if isinstance(value, list) else "" if value == MASK else value


def _holds_mask(value: Any) -> bool:
    if isinstance(value, dict | list):
        return any(map(_holds_mask, value.values() if isinstance(value, dict) else value))
    return bool(value == MASK)
