"""The files of this project, as a checkout holds them."""

from __future__ import annotations

import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The top folder of the checkout."""


@cache
def project_files() -> tuple[Path, ...]:
    """Every file that is, or would be, committed; generated and ignored ones are left out."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    return tuple(sorted(path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()))


def project_modules() -> list[Path]:
    """Every Python module."""
    return [path for path in project_files() if path.suffix == ".py"]


def named(path: Path) -> str:
    """A file's name for people."""
    return str(path.relative_to(ROOT))
