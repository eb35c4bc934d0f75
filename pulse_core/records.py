"""The nouns that flow through the platform, one frozen record each.

    RawMessage ─ingest→ Reading ─evaluate→ Finding ─alerts→ AlertChange ─routing→ Delivery ─delivery→ Attempt

Times are integers in microseconds since the epoch (``_us``); they become aware UTC datetimes only at the edges.
``gc=False`` spares the garbage collector the records of which there are many: none of them can be part of a cycle.
"""

from __future__ import annotations

import uuid
import zlib
from enum import IntEnum, StrEnum
from typing import Any

import msgspec
from msgspec import Struct

MetricValue = float | int | bool | str
"""What a device may report under a metric name."""

PARTITIONS = 64
"""A device belongs to one of these, for ever: ``crc32(tenant/device) % 64``."""


def partition_of(tenant_id: str, device_id: str) -> int:
    """Which of the :data:`PARTITIONS` a device belongs to."""
    return zlib.crc32(f"{tenant_id}/{device_id}".encode()) % PARTITIONS


class MsgType(StrEnum):
    """What a device may send: the last word of its topic."""

    HEARTBEAT = "heartbeat"
    TELEMETRY = "telemetry"
    EVENT = "event"


class Reason(StrEnum):
    """Why a message or a login was refused: the quarantine reasons of CONTRACTS."""

    PAYLOAD_TOO_LARGE = "PAYLOAD_TOO_LARGE"
    BAD_TOPIC_FORMAT = "BAD_TOPIC_FORMAT"
    RATE_LIMITED = "RATE_LIMITED"
    TENANT_MISMATCH_TOPIC_VS_PAYLOAD = "TENANT_MISMATCH_TOPIC_VS_PAYLOAD"
    MISSING_SITE_ID = "MISSING_SITE_ID"
    UNREGISTERED_DEVICE = "UNREGISTERED_DEVICE"
    DEVICE_REVOKED = "DEVICE_REVOKED"
    SITE_MISMATCH_REGISTRY_VS_PAYLOAD = "SITE_MISMATCH_REGISTRY_VS_PAYLOAD"
    TOKEN_NOT_SET_IN_REGISTRY = "TOKEN_NOT_SET_IN_REGISTRY"  # noqa: S105 - a reason, not a token
    TOKEN_MISSING = "TOKEN_MISSING"  # noqa: S105 - a reason, not a token
    TOKEN_INVALID = "TOKEN_INVALID"  # noqa: S105 - a reason, not a token
    MALFORMED_JSON = "MALFORMED_JSON"
    INVALID_FIELD = "INVALID_FIELD"
    TIMESTAMP_OUT_OF_RANGE = "TIMESTAMP_OUT_OF_RANGE"
    UNKNOWN_MESSAGE_TYPE = "UNKNOWN_MESSAGE_TYPE"
    INGEST_EXCEPTION = "INGEST_EXCEPTION"


class DeviceStatus(StrEnum):
    """How a device is doing, as customers see it."""

    ONLINE = "ONLINE"
    STALE = "STALE"
    UNKNOWN = "UNKNOWN"
    REVOKED = "REVOKED"


class Severity(IntEnum):
    """How bad an alert is. Names and numbers are both accepted wherever people write one."""

    INFO = 1
    NOTICE = 2
    WARNING = 3
    MAJOR = 4
    CRITICAL = 5


class AlertStatus(StrEnum):
    """The life of an alert."""

    OPEN = "OPEN"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    CLOSED = "CLOSED"


class DeliveryStatus(StrEnum):
    """The life of a delivery."""

    PENDING = "PENDING"
    SENDING = "SENDING"
    DELIVERED = "DELIVERED"
    RETRYING = "RETRYING"
    DEAD = "DEAD"
    CANCELLED = "CANCELLED"


class DeviceKey(Struct, frozen=True, order=True, gc=False):
    """A device's full name. A device id alone says nothing: two tenants may use the same."""

    tenant_id: str
    device_id: str

    def __str__(self) -> str:
        return f"{self.tenant_id}/{self.device_id}"


class Device(Struct, frozen=True, gc=False):
    """A device as the registry knows it: what admission needs, cached in the device directory.

    ``token_hash`` is SHA-256 of the token (32 bytes), None until activation; ``previous_token_hash`` stays valid
    until ``previous_until_us`` after a rotation. ``stale_after_s``: its own, else its tenant's, else None (what the
    evaluator is configured to). ``stale_on``: the endings of its last connection after which it is judged at once.
    """

    key: DeviceKey
    site_id: str
    revoked: bool
    token_hash: bytes | None
    partition: int
    previous_token_hash: bytes | None = None
    previous_until_us: int = 0
    stale_after_s: float | None = None
    tenant_active: bool = True
    stale_on: frozenset[str] = frozenset()


