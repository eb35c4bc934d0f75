"""What stands in a notification, read by pysnmp: the varbinds of CONTRACTS, whatever the texts hold."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.ber import decoder
from pysnmp.proto.api import v2c

from pulse_core.testing.channels import HOSTILE, a_notification
from pulse_snmp import alert
from pulse_snmp.informing import v2c_message

PREFIX = (1, 3, 6, 1, 4, 1, 99999)
LONGEST_PREFIX = alert.prefix_arcs("1.3.6.1.4.1.4294967295.4294967295.4294967295.4294967295.4294967295")
OBJECTS = "1.3.6.1.4.1.99999.1"
EMOJI = "🚨" * 10_000


def read(pdu: bytes) -> tuple[Any, list[tuple[str, str, Any]]]:
    """The PDU, and its variables: OID, type, and text or number."""
    message, rest = decoder.decode(v2c_message(b"public", pdu), asn1Spec=v2c.Message())
    assert not rest
    decoded = v2c.apiMessage.get_pdu(message)
    variables = [
        (str(oid), type(value).__name__, value.asOctets().decode() if hasattr(value, "asOctets") else value)
        for oid, value in v2c.apiPDU.get_varbinds(decoded)
    ]
    return decoded, variables


def variables_of(prefix: tuple[int, ...] = PREFIX, **changes: Any) -> list[tuple[str, str, Any]]:
    return read(alert.alert_pdu(alert.TRAP, a_notification(**changes), prefix, 4711))[1]


def test_the_variables_are_those_of_the_contract_in_their_order() -> None:
    assert variables_of() == [
        ("1.3.6.1.2.1.1.3.0", "TimeTicks", 471100),
        ("1.3.6.1.6.3.1.1.4.1.0", "ObjectIdentifier", (*PREFIX, 0, 1)),
        (f"{OBJECTS}.1.0", "OctetString", "0d4ab6f2-6a2b-4a5e-9f5d-3c1a56c1f001"),
        (f"{OBJECTS}.2.0", "OctetString", "pump-7"),
        (f"{OBJECTS}.3.0", "OctetString", "tenant-a"),
        (f"{OBJECTS}.4.0", "Integer", 1),
        (f"{OBJECTS}.5.0", "OctetString", "pump-7 has been silent for 30 s"),
        (f"{OBJECTS}.6.0", "OctetString", "2026-01-02T03:04:05Z"),
        (f"{OBJECTS}.7.0", "OctetString", "OPEN"),
        (f"{OBJECTS}.8.0", "OctetString", "site-1"),
    ]


def test_an_inform_differs_in_its_tag_alone() -> None:
    trap, inform = (alert.alert_pdu(tag, a_notification(), PREFIX, 1) for tag in (alert.TRAP, alert.INFORM))
    assert (type(read(trap)[0]).__name__, type(read(inform)[0]).__name__) == ("SNMPv2TrapPDU", "InformRequestPDU")
    assert trap[1:] == inform[1:]


def test_another_prefix_moves_all_of_it() -> None:
    variables = variables_of((1, 3, 6, 1, 4, 1, 2**32 - 1, 5))
    assert variables[1][2] == (1, 3, 6, 1, 4, 1, 2**32 - 1, 5, 0, 1)
    assert [oid for oid, _, _ in variables[2:]] == [f"1.3.6.1.4.1.4294967295.5.1.{number}.0" for number in range(1, 9)]


@pytest.mark.parametrize(("severity", "number"), [(5, 1), (4, 1), (3, 2), (2, 3), (1, 3)])
def test_severities(severity: int, number: int) -> None:
    assert variables_of(severity=severity)[5][2] == number


@pytest.mark.parametrize(
    ("event", "time"),
    [("OPEN", "2026-01-02T03:04:05Z"), ("ACKNOWLEDGED", "2026-01-02T03:04:05Z"), ("CLOSED", "2026-01-02T04:00:00Z")],
)
def test_the_time_is_that_of_the_event(event: str, time: str) -> None:
    variables = variables_of(event=event, status=event, closed_at="2026-01-02T04:00:00Z")
    assert (variables[7][2], variables[8][2]) == (time, event)


def test_the_request_id_stands_for_the_delivery() -> None:
    ids = [
        int(v2c.apiPDU.get_request_id(read(alert.alert_pdu(tag, a_notification(**changes), PREFIX, at_s))[0]))
        for tag, at_s, changes in (
            (alert.TRAP, 1, {}),
            (alert.TRAP, 99, {}),
            (alert.INFORM, 99, {"delivery_id": "another"}),
        )
    ]
    assert ids[0] == ids[1] != ids[2]
    assert alert.request_id(a_notification().delivery_id) == ids[0]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_texts_arrive_as_they_are(text: str) -> None:
    assert variables_of(summary=text)[6][2] == text


@pytest.mark.parametrize(
    ("text", "arrives"),
    [
        ("one\r\nX: 1\r\n\r\ntwo", "one X: 1 two"),
        ("\x00\x1b[2Jcleared\x7f", " [2Jcleared "),
        ("a\u2028b\u2029c\x85d", "a b c d"),
        ("tab\there", "tab here"),
        ("\ud800lone", "?lone"),
        ("", ""),
    ],
)
def test_no_text_writes_a_line_of_its_own(text: str, arrives: str) -> None:
    assert variables_of(summary=text)[6][2] == arrives
    assert variables_of(device_id=text)[3][2] == arrives


@pytest.mark.parametrize("text", [EMOJI, "x" * 10_000, "é" * 10_000, "\n" * 10_000 + "end"])
@pytest.mark.parametrize("prefix", [PREFIX, LONGEST_PREFIX])
def test_a_packet_stays_small_and_is_cut_between_characters(text: str, prefix: tuple[int, ...]) -> None:
    names = ("alert_id", "device_id", "tenant_id", "site_id", "created_at", "event", "summary", "delivery_id")
    notification = a_notification(**dict.fromkeys(names, text))
    pdu = alert.alert_pdu(alert.TRAP, notification, prefix, 2**31 - 1)
    assert len(pdu) <= alert.MAX_PDU_BYTES
    for _, kind, value in read(pdu)[1]:
        if kind == "OctetString" and not text.startswith("\n"):
            assert value.endswith("…")
            assert set(value[:-1]) == {text[0]}


def test_a_usual_summary_has_800_bytes() -> None:
    """What the MIB says about it."""
    sent = variables_of(device_id="d" * 32, tenant_id="t" * 16, site_id="s" * 16, summary="x" * 5000)
    assert 720 < len(sent[6][2].encode()) <= alert.MAX_SUMMARY_BYTES


@given(st.text(), st.integers(0, 200))
def test_cutting_keeps_the_limit_and_whole_characters(value: str, limit: int) -> None:
    cut = alert.text(value, limit)
    assert len(cut) <= max(limit, len("…".encode()))
    cut.decode()
    json.dumps(cut.decode())
