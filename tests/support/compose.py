"""``contrib/compose`` as Compose would read it: YAML, with the variables of a fresh ``.env`` put in."""

from __future__ import annotations

import importlib.util
import re
from typing import TYPE_CHECKING, Any

import yaml

from support.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

COMPOSE = ROOT / "contrib/compose"
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


def script(name: str) -> ModuleType:
    """One of the scripts that lie there."""
    spec = importlib.util.spec_from_file_location(f"compose_{name}", COMPOSE / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def source() -> str:
    """``compose.yaml`` as it is written."""
    return (COMPOSE / "compose.yaml").read_text()


def variables(text: str) -> dict[str, str]:
    """The names and values of an ``.env``."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def fresh() -> dict[str, str]:
    """What a new ``.env`` holds."""
    return variables(script("init").filled((COMPOSE / ".env.example").read_text()))


def read(values: dict[str, str]) -> dict[str, Any]:
    """The whole file with these variables. Raises KeyError for one that is needed and empty or missing."""

    def value(found: re.Match[str]) -> str:
        name, kind, default = found.groups()
        if kind == "-":
            return values.get(name) or default
        if not values.get(name):
            raise KeyError(name)
        return values[name]

    loaded: dict[str, Any] = yaml.safe_load(source())
    filled: dict[str, Any] = _each(loaded, lambda text: VARIABLE.sub(value, text).replace("$$", "$"))
    return filled


def _each(node: Any, change: Any) -> Any:
    """As Compose does it: in values, after YAML was read."""
    if isinstance(node, dict):
        return {key: _each(value, change) for key, value in node.items()}
    if isinstance(node, list):
        return [_each(value, change) for value in node]
    return change(node) if isinstance(node, str) else node


def mounted(service: dict[str, Any]) -> list[tuple[Path, str]]:
    """The files of ours that a service is given, and where."""
    pairs = [text.split(":")[:2] for text in service.get("volumes", ())]
    return [((COMPOSE / here).resolve(), there) for here, there in pairs if here.startswith(".")]
