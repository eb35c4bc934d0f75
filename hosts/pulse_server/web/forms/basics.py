"""What every kind of field has in common: where it stands, what is drawn of it, how it reads what was sent.

A browser changes what it is given: lines end otherwise, numbers are written otherwise. So each field compares what was
sent with what an untouched form would have sent, and then gives back the value that it was shown, unchanged.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from markupsafe import Markup


class _Absent:
    """The one object of its kind."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False


ABSENT: Final[Any] = _Absent()
"""No value at all, which is another thing than null."""


class Typed(str):
    """What somebody typed and could not be read: shown again as it is, and refused by the API as the text it is."""

    __slots__ = ()


class Submitted(Protocol):
    """What a form was sent with: a werkzeug ``MultiDict`` is one."""

    def get(self, name: str, /) -> str | None:
        """The first value of that name."""

    def getlist(self, name: str, /) -> Sequence[str]:
        """Every value of that name."""


@dataclass(frozen=True)
class Fault:
    """What is wrong, in the API's words. ``field`` is the dotted path of an RFC 9457 answer of ours."""

    field: str
    message: str


@dataclass(frozen=True)
class Place:
    """Where a field stands: ``path`` in the JSON, ``name`` in the form (two alternatives may share a path).

    Names hold letters, digits, ``_-.~`` and nothing else, whatever the keys are: browsers change other names.
    """

    path: tuple[str, ...] = ()
    name: str = ""
    loose: bool = False
    """Nothing here must be filled in: it is one of several alternatives, or a row to spare."""

    def child(self, key: str, *, loose: bool = False) -> Place:
        """The place of a part."""
        escaped = re.sub(r"[^A-Za-z0-9_-]", lambda found: f"~{ord(found[0]):x}~", key)
        name = f"{self.name}.{escaped}" if self.path else escaped
        return Place((*self.path, key), name, self.loose or loose)

    def variant(self, number: int) -> Place:
        """The place of an alternative."""
        return replace(self, name=f"{self.name}~v{number}", loose=True)

    @property
    def id(self) -> str:
        """The element's id: as unique as the name is, and fit for references and links."""
        return f"f-{self.name}"

    @property
    def dotted(self) -> str:
        """The path as the API names it."""
        return ".".join(self.path)


@dataclass
class Option:
    """One of the values that can be chosen."""

    token: str
    label: str
    chosen: bool = False


@dataclass
class Control:
    """What is drawn of a field. ``kind`` names the macro."""

    kind: str
    place: Place
    label: str
    help: Markup | str = ""
    required: bool = False
    value: str = ""
    attrs: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    options: list[Option] = field(default_factory=list)
    children: list[Control] = field(default_factory=list)
    stored: bool = False
    """A secret is there; it is not shown, and stays when nothing is typed."""
    removable: bool = False
    spare: bool = False
    row_key: str | None = None
    """The name of a row of a map."""
    chosen: int | None = None
    """Which of the children is the alternative that counts."""
    can_grow: bool = False
    faults: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Its name in the form."""
        return self.place.name

    @property
    def id(self) -> str:
        """Its id on the page."""
        return self.place.id

    @property
    def described_by(self) -> str:
        """The ids of its help and of what is wrong with it."""
        told = {"help": self.help, "stored": self.stored, "fault": self.faults}
        return " ".join(f"{self.id}:{what}" for what, there in told.items() if there)


@dataclass
class Reading:
    """One form as it was sent, and what could not be read of it."""

    sent: Submitted
    faults: list[Fault] = field(default_factory=list)

    def text(self, name: str) -> str | None:
        """What was sent under that name, with the line ends that JSON has; None: nothing, not even an empty text."""
        found = self.sent.get(name)
        return None if found is None else plain(found)

    def has(self, name: str) -> bool:
        """Whether a box of that name was ticked."""
        return self.sent.get(name) is not None

    def complain(self, place: Place, message: str) -> None:
        """Say that something cannot be read."""
        self.faults.append(Fault(place.dotted, message))


@dataclass
class Showing:
    """How a form is being shown: how many rows more than usual, by their names."""

    more: frozenset[str] = frozenset()

    def spares(self, place: Place, usual: int) -> int:
        """How many rows to spare."""
        return usual + 4 if place.name in self.more else usual


@dataclass(frozen=True, kw_only=True)
class Field(ABC):
    """One field of a form: a kind of value."""

    label: str
    help: str = ""
    required: bool = False
    nullable: bool = False
    default: Any = ABSENT

    @abstractmethod
    def show(self, value: Any, place: Place, showing: Showing) -> Control:
        """What to draw of it. ``value`` is ABSENT in an empty form, and never to be trusted."""

    @abstractmethod
    def take(self, reading: Reading, place: Place, before: Any) -> Any:
        """The value that was sent, or ABSENT. ``before`` is what the form was shown with."""

    @abstractmethod
    def fits(self, value: Any) -> bool:
        """Whether a value is of this kind; not whether it is valid."""

    def blank(self) -> Any:
        """What an untouched empty form makes of it."""
        return self.unset(ABSENT) if self.default is None else self.default

    def unset(self, before: Any) -> Any:
        """What it means that nothing is there. Null is said only where leaving it out would mean another thing."""
        if before is None:
            return None
        return None if self.nullable and self.default not in (ABSENT, None) else ABSENT

    def control(self, kind: str, place: Place, **more: Any) -> Control:
        """What is drawn of every field."""
        required = self.required and not place.loose
        return Control(kind, place, self.label, rich(self.help), required=required, **more)

    def initial(self, value: Any) -> Any:
        """What an empty form begins with."""
        return self.default if value is ABSENT else value


def plain(text: str) -> str:
    """Give a text the line ends that browsers show it with."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def same(one: Any, other: Any) -> bool:
    """Whether two JSON values are the same: true is not 1."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(each, other[key]) for key, each in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and bool(one == other)


def among(value: Any, values: Iterable[Any]) -> bool:
    """Whether a JSON value is one of ``values``."""
    return any(same(value, each) for each in values)


def rich(text: str) -> Markup:
    """A docstring as HTML: what stands in backticks is code, what stands in stars is stressed, nothing else is."""
    from markupsafe import Markup, escape  # noqa: PLC0415

    safe = str(escape(" ".join(text.split())))
    coded = re.split(r"``(.+?)``|`(.+?)`", safe)
    parts = []
    for number, part in enumerate(coded):
        if number % 3 == 0:
            parts.append(re.sub(r"(?<![\w*])\*([^*\s][^*]*)\*(?![\w*])", r"<em>\1</em>", part or ""))
        elif part is not None:
            parts.append(f"<code>{part}</code>")
    return Markup("".join(parts))  # noqa: S704 - everything in it is escaped
