"""The templates of mails: a small, bounded part of Jinja.

A customer's template runs in our process, so the language is cut down to what cannot run away: values, tests, a few
filters, ``if`` and ``for`` over values. There are no calls, no arithmetic, no assignments and no Python attributes:
what is left takes time and room in proportion to the template times the values, both of which are limited.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any

from jinja2 import ChainableUndefined, TemplateError, meta, nodes
from jinja2.runtime import LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pulse_email.filters import FILTERS, LONGEST_RESULT, TemplateProblemError, bounded, shown

VARIABLES = (
    "severity",
    "severity_lower",
    "alert_type",
    "device_id",
    "site_id",
    "tenant_id",
    "alert_id",
    "message",
    "timestamp",
    "event",
    "details",
)
"""What a template may name, as ``{{ name }}`` or ``{name}``."""

LONGEST_TEMPLATE = 20_000
_LONGEST_VALUE = 4_000
_MOST_CHARACTERS = 20_000
_COST_OF_AN_ITEM = 20
_BIGGEST_NUMBER = 2**64
_MOST_ITEMS = 100
_DEEPEST_VALUE = 6
_DEEPEST_LOOP = 2
_DEEPEST_EXPRESSION = 40
_MOST_LOOPS = 10
_PATIENCE_S = 2.0
_SINGLE_BRACES = re.compile(r"(?<!\{)\{(" + "|".join(VARIABLES) + r")\}(?!\})")

_NODES = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.Name,
    nodes.Const,
    nodes.Tuple,
    nodes.List,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Filter,
    nodes.Keyword,
    nodes.Test,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.CondExpr,
    nodes.If,
    nodes.For,
)
_TESTS = ("defined", "undefined", "none", "string", "number", "mapping", "sequence", "boolean")


class Template:
    """A checked template. Made by :func:`template`, which keeps it."""

    def __init__(self, source: str, *, html: bool) -> None:
        """:raises TemplateProblemError: with what is wrong."""
        if len(source) > LONGEST_TEMPLATE:
            raise TemplateProblemError(f"a template has at most {LONGEST_TEMPLATE} characters")
        environment = _HTML if html else _TEXT
        try:
            tree = environment.parse(_SINGLE_BRACES.sub(r"{{ \1 }}", source))
            _check(tree)
            self._compiled = environment.from_string(tree)
        except TemplateError as error:
            line = getattr(error, "lineno", None)
            raise TemplateProblemError(f"{f'line {line}: ' if line else ''}{error.message}") from None
        except (RecursionError, MemoryError, SyntaxError, OverflowError):
            raise TemplateProblemError("this template is nested too deeply") from None

    def render(self, values: Mapping[str, Any]) -> str:
        """Fill in ``values``. Raises TemplateProblemError if it does not work out, or grows over the limit."""
        trimmer = _Trimmer()
        trimmed = {name: trimmer.trimmed(value) for name, value in values.items()}
        try:
            return "".join(_limited(self._compiled.generate(trimmed)))
        except TemplateProblemError:
            raise
        except Exception as error:  # noqa: BLE001 - filters raise what they please for values they do not fit
            raise TemplateProblemError(f"{type(error).__name__}: {error}") from None


@lru_cache(maxsize=512)
def template(source: str, *, html: bool) -> Template:
    """Return the checked template. With ``html``, values are escaped. Raises TemplateProblemError."""
    return Template(source, html=html)


def _limited(pieces: Iterable[str]) -> Iterator[str]:
    deadline_s, room = time.thread_time() + _PATIENCE_S, LONGEST_RESULT
    for piece in pieces:
        room -= len(piece)
        if room < 0 or time.thread_time() > deadline_s:
            raise TemplateProblemError(f"the result has more than {LONGEST_RESULT} characters, or takes too long")
        yield piece


class _Trimmer:
    """Cuts values down to what a mail can show, so that loops and texts stay small whatever a device reports."""

    def __init__(self) -> None:
        self._room = _MOST_CHARACTERS

    def trimmed(self, value: Any, depth: int = _DEEPEST_VALUE) -> Any:
        """Return JSON-like ``value``; what there is no room for is an ellipsis."""
        if isinstance(value, Mapping | list | tuple):
            if depth == 0 or self._room <= 0:
                return "…"
            if isinstance(value, Mapping):
                items = islice(value.items(), _MOST_ITEMS)
                return {self._text(str(key)): self.trimmed(item, depth - 1) for key, item in items}
            return [self.trimmed(item, depth - 1) for item in value[:_MOST_ITEMS]]
        if isinstance(value, bool | float | None):
            return value
        self._room -= _COST_OF_AN_ITEM
        short = isinstance(value, int) and abs(value) < _BIGGEST_NUMBER
        return value if short else self._text(str(value))

    def _text(self, text: str) -> str:
        longest = max(0, min(_LONGEST_VALUE, self._room))
        self._room -= min(len(text), longest) + _COST_OF_AN_ITEM
        return text if len(text) <= longest else text[:longest] + "…"


def _check(tree: nodes.Template) -> None:
    loops = sum(1 for _ in tree.find_all(nodes.For))
    if loops > _MOST_LOOPS:
        raise TemplateProblemError(f"a template has at most {_MOST_LOOPS} loops")
    _check_node(tree, 0, 0)
    unknown = sorted({*meta.find_undeclared_variables(tree), *_self(tree)} - {*VARIABLES, "loop"})
    if unknown:
        raise TemplateProblemError(f"{unknown[0]!a} is not a variable; there are: {', '.join(VARIABLES)}")


def _self(tree: nodes.Template) -> set[str]:
    """Return the one name that jinja always knows, if it is used."""
    return {node.name for node in tree.find_all(nodes.Name) if node.name == "self"}


def _check_node(node: nodes.Node, depth: int, loops: int) -> None:
    if not isinstance(node, _NODES):
        raise TemplateProblemError(f"line {node.lineno}: {type(node).__name__.lower()} is not available in templates")
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        raise TemplateProblemError(f"line {node.lineno}: no filter {node.name!a}; there are: {', '.join(FILTERS)}")
    if isinstance(node, nodes.Test) and node.name not in _TESTS:
        raise TemplateProblemError(f"line {node.lineno}: no test {node.name!a}; there are: {', '.join(_TESTS)}")
    if isinstance(node, nodes.For):
        loops += 1
        if loops > _DEEPEST_LOOP or node.recursive:
            raise TemplateProblemError(f"line {node.lineno}: loops are nested at most {_DEEPEST_LOOP} deep")
    if depth > _DEEPEST_EXPRESSION:
        raise TemplateProblemError(f"line {node.lineno}: this is nested too deeply")
    for child in node.iter_child_nodes():
        _check_node(child, depth + 1, loops)


class _Environment(ImmutableSandboxedEnvironment):
    """Dots and brackets look into values, never at Python attributes."""

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, LoopContext) and attribute in ("index", "index0", "first", "last", "length"):
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, Mapping) and isinstance(argument, str | int) and argument in obj:
            return obj[argument]
        if isinstance(obj, list) and isinstance(argument, int) and -len(obj) <= argument < len(obj):
            return obj[argument]
        return self.undefined(obj=obj, name=str(argument))


def _environment(*, html: bool) -> _Environment:
    environment = _Environment(
        autoescape=html, undefined=ChainableUndefined, finalize=shown, trim_blocks=True, lstrip_blocks=True
    )
    environment.globals.clear()
    environment.filters = {name: bounded(work) for name, work in FILTERS.items()}
    environment.tests = {name: environment.tests[name] for name in _TESTS}
    return environment


_HTML = _environment(html=True)
_TEXT = _environment(html=False)
