"""The nouns of delivering: what a claim brings, and how an attempt ended. Times as in :mod:`pulse_core.records`."""

from __future__ import annotations

import uuid
from enum import StrEnum
from typing import Any

from msgspec import Struct

from pulse_core.records import DeliveryStatus
from pulse_core.schedule import Schedule


class StoredIntegration(Struct, frozen=True):
    """An integration as it is stored. ``secrets`` is still encrypted; ``updated_us`` changes with every edit.

    ``retry`` is its own schedule, if it has one. ``deleted``: nobody can see it any more.
    """

    tenant_id: str
    integration_id: uuid.UUID
    type: str
    config: dict[str, Any]
    secrets: bytes | None
    enabled: bool
    disabled_reason: str | None
    updated_us: int
    retry: Schedule | None = None
    deleted: bool = False


class ClaimedDelivery(Struct, frozen=True):
    """A delivery whose next attempt is ours to make, until the lease runs out.

    ``attempt`` is that attempt's number, from 1; ``claimed_us`` and ``first_attempt_us`` are when it and the first
    one were claimed. ``notification_json`` is undecoded: what cannot be read must cost this delivery alone.
    """

    tenant_id: str
    delivery_id: uuid.UUID
    integration: StoredIntegration
    event: str
    cause: str
    notification_json: str
    attempt: int
    first_attempt_us: int
    claimed_us: int


class Claim(Struct, frozen=True):
    """What one claim brought.

    ``more``: others may be waiting that the limit left out. ``cancelled``: how many notifications were told by a
    later one of the same alert instead.
    """

    deliveries: list[ClaimedDelivery]
    more: bool = False
    cancelled: int = 0


class ClaimRoom(Struct, frozen=True):
    """How many more deliveries may be claimed for ``endpoint``, which ``integration_id`` (maybe among others) uses."""

    integration_id: uuid.UUID
    endpoint: str
    room: int


class AttemptOutcome(StrEnum):
    """How one attempt ended."""

    DELIVERED = "DELIVERED"
    TEMPORARY = "TEMPORARY"
    PERMANENT = "PERMANENT"


class Attempt(Struct, frozen=True):
    """One attempt that is over, and what becomes of its delivery.

    ``status`` is DELIVERED, RETRYING (with ``due_us``) or DEAD. ``detail`` says what went wrong, ``receipt`` what the
    receiver answered; both are free of secrets and at most 1 KB. ``address`` (``203.0.113.7:443``) and ``tls`` say
    whom it talked to, as far as it came. ``disable`` disables the integration with this reason, unless it was edited
    since ``integration_updated_us``.
    """

    tenant_id: str
    delivery_id: uuid.UUID
    attempt: int
    started_us: int
    duration_ms: int
    outcome: AttemptOutcome
    status: DeliveryStatus
    detail: str = ""
    receipt: str = ""
    address: str = ""
    tls: str = ""
    due_us: int | None = None
    disable: str | None = None
    integration_id: uuid.UUID | None = None
    integration_updated_us: int = 0


class OpenBreaker(Struct, frozen=True):
    """An endpoint that failed ``failures`` times in a row is left alone but for a probe, the next at ``probe_us``.

    One for each integration of the tenant that is known to use the endpoint, for as long as it is open.
    """

    tenant_id: str
    integration_id: uuid.UUID
    opened_us: int
    probe_us: int
    failures: int
    last_error: str = ""


BreakerChanges = dict[tuple[str, uuid.UUID], OpenBreaker | None]
"""By tenant and integration: how the breaker stands now; None: it is closed."""
