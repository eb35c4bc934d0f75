"""From a device's bytes to a :class:`Reading`, or to the reason why not. Pure: the time is passed in.

The order of the checks is what a stranger can learn: the token comes before anything the payload says.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from pulse_core.errors import Rejected
from pulse_core.records import Device, MetricValue, MsgType, RawMessage, Reading, Reason, Reject

if TYPE_CHECKING:
    from pulse_core.ingester import Credentials
    from pulse_core.settings import Settings

MAX_METRICS = 64
FUTURE_LIMIT_US = 10 * 60 * 1_000_000
"""How far ahead of our clock a device's ``ts`` may be."""
_DAY_US = 86_400 * 1_000_000
_METRIC_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,64}\Z")
_INT64 = range(-(2**63), 2**63)
_MSG_TYPES = {str(kind): kind for kind in MsgType}
_KNOWN_NAMES_LIMIT = 10_000


class Body(msgspec.Struct):
    """The JSON body of a message (CONTRACTS "Devices in"). Unknown fields are ignored: devices outlive servers."""

    site_id: str | None = None
    ts: str | int | float | None = None
    seq: int | None = None
    metrics: dict[str, MetricValue] = {}
    version: str | None = None
    tenant_id: str | None = None
    device_id: str | None = None
    provision_token: str | None = None


_decoder = msgspec.json.Decoder(Body)
_encode = msgspec.json.Encoder().encode
_blake = partial(hashlib.blake2b, digest_size=8)


def decode(payload: bytes) -> Body:
    """Decode and type-check a body. Raises Rejected: MALFORMED_JSON or INVALID_FIELD."""
    try:
        return _decoder.decode(payload)
    except msgspec.ValidationError as error:
        text = str(error)
        if " - at `$" in text:
            raise Rejected(Reason.INVALID_FIELD, text) from error
        raise Rejected(Reason.MALFORMED_JSON, "the body must be a JSON object") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Rejected(Reason.MALFORMED_JSON, str(error)) from error
    except RecursionError as error:
        raise Rejected(Reason.MALFORMED_JSON, "nested too deeply") from error


def token_of(raw: RawMessage) -> str | None:
    """The token that a message brings, beside it or inside. Raises Rejected when the body must be read and cannot."""
    return raw.token if raw.token is not None else decode(raw.payload).provision_token


def hash_token(token: str) -> bytes:
    """SHA-256 of a device token: 256 random bits need no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def check_token(device: Device | None, token: str | None, now_us: int) -> None:
    """Raise Rejected unless ``token`` is the device's. Constant time in the token."""
    device = check_standing(device)
    if device.token_hash is None:
        raise Rejected(Reason.TOKEN_NOT_SET_IN_REGISTRY)
    if not token:
        raise Rejected(Reason.TOKEN_MISSING)
    shown = hash_token(token)
    current = hmac.compare_digest(shown, device.token_hash)
    previous = hmac.compare_digest(shown, device.previous_token_hash or b"") and now_us < device.previous_until_us
    if not (current or previous):
        raise Rejected(Reason.TOKEN_INVALID)


def check_standing(device: Device | None) -> Device:
    """Raise Rejected unless a device is registered and neither it nor its tenant is shut out."""
    if device is None:
        raise Rejected(Reason.UNREGISTERED_DEVICE)
    if device.revoked or not device.tenant_active:
        raise Rejected(Reason.DEVICE_REVOKED)
    return device


def check_login(device: Device | None, credentials: Credentials, now_us: int) -> Device:
    """Raise Rejected unless a device may log in with what it shows. One that was never activated has no token, but may
    have proven who it is.
    """
    if not credentials.proven:
        check_token(device, credentials.token, now_us)
    return check_standing(device)


def admit(raw: RawMessage, device: Device | None, settings: Settings, stamp_us: int) -> Reading:
    """Make a Reading of an authenticated message.

    :param stamp_us: the reading's time if the device sent none: our clock, unique within a lane.
    :raises Rejected: with the quarantine reason.
    """
    if raw.refused is not None:
        raise Rejected(raw.refused, raw.refused_detail)
    if len(raw.payload) > settings.MAX_PAYLOAD_BYTES:
        raise Rejected(Reason.PAYLOAD_TOO_LARGE, f"{len(raw.payload)} bytes")
    if device is None:
        raise Rejected(Reason.UNREGISTERED_DEVICE)
    if device.revoked or not device.tenant_active:
        raise Rejected(Reason.DEVICE_REVOKED)
    msg_type = _MSG_TYPES.get(raw.msg_type)
    if msg_type is None:
        raise Rejected(Reason.UNKNOWN_MESSAGE_TYPE, raw.msg_type[:64])
    body = decode(raw.payload)
    _check_names(raw, body, device)
    metrics_json = _check_metrics(body.metrics)
    if body.version not in (None, "1"):
        raise Rejected(Reason.INVALID_FIELD, "version must be '1'")
    seq = body.seq
    if seq is not None and seq not in _INT64:
        raise Rejected(Reason.INVALID_FIELD, "seq does not fit 64 bits")
    ts_us = stamp_us if body.ts is None else _timestamp_us(body.ts, stamp_us, settings)
    return Reading(
        device=device.key,
        ts_us=ts_us,
        key_hash=_key_hash(msg_type, seq, metrics_json),
        received_us=raw.received_us,
        msg_type=msg_type,
        site_id=device.site_id,
        seq=seq,
        metrics=body.metrics,
        metrics_json=metrics_json,
        source=raw.source,
        own_ts=body.ts is not None,
        will=raw.will,
    )


