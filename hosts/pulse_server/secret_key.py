"""The one secret from which all others are derived: configured, or made at the first start."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

from pulse_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from pulse_core.config import Config

_BYTES = 32
_SHORTEST = 32
_WEAK = ("change-me", "changeme", "password", "development", "default")


def secret_key(config: Config) -> str:
    """The secret key in force: ``config.secret_key``, else ``data_dir/secret.key``, made (0600) when missing.

    :raises ConfigError: for a key that is no secret, or a file that others may read.
    """
    if config.secret_key is not None:
        key = config.secret_key.get_secret_value()
        if config.mode == "prod":
            _refuse_guessable(key)
        return key
    return _from_file(config.data_dir / "secret.key")


def _from_file(path: Path) -> str:
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others may read the secret key; run `chmod 600 {path}`")
    key = path.read_text("ascii", errors="replace").strip()
    if len(key) < _SHORTEST:
        raise ConfigError(f"{path}: at least {_SHORTEST} characters; restore it from your backup")
    return key


def _make(path: Path) -> None:
    """Two processes may start at once: both end up with the key of the one that linked first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".secret.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_BYTES) + "\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(scratch)
    except FileExistsError:
        return
    finally:
        scratch.unlink()


def _refuse_guessable(key: str) -> None:
    """A key of few different characters, or one that repeats a well-known word, protects nothing."""
    lowered = key.lower()
    if len(set(key)) < 8 or any(word in lowered for word in _WEAK):  # noqa: PLR2004 - a hex key has 16
        raise ConfigError("secret_key: this one can be guessed; `openssl rand -hex 32` makes a good one")
