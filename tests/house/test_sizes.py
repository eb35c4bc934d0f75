"""A module is one noun or one verb; a function fits on a screen."""

from __future__ import annotations

import ast

import pytest

from support.tree import named, project_files, project_modules

MODULE_LINES = 400
FUNCTION_LINES = 50
FILE_BYTES = 300_000


def long_functions(source: str) -> list[str]:
    return [
        f"{node.name} ({node.end_lineno - node.lineno + 1} lines)"
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > FUNCTION_LINES
    ]


def test_no_module_is_too_long() -> None:
    lengths = {named(path): len(path.read_text().splitlines()) for path in project_modules()}
    assert {name: length for name, length in lengths.items() if length > MODULE_LINES} == {}


def test_no_function_is_too_long() -> None:
    found = {named(path): long_functions(path.read_text()) for path in project_modules()}
    assert {name: functions for name, functions in found.items() if functions} == {}


@pytest.mark.parametrize(("lines", "seen"), [(FUNCTION_LINES, False), (FUNCTION_LINES + 1, True)])
def test_a_long_function_is_seen(lines: int, seen: bool) -> None:
    assert bool(long_functions("async def f():\n" + "    x = 1\n" * (lines - 1))) is seen


def test_no_file_is_big() -> None:
    sizes = {named(path): path.stat().st_size for path in project_files()}
    assert {name: size for name, size in sizes.items() if size > FILE_BYTES} == {}