class RawMessage(Struct, frozen=True, gc=False):
    """What a way in hands over, undecoded.

    ``tenant_id``, ``device_id`` and ``msg_type`` come from the topic or path; ``payload`` is the JSON body's bytes.
    ``authenticated`` says that the connection itself logged in as this very device; otherwise ``token`` (or the
    payload's ``provision_token``) is checked. ``may_wait``: an over-limit message is read later instead of refused
    (QoS 1 and 2). ``refused``: it was refused already (its topic cannot be read, say); it is only counted, and answered
    in its turn. ``refused_detail`` says more. ``received_us`` is our clock. A last ``will`` is no sign of life.
    """

    tenant_id: str
    device_id: str
    msg_type: str
    payload: bytes
    received_us: int
    source: str
    authenticated: bool = False
    token: str | None = None
    may_wait: bool = False
    refused: Reason | None = None
    refused_detail: str = ""
    will: bool = False


class Verdict(StrEnum):
    """What became of a submitted message."""

    COMMITTED = "committed"
    REJECTED = "rejected"
    RETRY_LATER = "retry later"


class Outcome(Struct, frozen=True, gc=False):
    """The answer to one submitted message. COMMITTED and REJECTED are final and durable: acknowledge them."""

    verdict: Verdict
    reason: Reason | None = None
    detail: str = ""


COMMITTED = Outcome(Verdict.COMMITTED)
RETRY_LATER = Outcome(Verdict.RETRY_LATER)


class Reading(Struct, frozen=True, gc=False):
    """A message that was admitted: decoded, authenticated, in range.

    ``key_hash`` is the signed 64-bit hash of type, seq and metrics; with (device, ts_us) it is the reading's
    identity, by which a redelivery is recognised. ``metrics_json`` is ``metrics`` as stored; ``will`` as above.
    """

    device: DeviceKey
    ts_us: int
    key_hash: int
    received_us: int
    msg_type: MsgType
    site_id: str
    seq: int | None
    metrics: dict[str, MetricValue]
    metrics_json: str
    source: str
    own_ts: bool = True
    """False: the device sent no ``ts``, so ``ts_us`` is our clock and only ``seq`` can tell a redelivery."""
    will: bool = False


class Finding(Struct, frozen=True, gc=False):
    """What an evaluator has to say about one possible alert of one device: it holds (``active``) or no longer does.

    ``key`` tells apart several alerts of one type on one device (a rule's id, say); empty for one of a kind.
    """

    alert_type: str
    active: bool
    severity: Severity = Severity.WARNING
    confidence: float = 1.0
    summary: str = ""
    details: dict[str, Any] = {}
    key: str = ""


class Judgement(Struct, frozen=True, gc=False):
    """An evaluator's answer: its new memory, what it found, when to wake it.

    ``memory`` replaces the old one after the batch commits. ``wake_at_us`` is when :meth:`Evaluator.wake` should be
    called if nothing else happens; None for never. ``status`` (with ``status_until_us``, the moment by which it must
    be judged again) is given only by the evaluator that decides the device's status.
    """

    memory: Any
    findings: tuple[Finding, ...] = ()
    wake_at_us: int | None = None
    status: DeviceStatus | None = None
    status_until_us: int | None = None


class OpenAlert(Struct, frozen=True, gc=False):
    """What the pipeline remembers of an alert that is not closed."""

    alert_id: uuid.UUID
    alert_type: str
    fingerprint: str
    severity: Severity
    confidence: float
    summary: str
    site_id: str
    opened_us: int
    details: dict[str, Any] = {}


class AlertEvent(StrEnum):
    """What happened to an alert: a route's ``deliver_on`` names these."""

    OPEN = "OPEN"
    ACKNOWLEDGED = "ACKNOWLEDGED"
    CLOSED = "CLOSED"


class AlertChange(Struct, frozen=True, gc=False):
    """One step in an alert's life, with what it causes. ``actor`` took it (empty: the platform), saying ``note``."""

    device: DeviceKey
    event: AlertEvent
    alert: OpenAlert
    at_us: int
    actor: str = ""
    note: str = ""


