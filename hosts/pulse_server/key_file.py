"""The file with the generated secret key: one key a line, the current one first, readable by its owner alone."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pulse_core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_BYTES = 32
_SHORTEST = 32


def keys(path: Path) -> list[str]:
    """Every key, the current one first; the first one is made when there is none.

    :raises ConfigError: others may read the file, or it holds something else.
    """
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        raise ConfigError(f"{path}: others may read the secret key; run `chmod 600 {path}`")
    found = path.read_text("ascii", errors="replace").split()
    if not found or not all(fits(key) for key in found):
        raise ConfigError(f"{path}: a key has at least {_SHORTEST} characters; restore it from your backup")
    return found


def fits(key: str) -> bool:
    """Whether a key can stand in such a file. One of the configuration's may be otherwise."""
    return len(key) >= _SHORTEST and key.isascii() and key.split() == [key]


def put(path: Path, lines: Sequence[str]) -> None:
    """Make the file from a backup's keys. Raises ConfigError when there is one meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = _written(path, lines)
    try:
        path.hardlink_to(scratch)
    except FileExistsError as error:
        raise ConfigError(f"{path} exists: it is not replaced") from error
    finally:
        scratch.unlink()
    _sync(path.parent)


def add(path: Path) -> int:
    """Put a fresh key before the others, and return how many others there are."""
    with _alone(path):
        kept = keys(path)
        _replace(path, [secrets.token_hex(_BYTES), *kept])
    return len(kept)


def forget(path: Path, current: str) -> int:
    """Drop every key but ``current``, and return how many went.

    :raises ConfigError: another one has become the current key meanwhile.
    """
    with _alone(path):
        first, *others = keys(path)
        if first != current:
            raise ConfigError(f"{path}: there is a newer key by now; restart the platform and rotate again")
        if others:
            _replace(path, [first])
    return len(others)


def _make(path: Path) -> None:
    """Two processes may start at once: both end up with the key of the one that linked first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = _written(path, [secrets.token_hex(_BYTES)])
    try:
        path.hardlink_to(scratch)
    except FileExistsError:
        return
    finally:
        scratch.unlink()
    _sync(path.parent)


def _replace(path: Path, lines: Sequence[str]) -> None:
    """All or nothing, whatever ends in between. It stays its owner's, also when root does this."""
    owner = path.stat()
    scratch = _written(path, lines)
    try:
        if os.geteuid() != owner.st_uid:
            os.chown(scratch, owner.st_uid, owner.st_gid)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)
    _sync(path.parent)


def _written(path: Path, lines: Sequence[str]) -> Path:
    scratch = path.with_name(f".secret.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())
    return scratch


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two at once would each drop the other's key."""
    handle = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
