"""Users as people read them, without what proves who they are (pulse_admin, pulse_operator, pulse_web)."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

from pulse_postgres.acting import asking
from pulse_postgres.paging import Page, Where, item_of
from pulse_postgres.sorting import By, Orders, Sorted

if TYPE_CHECKING:
    from pulse_postgres.connections import Connections

SHOWN = """tenant_id, user_id, username, role, email, created_at, created_by, updated_at, disabled_at, last_login_at,
    revision, failed_logins, last_failed_at"""
"""What of ``users`` may be shown."""

USER_ORDERS = Orders(
    by={
        "username": By("username"),
        "role": By("role"),
        "created_at": By("created_at", datetime),
        "last_login_at": By("last_login_at", datetime, nullable=True),
    },
    key={"tenant_id": By("tenant_id"), "user_id": By("user_id", uuid.UUID)},
    default="username",
)


async def user_page(
    pool: Connections,
    *,
    tenant_id: str | None = None,
    role: str | None = None,
    disabled: bool | None = None,
    search: str | None = None,
    sort: str | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Page:
    """Users by name, unless ``sort`` is another of USER_ORDERS.

    :param tenant_id: '' for operators; None for all.
    :param search: stands in the name or the address, in any case.
    """
    part = Sorted(USER_ORDERS, sort, limit, cursor)
    where = Where()
    where.add_given("tenant_id = {}", tenant_id)
    where.add_given("role = {}", role)
    where.add_given("(disabled_at IS NOT NULL) = {}", disabled)
    where.add_given("strpos(lower(username || ' ' || email), lower({}::text)) > 0", search)
    part.begin(where)
    query = f"""
        SELECT {SHOWN}, {part.position} FROM users
        WHERE {where} ORDER BY {part.order} LIMIT {where.put(part.limit + 1)}
    """
    with asking():
        rows = await pool.fetch(query, *where.arguments)
    return part.page(rows, item_of)
