"""Starts, asks and ends the receivers of :mod:`support.sinks`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import msgspec
import psutil

if TYPE_CHECKING:
    from support.sinks import SinkSpec


class Sink:
    """A running receiver: its ``ports``, and how much has arrived."""

    def __init__(self, folder: Path, spec: SinkSpec) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"sink-{spec.kind}.json"
        path.write_bytes(msgspec.json.encode(spec))
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.sinks", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )
        self.ports: list[int] = json.loads(self._line())
        self.process = psutil.Process(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process:
            self._process.kill()

    @property
    def count(self) -> int:
        """How many notifications have arrived."""
        return self._ask(b"count\n")

    def drop(self) -> None:
        """Cut off all who are kept waiting for an answer."""
        self._ask(b"drop\n")

    def _ask(self, what: bytes) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(what)
        self._process.stdin.flush()
        return int(self._line())

    def _line(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()
