"""npm's ``oidc-provider``, a certified OpenID provider: installed once into the cache folder, started by a test."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.npm import installed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

HERE = Path(__file__).parent


@contextmanager
def openid_peer(
    clients: Sequence[Mapping[str, Any]], users: Mapping[str, Mapping[str, Any]], *, opaque: bool = False
) -> Iterator[str]:
    """Run it; gives its issuer. ``users``: claims by name, of clients that get tokens for themselves, too."""
    folder = installed(HERE, "oidc-provider")
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
