"""Who may import whom."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_ERROR, EXIT_STATUS_SUCCESS, lint_imports

from support.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def test_the_contracts_hold(capsys: pytest.CaptureFixture[str]) -> None:
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_a_broken_contract_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: the test above can fail."""
    config = tmp_path / "contracts.toml"
    config.write_text(
        textwrap.dedent("""
        [tool.importlinter]
        root_packages = ["pulse_core", "pulse_heartbeat"]

        [[tool.importlinter.contracts]]
        name = "plugins know nothing of core"
        type = "forbidden"
        source_modules = ["pulse_heartbeat"]
        forbidden_modules = ["pulse_core"]
        """)
    )
    monkeypatch.chdir(tmp_path)
    assert lint_imports(config_filename=str(config), no_cache=True) == EXIT_STATUS_ERROR


@pytest.mark.parametrize(("library", "knowers"), [("stevedore", {"pulse_core.plugins"})])
def test_one_module_alone_knows_a_library(library: str, knowers: set[str]) -> None:
    packages = ("pulse_core", "pulse_server", "pulse_postgres")
    graph = grimp.build_graph(*packages, include_external_packages=True, cache_dir=None)
    assert graph.find_modules_that_directly_import(library) == knowers
