"""In CI a skipped test is a failed one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from support.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

SKIPS = {
    "in the test": "import pytest\ndef test_it(): pytest.skip('no peer')",
    "by a mark": "import pytest\n@pytest.mark.skipif(True, reason='no peer')\ndef test_it(): pass",
    "in a fixture": "import pytest\n@pytest.fixture\ndef peer(): pytest.skip('no peer')\ndef test_it(peer): pass",
    "as a module": "import pytest\npytest.skip('no peer', allow_module_level=True)",
}


def run(folder: Path, source: str, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
    folder.joinpath("test_sample.py").write_text(source)
    folder.joinpath("pytest.ini").write_text("[pytest]\n")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pytest.ini", *more, "test_sample.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("workers", [(), ("-n", "1", "--dist", "loadfile")], ids=["in one process", "in a worker"])
@pytest.mark.parametrize("source", SKIPS.values(), ids=SKIPS)
def test_a_skip_is_a_failure(tmp_path: Path, source: str, workers: tuple[str, ...]) -> None:
    failed = run(tmp_path, source, *workers, PYTEST_PLUGINS="support.no_skips")
    assert failed.returncode not in (0, 5), failed.stdout
    assert "no peer" in failed.stdout


def test_an_expected_failure_is_none(tmp_path: Path) -> None:
    source = "import pytest\n@pytest.mark.xfail\ndef test_it(): assert False"
    assert run(tmp_path, source, PYTEST_PLUGINS="support.no_skips").returncode == 0


def test_without_it_a_skip_is_a_skip(tmp_path: Path) -> None:
    assert run(tmp_path, SKIPS["in the test"]).returncode == 0


def test_ci_asks_for_it() -> None:
    assert "PULSE_NO_SKIPS=1" in ROOT.joinpath(".ci/run").read_text()
    assert "PULSE_NO_SKIPS" in ROOT.joinpath("tests/conftest.py").read_text()
