"""The five users of development, whose password everybody knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pulse_core.api import ConfigError, Role

if TYPE_CHECKING:
    from pulse_accounts.passwords import Passwords
    from pulse_core.api import UserDirectory

PASSWORD = "test123"  # noqa: S105 - the very one that production refuses


class DevelopmentUser(Struct, frozen=True):
    """One of them."""

    username: str
    role: Role
    tenant_id: str | None = None


USERS = (
    DevelopmentUser("customer1", Role.CUSTOMER_ADMIN, "tenant-a"),
    DevelopmentUser("viewer1", Role.CUSTOMER_VIEWER, "tenant-a"),
    DevelopmentUser("customer2", Role.CUSTOMER_ADMIN, "tenant-b"),
    DevelopmentUser("operator1", Role.OPERATOR),
    DevelopmentUser("admin1", Role.OPERATOR_ADMIN),
)


async def demand_closed(users: UserDirectory, passwords: Passwords) -> None:
    """Return if none of them could log in with the password that everybody knows.

    A suspended tenant is no excuse: it may be active again tomorrow.

    :raises ConfigError: naming those who can, and what to do.
    """
    open_ = []
    for each in USERS:
        account = await users.find(each.username)
        if account is None or account.disabled:
            continue
        if await passwords.matches(PASSWORD, account.password_hash):
            open_.append(each.username)
    if open_:
        raise ConfigError(
            f"development users can log in with the password that everybody knows: {', '.join(open_)}; "
            "for each, run `pulse users disable NAME` or `pulse users passwd NAME`, or set mode = 'dev'"
        )