class Route(Struct, frozen=True):
    """A customer's rule of who is told what. An empty list matches all; every matching route fires.

    ``fallback_integration_id`` is used instead when the first one is dead-lettered, or has not been reachable for
    ``fallback_after_s``. ``integration_enabled`` is the first one's. ``revision`` counts its edits.
    """

    tenant_id: str
    route_id: uuid.UUID
    integration_id: uuid.UUID
    name: str = ""
    alert_types: frozenset[str] = frozenset()
    severities: frozenset[int] = frozenset()
    min_severity: int | None = None
    site_ids: frozenset[str] = frozenset()
    device_prefixes: tuple[str, ...] = ()
    deliver_on: frozenset[str] = frozenset({"OPEN"})
    priority: int = 100
    enabled: bool = True
    fallback_integration_id: uuid.UUID | None = None
    fallback_after_s: int = 600
    integration_enabled: bool = True
    revision: int = 1


class Decision(Struct, frozen=True):
    """What one route decided about one alert change; ``failed`` names the condition that did not hold.

    ``integration_id`` and ``name`` are the route's at that time: it may be changed or deleted since.
    """

    route_id: uuid.UUID
    matched: bool
    failed: str | None = None
    integration_id: uuid.UUID | None = None
    name: str = ""


class Notification(Struct, frozen=True, omit_defaults=False):
    """What a channel sends: the payload of CONTRACTS. ``created_at`` and ``closed_at`` are ISO 8601 in UTC."""

    alert_id: str
    tenant_id: str
    site_id: str
    device_id: str
    alert_type: str
    severity: int
    severity_name: str
    confidence: float
    summary: str
    status: str
    event: str
    created_at: str
    delivery_id: str
    closed_at: str | None = None
    details: dict[str, Any] = {}

    def to_json(self) -> bytes:
        """The JSON body that webhook and MQTT receivers get; ``closed_at`` is left out while it has no value."""
        fields = msgspec.structs.asdict(self)
        if self.closed_at is None:
            del fields["closed_at"]
        return msgspec.json.encode(fields)


class Cause(StrEnum):
    """Why there is a delivery. ALERT is the one primary delivery of an alert change and a route that matched it."""

    ALERT = "alert"
    TEST = "test"
    FALLBACK = "fallback"
    REPLAY = "replay"
    REPEAT = "repeat"
    ESCALATION = "escalation"


class Delivery(Struct, frozen=True):
    """A promise to notify one integration, made in the transaction of what caused it.

    ``cause`` is a :class:`Cause`; ``caused_by`` is the delivery that this one replays or stands in for.
    """

    tenant_id: str
    delivery_id: uuid.UUID
    integration_id: uuid.UUID
    cause: str
    event: AlertEvent
    alert_id: uuid.UUID | None
    route_id: uuid.UUID | None
    notification: Notification
    due_us: int
    caused_by: uuid.UUID | None = None


class DeviceState(Struct, frozen=True, gc=False):
    """The committed state of one device: what is loaded at start and replaced by every batch that touches it.

    ``memory`` maps an evaluator's name to its memory; ``wake_us`` maps it to its next wake-up.
    ``last_ts_us`` is the newest ``ts`` ever committed: a newer one cannot be a redelivery, so it needs no look-up.
    """

    key: DeviceKey
    status: DeviceStatus = DeviceStatus.UNKNOWN
    status_since_us: int = 0
    status_until_us: int | None = None
    last_seen_us: int = 0
    last_ts_us: int = 0
    last_seq: int | None = None
    source: str = ""
    memory: dict[str, Any] = {}
    wake_us: dict[str, int] = {}
    alerts: dict[str, OpenAlert] = {}


class Reject(Struct, frozen=True):
    """A refused message: counted always, kept only as the operator's settings say.

    ``tenant_id`` is empty unless the tenant is known. ``payload_json`` (valid jsonb text) and ``raw`` are None unless
    they are to be kept (STORE_REJECTS, MIRROR_REJECTS_TO_RAW). ``source`` is the way in that it came by.
    """

    tenant_id: str
    device_id: str
    reason: Reason
    detail: str
    topic: str
    received_us: int
    payload_json: str | None = None
    raw: bytes | None = None
    source: str = ""


class WriteSet(Struct):
    """Everything one batch commits, in one transaction. Ids are made before it, so it may be written again.

    At most one state a device. ``batch_id`` tells a second try of this batch from another batch.
    """

    readings: list[Reading] = []
    states: list[DeviceState] = []
    changes: list[tuple[AlertChange, tuple[Decision, ...]]] = []
    deliveries: list[Delivery] = []
    rejects: list[Reject] = []
    batch_id: uuid.UUID = msgspec.field(default_factory=uuid.uuid4)
