"""The one secret from which all others are derived: configured, or made at the first start.

While it is rotated there are several: the current key comes first, then those with which something may still be
encrypted.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from pulse_core.errors import ConfigError
from pulse_server import key_file, runfiles

if TYPE_CHECKING:
    from pathlib import Path

    from pulse_core.config import Config

_PROCESSES = ("up", "pipeline", "deliver", "web")
_WEAK = ("change-me", "changeme", "password", "development", "default")


def secret_key(config: Config) -> str:
    """The secret key in force: the first of :func:`secret_keys`."""
    return secret_keys(config)[0]


def secret_keys(config: Config) -> tuple[str, ...]:
    """The secret key in force, then the previous ones, each once.

    It is ``config.secret_key``, else the first line of ``data_dir/secret.key``, which is made (0600) when missing.

    :raises ConfigError: for a key that is no secret, or a file that others may read.
    """
    previous = [key.get_secret_value() for key in config.previous_secret_keys]
    if config.secret_key is None:
        return tuple(dict.fromkeys([*key_file.keys(path_of(config)), *previous]))
    key = config.secret_key.get_secret_value()
    if config.mode == "prod":
        _refuse_guessable(key)
    return tuple(dict.fromkeys([key, *previous]))


def path_of(config: Config) -> Path:
    """Where the generated key is kept."""
    return config.data_dir / "secret.key"


def key_id(key: str) -> str:
    """Name a key without telling it, so that processes can say which one they work with."""
    return hmac.digest(key.encode(), b"pulse: the name of a secret key", hashlib.sha256)[:8].hex()


def demand_in_use(config: Config, key: str) -> None:
    """Return if whatever runs on this machine works with ``key``.

    A process that was started before cannot read what we encrypt with it, and goes on to encrypt with its own.

    :raises ConfigError: something must be restarted first.
    """
    for name in _PROCESSES:
        facts = runfiles.lookup(config.data_dir, name)
        if facts and facts.get("key") != key_id(key):
            raise ConfigError(f"{name} (pid {facts['pid']}) still works with another key: restart the platform first")


def _refuse_guessable(key: str) -> None:
    """A key of few different characters, or one that repeats a well-known word, protects nothing."""
    lowered = key.lower()
    if len(set(key)) < 8 or any(word in lowered for word in _WEAK):  # noqa: PLR2004 - a hex key has 16
        raise ConfigError("secret_key: this one can be guessed; `openssl rand -hex 32` makes a good one")