def _check_names(raw: RawMessage, body: Body, device: Device) -> None:
    if body.tenant_id is not None and body.tenant_id != raw.tenant_id:
        raise Rejected(Reason.TENANT_MISMATCH_TOPIC_VS_PAYLOAD)
    if body.device_id is not None and body.device_id != raw.device_id:
        raise Rejected(Reason.INVALID_FIELD, "device_id differs from the topic's")
    if not body.site_id:
        raise Rejected(Reason.MISSING_SITE_ID)
    if body.site_id != device.site_id:
        raise Rejected(Reason.SITE_MISMATCH_REGISTRY_VS_PAYLOAD)


_known_names: set[str] = set()


def _check_metrics(metrics: dict[str, MetricValue]) -> str:
    """Check names and values; return the JSON that is stored. PostgreSQL's jsonb refuses NUL in text."""
    if len(metrics) > MAX_METRICS:
        raise Rejected(Reason.INVALID_FIELD, f"more than {MAX_METRICS} metrics")
    if not _known_names.issuperset(metrics):
        _learn_names(metrics)
    for value in metrics.values():
        if type(value) is int and value not in _INT64:
            raise Rejected(Reason.INVALID_FIELD, "a metric does not fit 64 bits")
    text = _encode(metrics).decode()
    if "\\u0000" in text and any("\0" in value for value in metrics.values() if isinstance(value, str)):
        raise Rejected(Reason.INVALID_FIELD, "a metric holds a NUL character")
    return text


def _learn_names(metrics: dict[str, MetricValue]) -> None:
    """Names repeat for ever: each is matched once, and remembered within a bound."""
    for name in metrics:
        if not _METRIC_NAME.match(name):
            raise Rejected(Reason.INVALID_FIELD, "a metric name may hold A-Z a-z 0-9 _ . : - and 64 characters")
    if len(_known_names) > _KNOWN_NAMES_LIMIT:
        _known_names.clear()
    _known_names.update(metrics)


def _key_hash(msg_type: MsgType, seq: int | None, metrics_json: str) -> int:
    return int.from_bytes(_blake(f"{msg_type}\n{seq}\n{metrics_json}".encode()).digest(), "big", signed=True)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _timestamp_us(ts: str | float, now_us: int, settings: Settings) -> int:
    """Parse ISO 8601 (UTC when it names no zone) or epoch milliseconds, and keep it in range."""
    if isinstance(ts, str):
        try:
            moment = datetime.fromisoformat(ts)
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            gap = moment - _EPOCH
        except (ValueError, OverflowError) as error:
            raise Rejected(Reason.INVALID_FIELD, "ts is not ISO 8601") from error
        ts_us = (gap.days * 86_400 + gap.seconds) * 1_000_000 + gap.microseconds
    else:
        try:
            ts_us = int(ts * 1000)
        except OverflowError as error:
            raise Rejected(Reason.TIMESTAMP_OUT_OF_RANGE) from error
    oldest_us = now_us - settings.TELEMETRY_RETENTION_DAYS * _DAY_US
    if not oldest_us <= ts_us <= now_us + FUTURE_LIMIT_US:
        raise Rejected(Reason.TIMESTAMP_OUT_OF_RANGE)
    return ts_us


def reject(raw: RawMessage, error: Rejected, settings: Settings, *, tenant_known: bool) -> Reject:
    """What quarantine is told of a refused message. Names of strangers are not kept: they could be anything."""
    keep = settings.stores_rejects
    return Reject(
        tenant_id=raw.tenant_id if tenant_known else "",
        device_id=_printable(raw.device_id, 128),
        reason=error.reason,
        detail=_printable(error.detail, 200),
        topic=_printable(f"tenant/{raw.tenant_id}/device/{raw.device_id}/{raw.msg_type}", 256),
        received_us=raw.received_us,
        payload_json=_storable(raw.payload) if keep else None,
        raw=raw.payload if settings.mirrors_rejects else None,
        source=_printable(raw.source, 64),
    )


def _storable(payload: bytes) -> str:
    """The payload as jsonb takes it: parsed if it can be, its token taken out; else described."""
    try:
        parsed: Any = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        parsed = {"unparsed": _printable(payload[:8192].decode("utf-8", "replace"), 8192)}
    if isinstance(parsed, dict) and "provision_token" in parsed:
        parsed["provision_token"] = "********"  # noqa: S105 - a mask
    return _encode(parsed).decode().replace("\\u0000", "\\ufffd")


def _printable(text: str, limit: int) -> str:
    return text[:limit].encode("utf-8", "replace").decode().replace("\0", "\ufffd")
