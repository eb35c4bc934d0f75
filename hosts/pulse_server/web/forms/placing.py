"""Complaints of the API find the fields that they are about."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulse_server.web.forms.basics import Control, Fault


@dataclass(frozen=True)
class Placed:
    """One complaint: about which field (empty: the whole form), and where on the page that is."""

    id: str
    label: str
    message: str


def place_faults(root: Control, faults: Iterable[Fault]) -> list[Placed]:
    """Put each fault beside the nearest field that its path leads to; tell them all."""
    placed = []
    for fault in faults:
        inside = _within(root, fault.field)
        names, control, rest = ([], root, fault.field) if inside is None else _nearest(root, inside)
        about = rest if control is not root or inside in (None, "") else fault.field
        if control.kind == "lines" and rest.isascii() and rest.isdigit():
            about = f"line {int(rest) + 1}"
        message = f"{about}: {fault.message}" if about else fault.message
        if control is root:
            placed.append(Placed("", "", message))
        else:
            control.faults.append(message)
            placed.append(Placed(control.id, ": ".join(names), message))
    return placed


def _within(root: Control, path: str) -> str | None:
    """The path below the form's own; None: it is about something else."""
    start = root.place.dotted
    if not start or path == start:
        return path.removeprefix(start)
    return path.removeprefix(f"{start}.") if path.startswith(f"{start}.") else None


def _nearest(control: Control, rest: str) -> tuple[list[str], Control, str]:
    """Go down as far as the path leads: labels on the way, the field, and what is left of the path."""
    if control.kind == "variants":
        return _in_alternative(control, rest)
    for key, child in sorted(_keyed(control), key=lambda each: -len(each[0])):
        if rest == key or rest.startswith(f"{key}."):
            names, found, left = _nearest(child, rest[len(key) + 1 :])
            return [child.label, *names], found, left
    return [], control, rest


def _in_alternative(control: Control, rest: str) -> tuple[list[str], Control, str]:
    """In the alternative that counts. Paths of unions may name it, as ``auth.basic.password`` does."""
    if control.chosen is None:
        return [], control, rest
    alternative = control.children[control.chosen]
    for path in (rest, rest.partition(".")[2]):
        names, found, left = _nearest(alternative, path)
        if found is not alternative:
            return names, found, left
    return [], control, rest


def _keyed(control: Control) -> list[tuple[str, Control]]:
    if control.kind == "map":
        return [(child.row_key, child) for child in control.children if child.row_key]
    return [(child.place.path[-1], child) for child in control.children]
