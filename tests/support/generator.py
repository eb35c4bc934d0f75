"""Starts and stops load generators."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Mapping


class Generator:
    """A load generator process; see :mod:`support.loadgen`."""

    def __init__(self, folder: Path, name: str, spec: Mapping[str, Any]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.json"
        path.write_text(json.dumps(spec))
        self._output = folder / f"{name}.out"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "support.loadgen", str(path)],
                stdout=output,
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
            )

    def connected(self, within_s: float = 60.0) -> None:
        """Wait until every connection was up once."""
        until_sync(lambda: "connected" in self._read(), within_s=within_s, what="the generator's connections")

    def stop(self) -> None:
        """End the sending; what is in flight is still waited for."""
        self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Be gone, whatever happens."""
        self._process.kill()
        self._process.wait()

    def result(self, within_s: float = 120.0) -> dict[str, Any]:
        """Wait for the end and return what it found."""
        code = self._process.wait(within_s)
        assert code == 0, f"the generator ended with {code}"
        found: dict[str, Any] = json.loads(self._read().splitlines()[-1])
        return found

    def _read(self) -> str:
        return self._output.read_text()
