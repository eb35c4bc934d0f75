"""Programs of npm's that tests talk to: installed once into the cache folder, as their lock file says."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

CACHE = ROOT / ".cache"
_INSTALL_WITHIN_S = 150


def installed(here: Path, what: str) -> Path:
    """The folder with node_modules for the lock file in ``here``; skips the test, with the reason, if there is none."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: apt-get install nodejs npm)")
    lock = here / "package-lock.json"
    folder = CACHE / f"{here.name.replace('_', '-')}-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (folder / ".installed").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(here / name, folder)
            done = subprocess.run(
                ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_INSTALL_WITHIN_S,
                check=False,
            )
            if done.returncode:
                pytest.skip(f"npm cannot install {what}: {done.stderr[-500:]}")
            (folder / ".installed").touch()
    return folder
