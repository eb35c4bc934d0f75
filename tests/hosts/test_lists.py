"""Every list of the APIs: read one item at a time it is the same as read at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest_asyncio

from pulse_core.principal import Role
from support import lived_in
from support.admin import Admin, admin_api

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from support.admin import Caller
    from support.database import Database

STEPS = 12
"""Of a longer list the rest is not read."""
OTHERS = {"/operator/dashboard"}
"""Whose list is one part among others."""
ASKED_WITH = {"/operator/telemetry/query": f"tenant_id={lived_in.TENANT}&"}
NOT_YET = {"/customer/devices/{device_id}/connections": "nothing was connected"}


@pytest_asyncio.fixture
async def admin(database: Database, tmp_path: Path) -> AsyncIterator[Admin]:
    lived_in.fill(database)
    async with admin_api(database, tmp_path) as found:
        yield found


def lists_of(document: dict[str, Any], prefix: str) -> list[str]:
    """The paths that can be asked for a part."""
    return [
        path
        for path, methods in document["paths"].items()
        if path.startswith(prefix) and path not in OTHERS and {"cursor", "limit"} <= _parameters(methods.get("get", {}))
    ]


def _parameters(operation: dict[str, Any]) -> set[str]:
    return {each.get("name", "") for each in operation.get("parameters", ())}


def filled(path: str) -> str:
    return (
        path.replace("{tenant_id}", lived_in.TENANT)
        .replace("{device_id}", lived_in.SHOWN)
        .replace("{type}", "webhook")
        .replace("{alert_id}", str(lived_in.an_id("alert", 0)))
    )


async def read(caller: Caller, path: str, more: str) -> list[Any]:
    """Some of a list, an item at a time."""
    found: list[Any] = []
    cursor = ""
    for _ in range(STEPS):
        status, answer, _ = await caller.get(f"{path}?{more}limit=1{cursor}")
        assert status == 200, (path, answer)
        found += answer["items"]
        if not answer["next"]:
            break
        cursor = f"&cursor={quote(answer['next'])}"
    return found


async def test_a_list_is_the_same_in_small_parts(admin: Admin) -> None:
    document = await (await admin.client.get("/openapi.json")).get_json()
    for prefix, caller in (
        ("/customer", await admin.customer(lived_in.TENANT)),
        ("/operator", await admin.operator(Role.OPERATOR_ADMIN)),
    ):
        paths = lists_of(document, f"{prefix}/")
        assert len(paths) > 8
        for path in paths:
            asked = filled(path).removeprefix(prefix)
            assert "{" not in asked, path
            more = ASKED_WITH.get(path, "")
            parts = await read(caller, asked, more)
            if path.endswith("audit-log") and prefix == "/operator":
                continue  # what is read is in it
            _, whole, _ = await caller.get(f"{asked}?{more}limit={STEPS}")
            assert parts == whole["items"][: len(parts)], path
            assert len(parts) > 1 or path in NOT_YET, path
