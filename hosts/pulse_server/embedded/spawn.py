"""Command lines of PostgreSQL's programs, started through :mod:`pulse_server.embedded.child`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pulse_core.errors import StoreUnavailable
from pulse_server.embedded import child, cluster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_server.embedded.account import Account

WATCH = "PULSE_EMBEDDED_WATCH"
"""In the environment: do as if the kernel had no PR_SET_PDEATHSIG. For tests of that other way."""

_HERE = Path("/proc/self/cwd")


class Programs(NamedTuple):
    """Where the programs lie, and as whom they run (None: as we do)."""

    install: Path
    account: Account | None

    def postgres(self, data: Path, settings: Mapping[str, str], said: int) -> subprocess.Popen[bytes]:
        """Start a server on a cluster; what it says goes to the file descriptor ``said``."""
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [str(self.install / "bin" / "postgres"), "-D", self._named(data), *options]
        return self._start(data, command, stdin=subprocess.DEVNULL, stdout=said, stderr=said)

    def initdb(self, data: Path, password_file: Path) -> None:
        """Make a cluster in an empty folder; sorts and compares text by code point, as every machine does alike."""
        command = [
            str(self.install / "bin" / "initdb"),
            f"--pgdata={self._named(data)}",
            f"--pwfile={password_file}",
            f"--username={cluster.SUPERUSER}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
        ]
        with self._start(data, command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            said, _ = process.communicate()
        if process.returncode != 0:
            raise StoreUnavailable(f"initdb failed:\n{said.decode(errors='replace')[-2000:]}")

    def _named(self, data: Path) -> str:
        """Name the folder as PostgreSQL can use it: the lent account may not be able to walk there from the root."""
        return str(_HERE if self.account and _HERE.exists() else data)

    def _start(self, folder: Path, command: list[str], **pipes: Any) -> subprocess.Popen[bytes]:
        whom = [str(self.account.uid), str(self.account.gid)] if self.account else ["-", "-"]
        kept = {name: os.environ[name] for name in (WATCH,) if name in os.environ}
        return subprocess.Popen(  # noqa: S603 - our own child module
            [sys.executable, "-I", "-S", child.__file__, str(os.getpid()), *whom, str(folder), *command],
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC", **kept},
            start_new_session=True,
            **pipes,
        )
