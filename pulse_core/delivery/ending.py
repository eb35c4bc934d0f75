"""How one attempt ended, and what follows from it: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from pulse_core.errors import EndpointGone, PermanentFailure, TemporaryFailure
from pulse_core.outbox import Attempt, AttemptOutcome
from pulse_core.records import Cause, DeliveryStatus

if TYPE_CHECKING:
    from pulse_core.outbox import ClaimedDelivery
    from pulse_core.schedule import Schedule

LONGEST_TEXT_BYTES = 1024
_LONGEST_READ = 64 * 1024


class Ending(Struct, frozen=True):
    """How an attempt ended. ``gone``: the receiver said never again. ``broke_rules``: the plugin is at fault.

    ``address`` and ``tls``: whom it talked to, as far as it came.
    """

    outcome: AttemptOutcome
    detail: str = ""
    receipt: str = ""
    retry_after_s: float | None = None
    gone: bool = False
    broke_rules: bool = False
    address: str = ""
    tls: str = ""


def temporary(detail: str, *, broke_rules: bool = False) -> Ending:
    """Try again by the schedule."""
    return Ending(AttemptOutcome.TEMPORARY, detail, broke_rules=broke_rules)


def permanent(detail: str) -> Ending:
    """Do not try again."""
    return Ending(AttemptOutcome.PERMANENT, detail)


def of_return(returned: object) -> Ending:
    """Judge what ``send`` returned. Only a text or None says that the receiver has it."""
    if returned is None or isinstance(returned, str):
        return Ending(AttemptOutcome.DELIVERED, receipt=returned or "")
    return temporary(
        f"send() must return a text or None, not {type(returned).__name__}: whether it was delivered is unknown",
        broke_rules=True,
    )


def of_error(error: BaseException) -> Ending:
    """Judge what ``send`` raised. What is neither failure of the door is the plugin's fault, and tried again."""
    text = text_of(error)
    if isinstance(error, TemporaryFailure):
        return Ending(AttemptOutcome.TEMPORARY, text, retry_after_s=getattr(error, "retry_after_s", None))
    if isinstance(error, PermanentFailure):
        return Ending(AttemptOutcome.PERMANENT, text, gone=isinstance(error, EndpointGone))
    name = type(error).__name__
    return temporary(name if text == name else f"{name}: {text}", broke_rules=True)


def text_of(error: BaseException) -> str:
    """Return an error's text, its class's name if it has none; whatever its ``__str__`` does."""
    try:
        text = str(error)
    except BaseException:  # noqa: BLE001 - it is a plugin's code
        text = ""
    return text or type(error).__name__


def storable(text: str) -> str:
    """Return ``text`` as PostgreSQL takes it: UTF-8, no NUL, at most 1 KB."""
    data = text[:_LONGEST_READ].replace("\0", "\ufffd").encode("utf-8", "replace")
    return data[:LONGEST_TEXT_BYTES].decode("utf-8", "ignore")


def conclude(
    claimed: ClaimedDelivery,
    ending: Ending,
    *,
    started_us: int,
    failed_us: int,
    schedule: Schedule,
    random: float,
    due_us: int | None = None,
) -> Attempt:
    """Decide what becomes of the delivery.

    :param schedule: for an integration that has none of its own.
    :param due_us: overrules the schedule.
    """
    status, detail = DeliveryStatus.DELIVERED, ending.detail
    if ending.outcome is AttemptOutcome.PERMANENT:
        status = DeliveryStatus.DEAD
    elif ending.outcome is AttemptOutcome.TEMPORARY:
        if due_us is None and claimed.cause != Cause.TEST:
            due_us = (claimed.integration.retry or schedule).retry_us(
                claimed.attempt,
                first_attempt_us=claimed.first_attempt_us,
                now_us=failed_us,
                random=random,
                retry_after_s=ending.retry_after_s,
            )
        status = DeliveryStatus.DEAD if due_us is None else DeliveryStatus.RETRYING
        if due_us is None and claimed.cause != Cause.TEST:
            detail = f"given up after {claimed.attempt} attempts; the last: {detail}"
    return Attempt(
        tenant_id=claimed.tenant_id,
        delivery_id=claimed.delivery_id,
        attempt=claimed.attempt,
        started_us=started_us,
        duration_ms=max(0, (failed_us - started_us) // 1000),
        outcome=ending.outcome,
        status=status,
        detail=storable(detail),
        receipt=storable(ending.receipt),
        address=ending.address,
        tls=ending.tls,
        due_us=due_us if status is DeliveryStatus.RETRYING else None,
        disable=storable(ending.detail) if ending.gone else None,
        integration_id=claimed.integration.integration_id,
        integration_updated_us=claimed.integration.updated_us,
    )
