"""Why somebody was, or was not, told: the trace of an alert."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.records import AlertChange, AlertEvent, DeviceKey, OpenAlert, Route, Severity
from pulse_core.routing import decide
from pulse_server.trace import why
from support.admin import admin_api
from support.batches import integrate
from support.told import a_delivery, an_alert, an_attempt

if TYPE_CHECKING:
    from pathlib import Path

    from support.database import Database


async def test_the_trace_of_an_alert(database: Database, tmp_path: Path) -> None:
    async with admin_api(database, tmp_path) as admin:
        await admin.tenant()
        customer = await admin.customer()
        first, second = integrate(database), integrate(database)
        told, silent = uuid.uuid4(), uuid.uuid4()
        decided = {
            "OPEN": [decision(told, first, name="everything"), decision(silent, second, "min_severity")],
            "CLOSED": [decision(told, first, "deliver_on", name="everything")],
        }
        alert = an_alert(database, decisions=decided)
        primary = a_delivery(database, first, "DEAD", alert_id=alert, route_id=told)
        an_attempt(database, primary, 1, "PERMANENT", detail="answered 404")
        fallback = a_delivery(database, second, alert_id=alert, route_id=told, cause="fallback", caused_by=primary)
        replay = a_delivery(
            database, first, "PENDING", alert_id=alert, route_id=told, cause="replay", caused_by=primary
        )
        of_it = a_delivery(database, first, "PENDING", alert_id=alert, route_id=told, cause="replay", caused_by=replay)
        stray = a_delivery(database, first, alert_id=alert, route_id=None, cause="escalation")
        await customer.delete(f"/integrations/{second}")
        status, body, _ = await customer.get(f"/alerts/{alert}/trace")
        assert status == 200
        assert (body["alert"]["alert_id"], "changes" in body["alert"]) == (str(alert), False)
        assert body["alert"]["confidence"] == 0.9
        opened, closed = body["changes"]
        assert [opened["event"], closed["event"]] == ["OPEN", "CLOSED"]
        matched, other = opened["routes"]
        assert (matched["name"], matched["matched"], matched["why"]) == (
            "everything", True, "every condition of the route held",
        )  # fmt: skip
        assert matched["integration"] == {
            "integration_id": str(first), "name": "hook", "type": "webhook", "deleted": False,
        }  # fmt: skip
        assert (other["matched"], other["failed"], other["deliveries"]) == (False, "min_severity", [])
        assert other["why"] == "severity MAJOR is below what the route tells of"
        assert other["integration"]["deleted"]
        assert closed["routes"][0]["why"] == "the route does not tell of CLOSED"
        (sent,) = matched["deliveries"]
        assert (sent["delivery_id"], sent["attempts"][0]["detail"]) == (str(primary), "answered 404")
        assert [each["delivery_id"] for each in sent["caused"]] == [str(fallback), str(replay)]
        assert [each["delivery_id"] for each in sent["caused"][1]["caused"]] == [str(of_it)]
        assert [each["delivery_id"] for each in body["others"]] == [str(stray)]
        assert (await customer.get(f"/alerts/{alert}"))[1]["changes"][0]["event"] == "OPEN"
        assert (await customer.get(f"/alerts/{uuid.uuid4()}/trace"))[0] == 404


def decision(route_id: uuid.UUID, integration_id: uuid.UUID, failed: str | None = None, name: str = "") -> Any:
    return {
        "route_id": route_id,
        "matched": failed is None,
        "failed": failed,
        "integration_id": integration_id,
        "name": name,
    }


REFUSING: dict[str, tuple[dict[str, Any], str]] = {
    "enabled": ({"enabled": False}, "switched off"),
    "integration_enabled": ({"integration_enabled": False}, "integration was disabled"),
    "deliver_on": ({"deliver_on": frozenset({"CLOSED"})}, "OPEN"),
    "alert_types": ({"alert_types": frozenset({"OTHER"})}, "NO_HEARTBEAT"),
    "severities": ({"severities": frozenset({1})}, "MAJOR"),
    "min_severity": ({"min_severity": 5}, "MAJOR"),
    "site_ids": ({"site_ids": frozenset({"elsewhere"})}, "site-1"),
    "device_prefixes": ({"device_prefixes": ("x-",)}, "dev-1"),
}
ABOUT = {"alert_type": "NO_HEARTBEAT", "severity_name": "MAJOR", "site_id": "site-1", "device_id": "dev-1"}


@pytest.mark.parametrize("failed", REFUSING)
def test_every_condition_that_routing_knows_has_a_sentence(failed: str) -> None:
    fields, said = REFUSING[failed]
    alert = OpenAlert(uuid.uuid4(), "NO_HEARTBEAT", "f", Severity.MAJOR, 0.9, "", "site-1", 0)
    change = AlertChange(DeviceKey("t", "dev-1"), AlertEvent.OPEN, alert, 0)
    decided = decide(Route("t", uuid.uuid4(), uuid.uuid4(), **fields), change)
    assert decided.failed == failed
    sentence = why({"matched": decided.matched, "failed": decided.failed}, ABOUT, change.event)
    assert said in sentence
    assert "did not hold" not in sentence


def test_a_condition_of_tomorrow_is_named_at_least() -> None:
    assert "moon_phase" in why({"matched": False, "failed": "moon_phase"}, ABOUT, "OPEN")
