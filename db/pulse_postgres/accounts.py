"""The login roles: who they are, their passwords, their addresses.

None is a superuser, none bypasses row-level security, and nobody ever does SET ROLE. A role's password is derived from
the one secret that the operator keeps, so that nothing else needs storing.
"""

from __future__ import annotations

import hashlib
import hmac
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pulse_core.errors import ConfigError

OWNER = "pulse_owner"
ROLES: tuple[str, ...] = (
    OWNER,  # migrations: owns every table
    "pulse_web",  # customers: one tenant at a time, or nothing
    "pulse_auth",  # logins and activation, before a tenant is known
    "pulse_operator",  # reads across tenants, writes the audit log
    "pulse_admin",  # settings, tenants, provisioning
    "pulse_pipeline",  # readings, state, alerts, the outbox
    "pulse_deliver",  # deliveries and their attempts
)

READERS = "pulse_reader"
"""The group of the logins of people's own tools; nobody logs in as it. See :mod:`pulse_postgres.readers`."""


def role_password(role: str, secret_key: str) -> str:
    """Derive a role's password: HMAC-SHA256 of ``role:<role>`` under the secret key, in hex."""
    return hmac.new(secret_key.encode(), f"role:{role}".encode(), hashlib.sha256).hexdigest()


def role_dsn(database_url: str, role: str, *secret_keys: str) -> str:
    """Return ``database_url`` (over TCP or a unix socket) with ``role`` and its password in place of the account's.

    While the secret key is replaced, processes know the new one before the database does: with several keys the answer
    is an address for each, one a line, and :func:`pulse_postgres.pool.connect` takes the first that lets us in.
    """
    if role not in ROLES:
        raise ConfigError(f"there is no login role {role!r}")
    return "\n".join(with_account(database_url, role, role_password(role, key)) for key in secret_keys)


def with_account(database_url: str, user: str, password: str) -> str:
    """Return ``database_url`` for another account."""
    parts = urlsplit(database_url)
    if parts.scheme not in ("postgresql", "postgres"):
        raise ConfigError("database_url: must look like postgresql://user:password@host/database")
    hosts = parts.netloc.rpartition("@")[2]
    query = [(name, value) for name, value in parse_qsl(parts.query) if name not in ("user", "password", "passfile")]
    netloc = f"{quote(user, safe='')}:{quote(password, safe='')}@{hosts}"
    return urlunsplit(("postgresql", netloc, parts.path, urlencode(query, safe="/"), ""))
