"""The life of an alert: what a finding changes. Pure.

At most one alert per tenant and fingerprint is not closed; the database's partial unique index says so too.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from pulse_core.records import AlertChange, AlertEvent, Device, Finding, OpenAlert

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def fingerprint(device_id: str, finding: Finding) -> str:
    """What makes two findings the same alert: type and device, and the finding's own key where it has one."""
    return "/".join(filter(None, (finding.alert_type, device_id, finding.key)))


def transition(
    device: Device, alerts: Mapping[str, OpenAlert], findings: Iterable[Finding], now_us: int
) -> tuple[list[AlertChange], dict[str, OpenAlert]]:
    """Open what newly holds, close what no longer does.

    :param alerts: the device's alerts that are not closed, by fingerprint.
    :returns: the changes, and the alerts that are not closed afterwards.
    """
    changes: list[AlertChange] = []
    after = dict(alerts)
    for finding in findings:
        name = fingerprint(device.key.device_id, finding)
        if finding.active and name not in after:
            after[name] = _open(device, finding, name, now_us)
            changes.append(AlertChange(device.key, AlertEvent.OPEN, after[name], now_us))
        elif not finding.active and name in after:
            changes.append(AlertChange(device.key, AlertEvent.CLOSED, after.pop(name), now_us))
    return changes, after


def close_all(device: Device, alerts: Mapping[str, OpenAlert], now_us: int) -> list[AlertChange]:
    """Close every alert of a device that is no longer ours to judge (revoked)."""
    return [AlertChange(device.key, AlertEvent.CLOSED, alert, now_us) for alert in alerts.values()]


def _open(device: Device, finding: Finding, name: str, now_us: int) -> OpenAlert:
    return OpenAlert(
        alert_id=uuid.uuid4(),
        alert_type=finding.alert_type,
        fingerprint=name,
        severity=finding.severity,
        confidence=finding.confidence,
        summary=finding.summary,
        site_id=device.site_id,
        opened_us=now_us,
        details=finding.details,
    )
