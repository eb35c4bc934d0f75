"""Makes ``.env`` beside this file: every secret that compose.yaml asks for, new and random.

    python3 contrib/compose/init.py

It is readable by its owner alone, and one that is there already stays as it is.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
_PREFIXES = {"INFLUXDB_TOKEN": "apiv3_"}
"""What a secret has to begin with."""


def filled(example: str) -> str:
    """Give each name of ``.env.example`` that has no value 256 random bits, in hex: safe in URLs, YAML and shells."""
    return "".join(
        f"{line}{_PREFIXES.get(line.rstrip('='), '')}{secrets.token_hex(32)}\n"
        if line.endswith("=") and not line.startswith("#")
        else f"{line}\n"
        for line in example.splitlines()
    )


def write(folder: Path) -> Path:
    """Write ``.env`` into ``folder``. Raises FileExistsError: a database that was made with it would be lost."""
    path = folder / ".env"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(filled((HERE / ".env.example").read_text()))
    return path


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{write(HERE)} is made; now: docker compose up --detach --build\n")
    except FileExistsError:
        sys.exit(f"{HERE / '.env'} is there already, and stays as it is")
