"""BER and USM: agreement with pyasn1 and the RFCs' examples, and calm in the face of anything that arrives."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.ber import encoder
from pyasn1.type import univ

from pulse_snmp import ber, usm
from pulse_snmp.config import SnmpConfig
from pulse_snmp.engine import CLOCK, EPOCH_S, Engine, EngineClock, new_engine_id

ENGINE = Engine(bytes.fromhex("000000000000000000000002"), 3, 4711)
ARCS = st.lists(st.integers(0, 2**32 - 1), max_size=20)


def user(**changes: Any) -> usm.User:
    fields = {
        "host": "localhost",
        "version": "3",
        "user": "pulse",
        "auth_protocol": "SHA",
        "auth_password": "maplesyrup",
        "priv_protocol": "AES-128",
        "priv_password": "maplesyrup",
    }
    return usm.User(SnmpConfig.model_validate({**fields, **changes}))


@given(st.integers(0, 2**31 - 1))
def test_integers(value: int) -> None:
    assert ber.integer(value) == encoder.encode(univ.Integer(value))
    assert ber.Reader(ber.integer(value)).integer() == value


@given(st.binary(max_size=300))
def test_octets(value: bytes) -> None:
    assert ber.octets(value) == encoder.encode(univ.OctetString(value))
    assert ber.Reader(ber.octets(value)).octets() == value


@given(st.integers(0, 1), st.integers(0, 39), ARCS)
def test_object_identifiers(first: int, second: int, others: list[int]) -> None:
    arcs = (first, second, *others)
    assert ber.oid(arcs) == encoder.encode(univ.ObjectIdentifier(arcs))
    assert ber.Reader(ber.oid(arcs)).oid() == arcs


@pytest.mark.parametrize("size", [0, 127, 128, 255, 256, 65535, 65536])
def test_lengths(size: int) -> None:
    value = bytes(size)
    assert ber.octets(value) == encoder.encode(univ.OctetString(value))
    assert ber.Reader(ber.octets(value)).octets() == value


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_malformed(data: bytes) -> None:
    for read in (ber.Reader.integer, ber.Reader.octets, ber.Reader.oid, ber.Reader.sequence):
        try:
            read(ber.Reader(data))
        except ber.Malformed:
            continue


@given(st.data())
def test_a_message_that_was_tampered_with_is_malformed(data: st.DataObject) -> None:
    message = bytearray(ANSWER)
    at = data.draw(st.integers(0, len(message) - 1))
    message[at] ^= data.draw(st.integers(1, 255))
    cut = data.draw(st.integers(0, len(message)))
    for packet in (bytes(message), bytes(message[:cut])):
        try:
            answer = USER.unseal(packet)
        except ber.Malformed:
            continue
        assert answer.level == 0, "not what was sent, yet taken for authentic"


def an_answer(engine: Engine = ENGINE) -> bytes:
    variables = ber.tlv(ber.SEQUENCE, ber.tlv(ber.SEQUENCE, ber.oid((1, 3, 6, 1)), ber.integer(1)))
    return usm.in_context(
        engine.engine_id, ber.tlv(usm.RESPONSE, ber.integer(99), ber.integer(5), ber.integer(0), variables)
    )


USER = user()
ANSWER = USER.seal(an_answer(), ENGINE, 7, reportable=False)


@pytest.mark.parametrize("priv", ["none", "DES", "AES-128", "AES-192", "AES-256", "AES-192-C", "AES-256-C"])
@pytest.mark.parametrize("auth", ["MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512"])
def test_what_is_sealed_is_unsealed_by_the_same_user_alone(auth: str, priv: str) -> None:
    password = None if priv == "none" else "maplesyrup"
    same, other = (
        user(auth_protocol=auth, priv_protocol=priv, priv_password=password, auth_password=each)
        for each in ("maplesyrup", "another password")
    )
    packet = same.seal(an_answer(), ENGINE, 7, reportable=True)
    answer = same.unseal(packet)
    assert (answer.msg_id, answer.engine, answer.tag) == (7, ENGINE, usm.RESPONSE)
    assert (answer.request_id, answer.error_status, answer.first_oid) == (99, 5, (1, 3, 6, 1))
    assert answer.level == (1 if priv == "none" else 3)
    assert (an_answer() in packet) is (priv == "none"), "encrypted, or not"
    with pytest.raises(ber.Malformed):
        other.unseal(packet)


def test_no_two_messages_share_an_initialization_vector() -> None:
    users = [user(), user()]  # as in two processes that send side by side
    salts = set()
    for each in users * 50:
        message = ber.Reader(each.seal(an_answer(), ENGINE, 7, reportable=False)).sequence()
        message.integer(), message.sequence()
        security = ber.Reader(message.octets()).sequence()
        security.octets(), security.integer(), security.integer(), security.octets(), security.octets()
        salts.add(security.octets())
    assert len(salts) == 100


@pytest.mark.parametrize(
    ("protocol", "key"),
    [
        ("MD5", "526f5eed9fcce26f8964c2930787d82b"),  # RFC 3414 A.3.1
        ("SHA", "6695febc9288e36282235fc7151f128497b38f3f"),  # RFC 3414 A.3.2
    ],
)
def test_the_keys_of_the_standard(protocol: str, key: str) -> None:
    derived = user(auth_protocol=protocol)._keys_for(ENGINE.engine_id)
    assert derived.auth.hex() == key
    assert derived.priv.hex() == key[:32]


def test_an_engine_id_full_of_zeros_does_not_hide_the_place_of_the_mac() -> None:
    engine = Engine(b"\x80" + bytes(31), 0, 0)
    assert USER.unseal(USER.seal(an_answer(engine), engine, 7, reportable=False)).level == 3


def test_the_engine_clock_never_goes_back() -> None:
    wall, steady = [EPOCH_S + 1000.0], [50.0]
    clock = EngineClock(lambda: wall[0], lambda: steady[0])
    told = [clock.seconds()]
    for wall_s, steady_s in ((-3600, 10), (0, 5), (3600, 5), (-3600, 5), (0, 5)):
        wall[0] += wall_s + steady_s
        steady[0] += steady_s
        told.append(clock.seconds())
    assert told == [1000, 1010, 1015, 1020, 1025, 1030]
    assert EngineClock(lambda: 0.0, lambda: 5.0).seconds() == 0
    assert EngineClock(lambda: 1e12, lambda: 5.0).seconds() == 2**31 - 1


def test_the_engine_clock_follows_one_that_is_set_forward() -> None:
    wall = [EPOCH_S + 10.0]
    clock = EngineClock(lambda: wall[0], lambda: 50.0)
    wall[0] += 7200
    assert clock.seconds() == 7210


def test_every_process_tells_the_same_time() -> None:
    """It is the wall clock's, whenever the process started."""
    since_2025 = datetime.now(UTC) - datetime(2025, 1, 1, tzinfo=UTC)
    assert abs(CLOCK.seconds() - since_2025.total_seconds()) < 30


def test_engine_ids_are_drawn_and_well_formed() -> None:
    ids = {bytes.fromhex(new_engine_id()) for _ in range(100)}
    assert len(ids) == 100
    assert {(each[:5].hex(), len(each)) for each in ids} == {("8001869f05", 17)}
