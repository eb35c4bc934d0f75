"""Properties of MQTT 5 packets: which belong where, how often, and what they may say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pulse_mqtt.codes import Code
from pulse_mqtt.wire import PacketError
from support import mqtt5_packets as say
from support.mqtt5_packets import BINARIES, BYTES, TEXTS, Prop, Will
from support.mqtt5_reading import read
from support.statements import statement5

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.mqtt5_packets import Value

_MESSAGE = {
    *(Prop.PAYLOAD_FORMAT, Prop.MESSAGE_EXPIRY, Prop.CONTENT_TYPE, Prop.RESPONSE_TOPIC, Prop.CORRELATION_DATA),
    Prop.USER,
}
_CONNECT = {
    *(Prop.SESSION_EXPIRY, Prop.AUTH_METHOD, Prop.AUTH_DATA, Prop.REQUEST_PROBLEM, Prop.REQUEST_RESPONSE),
    *(Prop.RECEIVE_MAX, Prop.ALIAS_MAX, Prop.PACKET_MAX, Prop.USER),
}
_TOLD = {Prop.REASON, Prop.USER}
ALLOWED = {
    "connect": _CONNECT,
    "will": _MESSAGE | {Prop.WILL_DELAY},
    "publish": _MESSAGE | {Prop.ALIAS},
    "puback": _TOLD,
    "pubrec": _TOLD,
    "pubrel": _TOLD,
    "pubcomp": _TOLD,
    "subscribe": {Prop.SUBSCRIPTION_ID, Prop.USER},
    "unsubscribe": {Prop.USER},
    "disconnect": {Prop.SESSION_EXPIRY, *_TOLD},
}
"""Table 2-4, as far as a client may say it."""

PACKETS: dict[str, Callable[[bytes], bytes]] = {
    "connect": lambda props: say.connect("u", b"p", "c", props=props),
    "will": lambda props: say.connect("u", b"p", "c", will=Will("t", b"", props=props)),
    "publish": lambda props: say.publish("t", b"x", 1, 7, props=props),
    "puback": lambda props: say.puback(7, 0x80, props),
    "pubrec": lambda props: say.pubrec(7, 0, props),
    "pubrel": lambda props: say.pubrel(7, 0, props),
    "pubcomp": lambda props: say.pubcomp(7, 0x92, props),
    "subscribe": lambda props: say.subscribe(7, ("t", 1), props=props),
    "unsubscribe": lambda props: say.unsubscribe(7, "t", props=props),
    "disconnect": lambda props: say.disconnect(0, props=props),
}

every_packet = pytest.mark.parametrize("kind", PACKETS)


def good(ident: int) -> Value:
    """A value that a property may have."""
    if ident in BYTES or ident == Prop.SUBSCRIPTION_ID:
        return 1
    if ident == Prop.USER:
        return "name", "value"
    return b"data" if ident in BINARIES else "text"


def said(kind: str, *idents: int) -> bytes:
    """A packet with properties of these identifiers. Authentication data is never without its method."""
    pairs = [(ident, good(ident)) for ident in idents]
    if Prop.AUTH_DATA in idents and Prop.AUTH_METHOD not in idents:
        pairs.append((Prop.AUTH_METHOD, good(Prop.AUTH_METHOD)))
    return PACKETS[kind](say.properties(*pairs))


def refusal(packet: bytes) -> Code:
    """Why a packet is refused."""
    with pytest.raises(PacketError) as caught:
        read(packet)
    return caught.value.code


@every_packet
def test_each_property_only_where_it_belongs(kind: str) -> None:
    for ident in Prop:
        packet = said(kind, ident)
        if ident in ALLOWED[kind]:
            read(packet)
        else:
            assert refusal(packet) in (Code.MALFORMED_PACKET, Code.PROTOCOL_ERROR), ident.name


@every_packet
def test_a_property_that_does_not_exist(kind: str) -> None:
    for ident in set(range(256)) - set(Prop):
        name = bytes([ident]) if ident < 128 else bytes([ident, 1])
        for value in (b"", b"\0", b"\0\0\0\0"):
            refusal(PACKETS[kind](say.block(name + value)))


@every_packet
def test_all_at_once_and_in_any_order(kind: str) -> None:
    idents = sorted(ALLOWED[kind])
    read(said(kind, *idents))
    read(said(kind, *reversed(idents)))


@every_packet
def test_what_comes_twice_is_a_protocol_error(kind: str) -> None:
    for ident in ALLOWED[kind] - {Prop.USER}:
        assert refusal(said(kind, ident, Prop.USER, ident)) is Code.PROTOCOL_ERROR, ident.name


@every_packet
def test_user_properties_may_come_often(kind: str) -> None:
    assert read(said(kind, *(Prop.USER,) * 40)) == read(said(kind))


@every_packet
def test_a_property_that_is_cut_off(kind: str) -> None:
    for ident in ALLOWED[kind]:
        whole = say.prop(ident, good(ident))
        for end in range(1, len(whole)):
            refusal(PACKETS[kind](say.block(whole[:end])))


@every_packet
def test_a_length_that_goes_beyond_the_packet(kind: str) -> None:
    for length in (b"\x7f", b"\xff\x7f", b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x80"):
        refusal(PACKETS[kind](length))


@statement5("MQTT-1.5.5-1")
@every_packet
def test_integers_that_are_longer_than_need_be(kind: str) -> None:
    user = say.prop(Prop.USER, ("a", "b"))
    read(PACKETS[kind](say.block(user)))
    refusal(PACKETS[kind](bytes([len(user) | 128, 0]) + user))
    refusal(PACKETS[kind](say.block(b"\xa6\x00" + user[1:])))


@statement5("MQTT-2.2.2-1")
@pytest.mark.parametrize("kind", ["connect", "will", "publish", "subscribe", "unsubscribe"])
def test_no_properties_are_said_to_be_none(kind: str) -> None:
    """Acknowledgements and DISCONNECT may end before."""
    read(PACKETS[kind](say.NONE))
    refusal(PACKETS[kind](b""))


@pytest.mark.parametrize(
    ("kind", "ident", "value", "code"),
    [
        ("connect", Prop.REQUEST_PROBLEM, 2, Code.PROTOCOL_ERROR),
        ("connect", Prop.REQUEST_RESPONSE, 2, Code.PROTOCOL_ERROR),
        ("connect", Prop.RECEIVE_MAX, 0, Code.PROTOCOL_ERROR),
        ("connect", Prop.PACKET_MAX, 0, Code.PROTOCOL_ERROR),
        ("connect", Prop.AUTH_DATA, b"data", Code.PROTOCOL_ERROR),
        ("will", Prop.PAYLOAD_FORMAT, 2, Code.PROTOCOL_ERROR),
        ("publish", Prop.PAYLOAD_FORMAT, 255, Code.PROTOCOL_ERROR),
        ("publish", Prop.ALIAS, 0, Code.TOPIC_ALIAS_INVALID),
        ("subscribe", Prop.SUBSCRIPTION_ID, 0, Code.PROTOCOL_ERROR),
    ],
)
def test_values_that_are_forbidden(kind: str, ident: int, value: Value, code: Code) -> None:
    assert refusal(PACKETS[kind](say.properties((ident, value)))) is code


@pytest.mark.parametrize(
    ("kind", "ident", "value"),
    [
        ("connect", Prop.SESSION_EXPIRY, 0),
        ("connect", Prop.SESSION_EXPIRY, 0xFFFFFFFF),
        ("connect", Prop.ALIAS_MAX, 0),
        ("connect", Prop.RECEIVE_MAX, 65_535),
        ("connect", Prop.PACKET_MAX, 0xFFFFFFFF),
        ("connect", Prop.AUTH_METHOD, ""),
        ("will", Prop.WILL_DELAY, 0xFFFFFFFF),
        ("publish", Prop.MESSAGE_EXPIRY, 0),
        ("publish", Prop.CORRELATION_DATA, b""),
        ("publish", Prop.CORRELATION_DATA, b"\0\xff\xed\xa0\x80"),
        ("publish", Prop.CORRELATION_DATA, bytes(65_535)),
        ("publish", Prop.CONTENT_TYPE, ""),
        ("publish", Prop.ALIAS, 65_535),
        ("publish", Prop.USER, ("", "")),
        ("subscribe", Prop.SUBSCRIPTION_ID, 268_435_455),
        ("disconnect", Prop.SESSION_EXPIRY, 0),
    ],
)
def test_values_at_the_edge(kind: str, ident: int, value: Value) -> None:
    read(PACKETS[kind](say.properties((ident, value))))


BAD_TEXTS = (b"\xff", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xc0\xaf", b"\xe2\x82", b"\xf4\x90\x80\x80", b"a\0b")
GOOD_TEXTS = ("\ufeff", "\uffff", "\U0010ffff", "\x01\x7f\x9f", "\u0130", "\ud7ff\ue000")


@statement5("MQTT-1.5.4-1", "MQTT-1.5.4-2", "MQTT-1.5.4-3", "MQTT-3.3.2-13", "MQTT-3.3.2-19", "MQTT-3.1.3-11")
@every_packet
def test_texts_are_texts(kind: str) -> None:
    for ident in ALLOWED[kind] & TEXTS:
        for bad in BAD_TEXTS:
            assert refusal(PACKETS[kind](say.properties((ident, bad)))) is Code.MALFORMED_PACKET, (ident, bad)
        for fine in GOOD_TEXTS:
            read(PACKETS[kind](say.properties((ident, fine))))


@statement5("MQTT-1.5.7-1")
@every_packet
def test_user_properties_are_texts_on_both_sides(kind: str) -> None:
    for bad in BAD_TEXTS:
        assert refusal(PACKETS[kind](say.properties((Prop.USER, (bad, b"x"))))) is Code.MALFORMED_PACKET
        assert refusal(PACKETS[kind](say.properties((Prop.USER, (b"x", bad))))) is Code.MALFORMED_PACKET
    for fine in GOOD_TEXTS:
        read(PACKETS[kind](say.properties((Prop.USER, (fine, fine)))))


@statement5("MQTT-3.3.2-14")
@pytest.mark.parametrize("kind", ["publish", "will"])
@pytest.mark.parametrize("topic", ["a/+", "#", "a/#", "+", "a+b", ""])
def test_a_response_topic_has_no_wildcard(kind: str, topic: str) -> None:
    refusal(PACKETS[kind](say.properties((Prop.RESPONSE_TOPIC, topic))))
