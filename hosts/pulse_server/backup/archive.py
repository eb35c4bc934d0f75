"""The file: a plain tar, so that what is in it can be had without us (``tar xf``, ``sha256sum -c SHA256SUMS``).

::

    database.dump    pg_dump's custom format
    secret.key       one key a line; only when it was asked for
    manifest.json    see :mod:`pulse_server.backup.manifest`
    SHA256SUMS       of all of these; comes last, so that a file that was cut off has none
"""

from __future__ import annotations

import hashlib
import io
import os
import secrets
import tarfile
import time
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

from pulse_core.errors import ConfigError, Conflict
from pulse_server.backup.manifest import Manifest, decoded
from pulse_server.embedded.cluster import sync

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

DATABASE, KEY, MANIFEST, SUMS = "database.dump", "secret.key", "manifest.json", "SHA256SUMS"
CHUNK = 1 << 20
_BLOCK = tarfile.BLOCKSIZE
_SMALL = 1 << 20
"""Everything but the dump is smaller than this."""


class Draft:
    """An archive that is being written. Members come one after the other."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sums: dict[str, str] = {}

    def add(self, name: str, chunks: Iterable[bytes]) -> tuple[int, str]:
        """Write a member whose size is not known before; return its size and SHA-256."""
        head = self._file.tell()
        self._file.write(bytes(_BLOCK))
        size, digest = 0, hashlib.sha256()
        for chunk in chunks:
            self._file.write(chunk)
            digest.update(chunk)
            size += len(chunk)
        self._file.write(bytes(-size % _BLOCK))
        self._file.seek(head)
        self._file.write(_head(name, size))
        self._file.seek(0, os.SEEK_END)
        self._sums[name] = digest.hexdigest()
        return size, self._sums[name]

    def finish(self) -> None:
        """Write the sums and the end."""
        said = "".join(f"{digest}  {name}\n" for name, digest in self._sums.items())
        self.add(SUMS, [said.encode()])
        self._file.write(bytes(2 * _BLOCK))


def _head(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o600, int(time.time())
    return info.tobuf(tarfile.GNU_FORMAT)


@contextmanager
def draft(target: Path, *, force: bool) -> Iterator[Draft]:
    """Write an archive beside its place (0600), and put it there when it is whole and on disk.

    :raises Conflict: there is a file already, and ``force`` is not given.
    """
    _demand_free(target, force=force)
    scratch = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            made = Draft(file)
            yield made
            made.finish()
            file.flush()
            os.fsync(file.fileno())
        _publish(scratch, target, force=force)
    finally:
        scratch.unlink(missing_ok=True)


def _demand_free(target: Path, *, force: bool) -> None:
    if target.is_dir():
        raise Conflict(f"{target} is a folder: name a file")
    if target.exists() and not force:
        raise Conflict(f"{target} exists: --force replaces it")


def _publish(scratch: Path, target: Path, *, force: bool) -> None:
    """Without force by a link, which never replaces what somebody put there meanwhile."""
    if force:
        scratch.replace(target)
    else:
        try:
            target.hardlink_to(scratch)
        except FileExistsError:
            _demand_free(target, force=False)
            raise
    sync(target.parent)


class Archive:
    """An archive whose every byte was compared with its sums."""

    def __init__(self, tar: tarfile.TarFile, manifest: Manifest, key: str | None) -> None:
        self._tar = tar
        self.manifest = manifest
        self.key = key

    def database(self) -> Iterator[bytes]:
        """The dump, in pieces."""
        return _chunks(self._tar, DATABASE)


@contextmanager
def opened(path: Path, told: Callable[[int, int], None]) -> Iterator[Archive]:
    """Open an archive once it is certain that it is whole.

    :param told: hears how much was compared: bytes, of how many.
    :raises ConfigError: it is none, or cut off, or changed.
    """
    with ExitStack() as stack:
        try:
            file = stack.enter_context(path.open("rb"))
            tar = stack.enter_context(tarfile.open(fileobj=file, mode="r:"))
            archive = _judged(tar, path.stat().st_size, told)
        except FileNotFoundError as error:
            raise ConfigError(f"there is no {path}") from error
        except (tarfile.TarError, EOFError) as error:
            raise ConfigError(f"{path} is no backup, or it was cut off: {error}; nothing was restored") from error
        except _Broken as error:
            raise ConfigError(f"{path} is not a whole backup: {error}; nothing was restored") from error
        yield archive


class _Broken(Exception):  # noqa: N818 - read as a sentence; never leaves this module
    pass


def _judged(tar: tarfile.TarFile, size: int, told: Callable[[int, int], None]) -> Archive:
    names = tar.getnames()
    if sorted(names) not in (sorted([DATABASE, MANIFEST, SUMS]), sorted([DATABASE, KEY, MANIFEST, SUMS])):
        raise _Broken(f"it has {', '.join(names) or 'nothing'}" if SUMS in names else "its end is missing")
    lines = _small(tar, SUMS).decode("ascii", errors="replace").splitlines()
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    if set(sums) != set(names) - {SUMS}:
        raise _Broken("its sums are not of what it has")
    done = 0
    for name, wanted in sums.items():
        digest = hashlib.sha256()
        for chunk in _chunks(tar, name):
            digest.update(chunk)
            done += len(chunk)
            told(done, size)
        if digest.hexdigest() != wanted:
            raise _Broken(f"{name} was changed")
    manifest = decoded(_small(tar, MANIFEST))
    if manifest.database_sha256 != sums[DATABASE]:
        raise _Broken("its manifest is of another backup")
    return Archive(tar, manifest, _small(tar, KEY).decode() if KEY in names else None)


def _small(tar: tarfile.TarFile, name: str) -> bytes:
    text = io.BytesIO()
    for chunk in _chunks(tar, name):
        text.write(chunk)
        if text.tell() > _SMALL:
            raise _Broken(f"{name} is too long")
    return text.getvalue()


def _chunks(tar: tarfile.TarFile, name: str) -> Iterator[bytes]:
    member = tar.extractfile(name)
    if member is None:
        raise _Broken(f"{name} is no file")
    with member:
        while chunk := member.read(CHUNK):
            yield chunk
