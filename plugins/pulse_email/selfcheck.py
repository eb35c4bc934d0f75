"""Whether our own templates become a mail here: the Jinja that is installed has its say in that."""

from __future__ import annotations

from pulse_core.api import Notification, PermanentFailure
from pulse_email.composing import Composer
from pulse_email.config import EmailConfig
from pulse_email.filters import TemplateProblemError

_SAMPLE = Notification(
    alert_id="0",
    tenant_id="nobody",
    site_id="nowhere",
    device_id="self-check",
    alert_type="NO_HEARTBEAT",
    severity=4,
    severity_name="MAJOR",
    confidence=1.0,
    summary="self-check",
    status="OPEN",
    event="OPEN",
    created_at="2026-01-01T00:00:00Z",
    delivery_id="0",
    details={"last_seen_at": "2026-01-01T00:00:00Z"},
)


def check_templates() -> None:
    """Write a mail with the standard subject and bodies.

    :raises PermanentFailure: one of them does not work out.
    """
    fields = {"host": "localhost", "from_address": "self@check.invalid", "to": ["self@check.invalid"]}
    try:
        Composer(EmailConfig.model_validate(fields)).compose(_SAMPLE)
    except TemplateProblemError as error:
        raise PermanentFailure(f"our own templates do not work here: {error}") from error
