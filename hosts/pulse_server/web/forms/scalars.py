"""Fields with one value: texts, secrets, numbers, yes or no, one of several."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pulse_core.masking import MASK
from pulse_server.web.forms.basics import ABSENT, Control, Field, Option, Place, Reading, Showing, among, plain, same

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONG = 300
"""A text that may be longer gets several lines."""
_RADIOS = 3
"""More alternatives than this are a list to choose from."""
_INTEGER = re.compile(r"[+-]?[0-9]{1,300}")
_NUMBER = re.compile(r"[+-]?([0-9]{1,300}(\.[0-9]{0,300})?|\.[0-9]{1,300})([eE][+-]?[0-9]{1,4})?")
_LOCAL = "datetime-local"
_LOCAL_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,3})?)?")
_KINDS = {"email": "email", "uri": "url", "url": "url", "idn-email": "email", "date-time": _LOCAL}
_KEPT = "~kept"


@dataclass(frozen=True, kw_only=True)
class Text(Field):
    """A text."""

    format: str = ""
    shortest: int | None = None
    longest: int | None = None

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """One line, or several where there are, or may be, many."""
        text = _shown(self.initial(value))
        attrs: dict[str, Any] = {"minlength": self.shortest or None, "maxlength": self.longest}
        if "\n" in text or "\r" in text or ((self.longest or 0) > _LONG and not self.format):
            return self.control("area", place, value=plain(text), attrs={**attrs, "rows": 4})
        harmless = text == text.strip() and text.isascii()
        kind = _KINDS.get(self.format, "text") if harmless else "text"
        if kind == _LOCAL and text and not _LOCAL_TIME.fullmatch(text):
            kind = "text"  # a browser would show nothing of it
        attrs |= {"type": kind, "spellcheck": "false", "autocomplete": "off"}
        return self.control("input", place, value=text, attrs=attrs)

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """What was typed. An empty text is one only where it can be told from none."""
        text = reading.text(place.name)
        shown = self.initial(before)
        if text is None or (isinstance(shown, str) and text == plain(shown)):
            return before if text is None else shown
        if text:
            return text
        absent = self.nullable or self.required or self.shortest or self.default is ABSENT
        return self.unset(before) if absent else ""

    def fits(self, value: Any) -> bool:
        """Any text."""
        return isinstance(value, str) or (self.nullable and value is None)


@dataclass(frozen=True, kw_only=True)
class Secret(Field):
    """A text that goes in and never comes out."""

    longest: int | None = None

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """An empty box; whether something is stored can be seen."""
        stored = value == MASK
        attrs = {"maxlength": self.longest, "autocomplete": "new-password"}
        control = self.control("secret", place, attrs=attrs, stored=stored, removable=stored and not self.required)
        control.required = control.required and not stored
        return control

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """What was typed; nothing typed keeps what is stored, unless it is to be removed."""
        text = reading.text(place.name)
        if text:
            return text
        if before == MASK:
            kept = reading.has(f"{place.name}~stored") and not reading.has(f"{place.name}~remove")
            return before if kept or text is None else self.unset(ABSENT)
        return before

    def fits(self, value: Any) -> bool:
        """Any text."""
        return isinstance(value, str) or (self.nullable and value is None)

    def blank(self) -> Any:
        """Nothing: a secret has no default that a form could show."""
        return ABSENT


@dataclass(frozen=True, kw_only=True)
class Number(Field):
    """A number."""

    whole: bool
    least: float | None = None
    most: float | None = None
    step: float | None = None

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """A box for numbers, with its limits."""
        step = self.step or (1 if self.whole else "any")
        attrs = {"type": "number", "min": _shown(self.least), "max": _shown(self.most), "step": _shown(step)}
        text = _shown(self.initial(value))
        return self.control("input", place, value=text, attrs={name: each or None for name, each in attrs.items()})

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """The number; what is none is left to the API to refuse."""
        text = reading.text(place.name)
        if text is None or text == _shown(before):
            return before
        return number(text) if text.strip() else self.unset(before)

    def fits(self, value: Any) -> bool:
        """A number of this kind."""
        kinds: tuple[type, ...] = (int,) if self.whole else (int, float)
        return (isinstance(value, kinds) and not isinstance(value, bool)) or (self.nullable and value is None)


@dataclass(frozen=True, kw_only=True)
class Flag(Field):
    """Yes or no."""

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """A box to tick."""
        return self.control("flag", place, attrs={"checked": self.initial(value) is True})

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """Whether it is ticked."""
        return reading.has(place.name) if reading.has(f"{place.name}~shown") else before

    def fits(self, value: Any) -> bool:
        """True or false."""
        return isinstance(value, bool)

    def blank(self) -> Any:
        """No, unless the default says yes."""
        return self.default is True


@dataclass(frozen=True, kw_only=True)
class Choice(Field):
    """One of several values. Null is one of them where it may be."""

    values: tuple[Any, ...]
    labels: tuple[str, ...] = ()

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """Buttons to choose with when there are few, else a list."""
        current = self.initial(value)
        tokens = self.tokens()
        options = [
            Option(token, label, same(each, current))
            for token, label, each in zip(tokens, self.labels or map(_label, self.values), self.values, strict=True)
        ]
        known = among(current, self.values)
        if not known and current not in (ABSENT, None):
            options.append(Option(_KEPT, f"{_label(current)} (as it is)", chosen=True))
        if self.nullable or (not known and current in (ABSENT, None)):
            options.insert(0, Option("", "not set" if self.nullable else "choose …", current in (ABSENT, None)))
        few = len(options) <= _RADIOS and not (self.nullable or self.labels or options[0].token == "")
        return self.control("radios" if few else "select", place, options=options)

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """What was chosen."""
        token = reading.text(place.name)
        if token is None or token == _KEPT:
            return before
        if token == "":
            return self.unset(before)
        return self.value_of(token)

    def value_of(self, token: str) -> Any:
        """The value that stands behind a token; an unknown one is left to the API to refuse."""
        return dict(zip(self.tokens(), self.values, strict=True)).get(token, token)

    def tokens(self) -> Sequence[str]:
        """What the form sends for each value: the value as text, its number where that would not tell them apart."""
        texts = [_label(each) for each in self.values]
        clear = len(set(texts)) == len(texts) and not {"", _KEPT} & set(texts)
        clear = clear and all(text == text.strip() and text.isprintable() for text in texts)
        return texts if clear else [f"~{at}" for at in range(len(texts))]

    def fits(self, value: Any) -> bool:
        """One of the values."""
        return among(value, self.values) or (self.nullable and value is None)


@dataclass(frozen=True, kw_only=True)
class Constant(Field):
    """What is always the same: it says which alternative this is. Nothing is drawn of it."""

    value: Any

    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """Nothing."""
        return self.control("nothing", place)

    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """The value."""
        return self.value

    def fits(self, value: Any) -> bool:
        """The value."""
        return same(value, self.value)

    def blank(self) -> Any:
        """The value."""
        return self.value


def number(text: str) -> Any:
    """A number that somebody typed, or their text as it is."""
    stripped = text.strip()
    if _INTEGER.fullmatch(stripped):
        return int(stripped)
    if _NUMBER.fullmatch(stripped) and math.isfinite(value := float(stripped)):
        return value
    return text


def _shown(value: Any) -> str:
    """A value in a box."""
    if value is None or value is ABSENT:
        return ""
    return str(value) if isinstance(value, str | int | float) else json.dumps(value)


def _label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
