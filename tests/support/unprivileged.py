"""Running Python as an ordinary user although the tests run as root, and although Python may live in root's home."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NOBODY = 65534

# A mount namespace of its own, in which the folder that only root may enter holds nothing but the interpreter.
_OPEN_A_WAY = """
set -e
closed=$1 kept=$2 aside=$3; shift 3
mount --bind "$kept" "$aside"
mount -t tmpfs -o mode=755 none "$closed"
mkdir -p "$kept"
mount --move "$aside" "$kept"
exec setpriv --reuid=65534 --regid=65534 --clear-groups "$@"
"""


def command(aside: Path, *arguments: str) -> list[str]:
    """Return the command line that runs our interpreter with ``arguments`` as nobody; skips where that cannot be.

    :param aside: an empty folder for a moment's use.
    """
    if os.geteuid() != 0:
        return [sys.executable, *arguments]
    kept = Path(sys.base_prefix).resolve()
    closed = next((folder for folder in reversed(kept.parents) if not folder.stat().st_mode & 0o001), None)
    if closed is None:
        return ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", sys.executable, *arguments]
    needed = ["unshare", "-m", "mount", "--version"]
    if (
        not all(map(shutil.which, ("unshare", "mount", "setpriv")))
        or subprocess.run(needed, capture_output=True, check=False).returncode
    ):
        pytest.skip(f"nobody cannot reach {kept}, and there are no mount namespaces here to open a way")
    script = ["unshare", "-m", "sh", "-c", _OPEN_A_WAY, "sh", str(closed), str(kept), str(aside)]
    return [*script, sys.executable, *arguments]
