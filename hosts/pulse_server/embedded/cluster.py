"""What lies on disk: the cluster, made whole or not at all, its settings, its password and its port.

::

    data_dir/            0700, ours
        cluster/         PostgreSQL's own; belongs to the account it runs as
        password         of the superuser, 0600
        port             kept, so that addresses survive a restart
        owner.lock       held (flock) by the process that owns the running server
        url              the address of the running server, 0600
        socket_dir       where the socket is, when the path to the cluster is too long for one
        server.log       what PostgreSQL said
"""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pulse_core.errors import ConfigError
from pulse_server.embedded.binaries import MAJOR

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulse_server.embedded.account import Account

SUPERUSER = "postgres"
DRAFT = "cluster.new-"

_STATUS_LINE = 8

_SETTINGS = """\
# Written by the product at every start. Your own settings go into postgresql.conf, below its include.
password_encryption = 'scram-sha-256'
fsync = on
full_page_writes = on
synchronous_commit = on
max_connections = 100
shared_buffers = '128MB'
work_mem = '8MB'
maintenance_work_mem = '64MB'
wal_buffers = '16MB'
max_wal_size = '1GB'
min_wal_size = '128MB'
checkpoint_timeout = '10min'
checkpoint_completion_target = 0.9
max_wal_senders = 2
random_page_cost = 1.1
jit = off
autovacuum_naptime = '20s'
timezone = 'UTC'
log_timezone = 'UTC'
lc_messages = 'C'
logging_collector = off
log_min_error_statement = 'panic'
log_line_prefix = '%m [%p] %q%u@%d '
"""

_DRAFT_TRIES = 100
_DRAFT_PAUSE_S = 0.05

_OWN = """\
# The product's settings come first; what you write below them wins, except for the port and the addresses.
include 'pulse.conf'
"""

_HBA = """\
# Nobody gets in without a password: neither over the socket nor over the loopback interface.
local  all  all                scram-sha-256
host   all  all  127.0.0.1/32  scram-sha-256
host   all  all  ::1/128       scram-sha-256
"""


def create(cluster: Path, account: Account | None, initdb: Callable[[Path, Path], None]) -> None:
    """Make the cluster beside its place, and move it there when it is whole and on disk.

    :param initdb: runs initdb in a folder, with a password file; raises when it fails.
    """
    draft = Path(tempfile.mkdtemp(prefix=DRAFT, dir=cluster.parent))
    try:
        data = draft / "data"
        data.mkdir(mode=0o700)
        write(draft / "password", kept_password(cluster.parent), account)
        if account:
            account.own(draft)
            account.own(data)
        initdb(data, Path("../password"))
        for name, text in (("postgresql.conf", _OWN), ("pg_hba.conf", _HBA), ("pulse.conf", _SETTINGS)):
            write(data / name, text, account)
        sync(data)
        data.rename(cluster)
        sync(cluster.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def prepare(cluster: Path, account: Account | None) -> None:
    """Make a cluster that nobody runs ready for a start: its owner, its settings, no leftovers of a dead server.

    :raises ConfigError: another version of PostgreSQL made it, or its password is gone.
    """
    made_by = (cluster / "PG_VERSION").read_text().strip()
    if made_by != MAJOR:
        raise ConfigError(
            f"{cluster} was made by PostgreSQL {made_by}, and this is {MAJOR}: pg_upgrade it, or dump and restore"
        )
    if not (cluster.parent / "password").exists():
        raise ConfigError(
            f"{cluster.parent / 'password'} is gone, and nobody gets into {cluster} without it: restore it"
        )
    if account and cluster.stat().st_uid != account.uid:
        account.own_tree(cluster)
    write(cluster / "pulse.conf", _SETTINGS, account)
    forget_dead_server(cluster)


def forget_dead_server(cluster: Path) -> None:
    """Remove what a killed server left: a stale pid would stop the next one when an unrelated process bears it now.

    Only for the owner of the lock, and only when no process of the old server is left.
    """
    for leftover in (cluster / "postmaster.pid", *cluster.glob(".s.PGSQL.*")):
        leftover.unlink(missing_ok=True)


def remove_drafts(data_dir: Path) -> None:
    """Remove what an interrupted initdb left. A child of it may still be dying, and writing: that takes a moment."""
    for _ in range(_DRAFT_TRIES):
        drafts = list(data_dir.glob(f"{DRAFT}*"))
        for draft in drafts:
            shutil.rmtree(draft, ignore_errors=True)
        if not any(draft.exists() for draft in drafts):
            return
        time.sleep(_DRAFT_PAUSE_S)


def kept_password(data_dir: Path) -> str:
    """Return the superuser's password; make it up at the first start (256 random bits, 0600)."""
    path = data_dir / "password"
    if not path.exists():
        write(path, secrets.token_hex(32), None)
    return path.read_text().strip()


def kept_port(data_dir: Path) -> int:
    """Return the kept loopback port if it is still free, else another one, and keep that."""
    path = data_dir / "port"
    kept = int(path.read_text()) if path.exists() else 0
    port = kept if kept and _free(kept) else _any_free_port()
    if port != kept:
        write(path, str(port), None)
    return port


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def write(path: Path, text: str, account: Account | None) -> None:
    """Write a private file (0600), whole or not at all, and on disk when this returns."""
    scratch = path.with_name(f"{path.name}.new")
    scratch.unlink(missing_ok=True)
    handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    if account:
        account.own(scratch)
    scratch.replace(path)
    sync(path.parent)


def sync(folder: Path) -> None:
    """Bring a folder's entries to disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def says_ready(cluster: Path) -> bool:
    """Whether the postmaster wrote ``ready`` into the last line of its pid file (PostgreSQL's miscinit.h)."""
    try:
        lines = (cluster / "postmaster.pid").read_text().splitlines()
    except FileNotFoundError:
        return False
    return len(lines) >= _STATUS_LINE and lines[_STATUS_LINE - 1].strip() == "ready"
