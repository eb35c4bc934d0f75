"""A notification as the variables of OPSCONDUCTOR-PULSE-MIB, within one packet."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from pulse_snmp import ber

if TYPE_CHECKING:
    from pulse_core.api import Notification

TRAP = 0xA7
INFORM = 0xA6

MAX_PDU_BYTES = 1160
"""With at most 240 bytes of SNMPv3 around it, a packet is 1,400 bytes at most: no network fragments that."""
MAX_SUMMARY_BYTES = 1024
_LONGEST = {"alert_id": 64, "device_id": 128, "tenant_id": 64, "time": 64, "event": 32, "site_id": 64}
"""The longest of the other texts, in bytes of UTF-8; what is longer is cut."""

_SYS_UP_TIME = ber.oid((1, 3, 6, 1, 2, 1, 1, 3, 0))
_SNMP_TRAP_OID = ber.oid((1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0))
_NO_ERROR = ber.integer(0) + ber.integer(0)
_ELLIPSIS = "…".encode()
_LINE_BREAKS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_SEVERITIES = {5: 1, 4: 1, 3: 2, 2: 3, 1: 3}


def prefix_arcs(prefix: str) -> tuple[int, ...]:
    """Return the arcs of a dotted object identifier."""
    return tuple(int(arc) for arc in prefix.split("."))


def alert_pdu(tag: int, notification: Notification, prefix: tuple[int, ...], uptime_s: int) -> bytes:
    """Encode one trap or INFORM.

    The request id is made of the delivery id, so it is the same at every attempt. The summary gets the room that the
    other variables leave; whatever is cut ends in an ellipsis.
    """
    empty = _pdu(tag, notification, prefix, uptime_s, b"")
    room = min(MAX_SUMMARY_BYTES, MAX_PDU_BYTES - len(empty) - 16)  # 16: lengths grow by two bytes at most, each
    return _pdu(tag, notification, prefix, uptime_s, text(notification.summary, room))


def request_id(delivery_id: str) -> int:
    """Return 31 bits that stand for a delivery."""
    return int.from_bytes(hashlib.sha256(delivery_id.encode()).digest()[:4], "big") >> 1


def text(value: str, limit_bytes: int) -> bytes:
    """Return ``value`` in UTF-8, cut between characters, on one line.

    Control characters become spaces: receivers hand variables to scripts and logs line by line, and a device's name
    must not be able to write a line of its own there.
    """
    encoded = _LINE_BREAKS.sub(" ", value).encode("utf-8", "replace")
    if len(encoded) <= limit_bytes:
        return encoded
    kept = encoded[: max(limit_bytes - len(_ELLIPSIS), 0)]
    return kept.decode("utf-8", "ignore").encode() + _ELLIPSIS


def _pdu(tag: int, notification: Notification, prefix: tuple[int, ...], uptime_s: int, summary: bytes) -> bytes:
    told = notification
    happened_at = told.closed_at if told.event == "CLOSED" and told.closed_at else told.created_at
    values = (
        _text("alert_id", told.alert_id),
        _text("device_id", told.device_id),
        _text("tenant_id", told.tenant_id),
        ber.integer(_SEVERITIES.get(told.severity, 1)),
        ber.octets(summary),
        _text("time", happened_at),
        _text("event", told.event),
        _text("site_id", told.site_id),
    )
    variables = [
        ber.tlv(ber.SEQUENCE, _SYS_UP_TIME, ber.integer(uptime_s * 100 % 2**32, ber.TIME_TICKS)),
        ber.tlv(ber.SEQUENCE, _SNMP_TRAP_OID, ber.oid((*prefix, 0, 1))),
        *(
            ber.tlv(ber.SEQUENCE, ber.oid((*prefix, 1, number, 0)), value)
            for number, value in enumerate(values, start=1)
        ),
    ]
    return ber.tlv(tag, ber.integer(request_id(told.delivery_id)), _NO_ERROR, ber.tlv(ber.SEQUENCE, *variables))


def _text(name: str, value: str) -> bytes:
    return ber.octets(text(value, _LONGEST[name]))
