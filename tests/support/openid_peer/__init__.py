"""npm's ``oidc-provider``, a certified OpenID provider: installed once into the cache folder, started by a test."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.tree import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent
CACHE = ROOT / ".cache"
_INSTALL_WITHIN_S = 150


def installed() -> Path:
    """The folder with node_modules; skips the test, with the reason, when it cannot be had."""
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: apt-get install nodejs npm)")
    lock = HERE / "package-lock.json"
    folder = CACHE / f"openid-peer-{hashlib.sha256(lock.read_bytes()).hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if not (folder / ".installed").exists():
            for name in ("package.json", "package-lock.json"):
                shutil.copy(HERE / name, folder)
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
                pytest.skip(f"npm cannot install oidc-provider: {done.stderr[-500:]}")
            (folder / ".installed").touch()
    return folder


@contextmanager
def openid_peer(
    clients: Sequence[Mapping[str, Any]], users: Mapping[str, Mapping[str, Any]], *, opaque: bool = False
) -> Iterator[str]:
    """Run it; gives its issuer. ``users``: claims by name, of clients that get tokens for themselves, too."""
    folder = installed()
    settings = json.dumps({"clients": clients, "users": users, "opaque": opaque})
    with (folder / f"log-{os.getpid()}").open("wb") as log:
        process = subprocess.Popen(
            ["node", str(HERE / "server.mjs"), str(folder), settings],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        assert process.stdout is not None
        line = next((each for each in process.stdout if each.startswith(b"{")), b"")
        assert line, (folder / f"log-{os.getpid()}").read_text()
        yield json.loads(line)["issuer"]
    finally:
        process.terminate()
        process.wait(20)
        assert process.stdout is not None
        process.stdout.close()
