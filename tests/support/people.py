"""Users of the tests, and how they log in."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from pulse_accounts.passwords import Passwords
from pulse_core.principal import Role
from support.admin import Caller

if TYPE_CHECKING:
    from quart.typing import TestClientProtocol

    from support.database import Database

PASSWORD = "correct horse battery"


@cache
def hashed(password: str = PASSWORD) -> str:
    """Its hash, made once a session: each takes a tenth of a second."""
    return Passwords().hash(password)


def person(
    database: Database,
    username: str = "ada",
    role: Role = Role.CUSTOMER_ADMIN,
    tenant_id: str = "tenant-a",
    password_hash: str | None = None,
) -> None:
    """Put a user there, with :data:`PASSWORD`."""
    with database.superuser() as connection:
        connection.execute(
            "INSERT INTO users (tenant_id, username, role, email, password_hash, created_by)"
            " VALUES (%s, %s, %s, %s, %s, 'test')",
            (tenant_id, username, str(role), f"{username}@example.com", password_hash or hashed()),
        )


class Door:
    """``/api/auth``, as a program uses it."""

    def __init__(self, client: TestClientProtocol) -> None:
        self._client = client
        self._calls = Caller(client, "", {})

    async def ask(self, path: str, body: Any, **more: Any) -> tuple[int, Any, Any]:
        """POST to one of the paths; status, JSON, headers."""
        return await self._calls.post(f"/api/auth/{path}", body, **more)

    async def log_in(self, username: str = "ada", password: str = PASSWORD) -> tuple[int, Any, Any]:
        """Ask for tokens."""
        return await self.ask("token", {"username": username, "password": password})

    async def tokens(self, username: str = "ada", password: str = PASSWORD) -> dict[str, Any]:
        """Tokens of somebody who may log in."""
        status, body, _ = await self.log_in(username, password)
        assert status == 200, body
        assert isinstance(body, dict)
        return body

    async def refresh(self, refresh_token: str) -> tuple[int, Any, Any]:
        """Ask for the next pair."""
        return await self.ask("refresh", {"refresh_token": refresh_token})

    def bearer(self, token: str, prefix: str = "") -> Caller:
        """Whoever shows this token."""
        return Caller(self._client, prefix, {"Authorization": f"Bearer {token}"})

    async def status(self, token: str) -> int:
        """What whoever shows this token is answered."""
        return (await self.bearer(token).get("/api/auth/status"))[0]
