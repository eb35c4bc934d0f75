"""Hooks are the product: each is documented with its exact signature, tested, and used by a real plugin."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core import hookspecs
from pulse_core.config import Config, PluginsConfig
from pulse_core.contributions import KINDS
from pulse_core.plugins import load_plugins
from pulse_server.reference import bundled_plugins, configuration_page, hooks_page, plugins_page, signature
from support.tree import ROOT, project_modules

if TYPE_CHECKING:
    from collections.abc import Callable

HOOKS: dict[str, Callable[..., Any]] = {
    name: function
    for name, function in vars(hookspecs).items()
    if inspect.isfunction(function) and hasattr(function, "pulse_spec")
}
REFERENCE = ROOT / "docs/reference"


def test_there_are_hooks_and_the_loader_knows_them_all() -> None:
    assert {kind.hook for kind in KINDS} == set(HOOKS)
    assert len(HOOKS) >= 4


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_is_documented_with_its_exact_signature(name: str) -> None:
    page = REFERENCE.joinpath("hooks.md").read_text()
    assert f"## {name}\n\n```python\n@hookimpl\n{signature(HOOKS[name])}\n```" in page
    assert inspect.getdoc(HOOKS[name])


@pytest.mark.parametrize("name", HOOKS)
def test_a_hook_has_a_test(name: str) -> None:
    tests = [path for path in project_modules() if path.is_relative_to(ROOT / "tests/core")]
    assert [path for path in tests if name in path.read_text()]


@pytest.mark.parametrize("name", HOOKS)
def test_a_bundled_plugin_uses_a_hook(name: str) -> None:
    hook = getattr(load_plugins(Config()).manager.hook, name)
    assert hook.get_hookimpls()


@pytest.mark.parametrize(
    ("page", "made"),
    [
        ("hooks.md", hooks_page),
        ("configuration.md", configuration_page),
        ("plugins.md", lambda: plugins_page(load_plugins(Config(plugins=PluginsConfig(enabled=bundled_plugins()))))),
    ],
)
def test_the_reference_is_what_the_code_says(page: str, made: Callable[[], str]) -> None:
    assert REFERENCE.joinpath(page).read_text() == made(), "run `make docs`"
