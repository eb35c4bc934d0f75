"""As whom PostgreSQL runs: it refuses root, so root's launcher lends it an unprivileged account."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, NamedTuple

from pulse_core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

_PREFERRED = ("opsconductor-pulse", "postgres", "nobody")


class Account(NamedTuple):
    """An unprivileged user and its group."""

    uid: int
    gid: int

    def own(self, path: Path) -> None:
        """Make ``path`` this account's, not following a symbolic link."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def own_tree(self, path: Path) -> None:
        """Make a folder and all below it this account's."""
        self.own(path)
        for entry in path.rglob("*"):
            self.own(entry)


def service_account(cluster: Path) -> Account | None:
    """Choose the account to run as; None when we are not root and simply stay who we are.

    A cluster that exists already stays with its owner, so that a new preference never locks anybody out of old data.
    """
    if os.geteuid() != 0:
        return None
    if cluster.exists() and (found := cluster.stat()).st_uid != 0:
        return Account(found.st_uid, found.st_gid)
    for name in _PREFERRED:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_uid, entry.pw_gid)
    raise ConfigError(
        "PostgreSQL must not run as root, and there is no account to lend it; "
        f"create one of {', '.join(_PREFERRED)}, or run as an ordinary user, or set database_url"
    )
