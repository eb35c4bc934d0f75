"""The live settings over the operator API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.principal import Role
from pulse_core.settings import Settings
from support.batches import judged

if TYPE_CHECKING:
    from support.admin import Admin, Caller
    from support.database import Database

DEFAULTS = Settings().model_dump()


@pytest.fixture
async def operator(admin: Admin) -> Caller:
    return await admin.operator(Role.OPERATOR_ADMIN)


async def test_some_are_changed_and_the_others_stay(operator: Caller, database: Database) -> None:
    assert (await operator.get("/settings"))[:2] == (200, DEFAULTS)
    status, body, _ = await operator.post("/settings", {"RATE_LIMIT_RPS": 7.5, "MAX_PAYLOAD_BYTES": 8192})
    assert (status, body) == (200, {**DEFAULTS, "RATE_LIMIT_RPS": 7.5})
    await operator.post("/settings", {"RATE_LIMIT_RPS": 8})
    assert (await operator.get("/settings"))[1]["RATE_LIMIT_RPS"] == 8
    said = judged(database, "SELECT actor, details FROM audit_log WHERE action = 'settings.save' ORDER BY at")
    assert said == [
        ("token:operator_admin of None", {"RATE_LIMIT_RPS": {"old": 5, "new": 7.5}}),
        ("token:operator_admin of None", {"RATE_LIMIT_RPS": {"old": 7.5, "new": 8}}),
    ]


async def test_prod_forces_both_reject_flags_off_for_good(operator: Caller, database: Database) -> None:
    flags = {"STORE_REJECTS": True, "MIRROR_REJECTS_TO_RAW": True}
    assert (await operator.post("/settings", flags))[1] == DEFAULTS
    assert (await operator.post("/settings", {"MODE": "DEV", **flags}))[1] == {**DEFAULTS, "MODE": "DEV", **flags}
    assert (await operator.post("/settings", {"MODE": "PROD"}))[1] == DEFAULTS
    assert (await operator.post("/settings", {"MODE": "DEV"}))[1] == {**DEFAULTS, "MODE": "DEV"}
    said = judged(database, "SELECT details FROM audit_log WHERE action = 'settings.save' ORDER BY at")
    off = {"old": True, "new": False}
    assert said[2] == ({"MODE": {"old": "DEV", "new": "PROD"}, "STORE_REJECTS": off, "MIRROR_REJECTS_TO_RAW": off},)


@pytest.mark.parametrize(
    ("wrong", "field", "message"),
    [
        ({"STORE_REJECT": True}, "STORE_REJECT", "there is no such setting; did you mean 'STORE_REJECTS'?"),
        ({"mode": "DEV"}, "mode", "there is no such setting; did you mean 'MODE'?"),
        ({"COLOUR": 1}, "COLOUR", "there is no such setting"),
        ({"RATE_LIMIT_RPS": 0}, "RATE_LIMIT_RPS", "Input should be greater than 0"),
        ({"MAX_PAYLOAD_BYTES": 10**9}, "MAX_PAYLOAD_BYTES", "Input should be less than or equal to 262144"),
        ({"MODE": "TEST"}, "MODE", "Input should be 'PROD' or 'DEV'"),
        ({"TELEMETRY_RETENTION_DAYS": None}, "TELEMETRY_RETENTION_DAYS", "Input should be a valid integer"),
    ],
)
async def test_what_is_wrong_is_named_and_nothing_is_saved(
    operator: Caller, database: Database, wrong: dict[str, Any], field: str, message: str
) -> None:
    status, body, _ = await operator.post("/settings", {"RATE_LIMIT_BURST": 5, **wrong})
    assert (status, body["errors"]) == (422, [{"field": field, "message": message}])
    assert judged(database, "SELECT FROM settings") == []
    assert judged(database, "SELECT FROM audit_log WHERE action = 'settings.save'") == []
