"""Run files: what a running process tells the others on this machine, as ``data_dir/run/<name>.json``.

Each is written whole (rename), readable by its owner alone, and removed by an orderly stop. A file whose process is
gone says nothing.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def run_dir(data_dir: Path) -> Path:
    """The folder of the run files; made when it is missing."""
    folder = data_dir / "run"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    scratch.replace(path)


def publish(data_dir: Path, name: str, **facts: Any) -> None:
    """Tell the others: our pid, and ``facts`` (addresses, say)."""
    write_private(run_dir(data_dir) / f"{name}.json", json.dumps({"pid": os.getpid(), **facts}))


def withdraw(data_dir: Path, name: str) -> None:
    """Take back what :func:`publish` said."""
    (data_dir / "run" / f"{name}.json").unlink(missing_ok=True)


def lookup(data_dir: Path, name: str) -> dict[str, Any] | None:
    """What a live process said, or None."""
    with suppress(FileNotFoundError, json.JSONDecodeError, PermissionError):
        facts = json.loads((data_dir / "run" / f"{name}.json").read_text("utf-8"))
        if isinstance(facts, dict) and alive(facts.get("pid")):
            return facts
    return None


def alive(pid: object) -> bool:
    """Whether a process of this id exists."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
