"""The normative statements of both MQTT standards, what we make of each, and which tests bear their numbers."""

from __future__ import annotations

import ast
import tomllib
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from support.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Test = TypeVar("Test", bound="Callable[..., Any]")


class Verdict(StrEnum):
    """What we make of a statement."""

    SUPPORTED = "supported"
    """It holds here, and a test proves it."""
    REFUSED = "refused"
    """It does not hold, by design."""
    NOT_APPLICABLE = "not applicable"
    """It binds somebody else, or something that we do not do."""


class Statement(Struct, frozen=True, forbid_unknown_fields=True):
    """One normative statement."""

    verdict: Verdict
    demands: str
    """What it demands, in our words."""
    why: str = ""
    """Why it is refused or not applicable; of a supported one, where that ends."""


class Section(Struct, frozen=True, forbid_unknown_fields=True):
    """Statements that belong together."""

    title: str
    statements: dict[str, Statement]
    """By number, such as ``MQTT-3.1.0-1``."""


class Standard(Struct, frozen=True, forbid_unknown_fields=True):
    """All statements of one version."""

    title: str
    source: str
    section: list[Section] = []

    @property
    def statements(self) -> dict[str, Statement]:
        return {number: one for section in self.section for number, one in section.statements.items()}


STANDARDS = {"statement311": "mqtt311_statements.toml", "statement5": "mqtt5_statements.toml"}
"""The decorator that tests bear, and where the statements stand."""


@cache
def standard(decorator: str) -> Standard:
    """Read the statements behind a decorator."""
    text = ROOT.joinpath("tests/support", STANDARDS[decorator]).read_text()
    return msgspec.convert(tomllib.loads(text), Standard)


def statement311(*numbers: str) -> Callable[[Test], Test]:
    """Mark a test as proof of statements of MQTT 3.1.1. ``pytest -k MQTT-3.1.0-1`` finds it."""
    return _bearing(numbers)


def statement5(*numbers: str) -> Callable[[Test], Test]:
    """Mark a test as proof of statements of MQTT 5.0. ``pytest -k MQTT-3.1.0-1`` finds it."""
    return _bearing(numbers)


def _bearing(numbers: tuple[str, ...]) -> Callable[[Test], Test]:
    def mark(test: Test) -> Test:
        vars(test).update(dict.fromkeys(numbers, True))  # pytest's -k looks at a function's attributes
        return test

    return mark


@cache
def proofs(decorator: str) -> dict[str, list[tuple[Path, str]]]:
    """Which tests bear which numbers, read from their source."""
    found: dict[str, list[tuple[Path, str]]] = {}
    for path in sorted(ROOT.joinpath("tests").glob("*/test_*.py")):
        source = path.read_text()
        if decorator not in source:
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                for number in _numbers(node, decorator):
                    found.setdefault(number, []).append((path, node.name))
    return found


def _numbers(node: ast.FunctionDef | ast.AsyncFunctionDef, decorator: str) -> list[str]:
    return [
        part.value
        for call in node.decorator_list
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == decorator
        for part in ast.walk(call)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    ]
