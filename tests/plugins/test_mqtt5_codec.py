"""The listener's MQTT 5 on the wire: packets by another hand are read, and what no device may say is refused."""

from __future__ import annotations

from typing import Any

import mqtt5
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_mqtt import codec5, wire
from pulse_mqtt.codes import Code
from pulse_mqtt.packets import Connect, Goodbye, Order, Subscribe, Unsubscribe
from pulse_mqtt.packets import Will as OurWill
from pulse_mqtt.properties import Property
from pulse_mqtt.wire import PacketError
from support import mqtt5_packets as say
from support.mqtt5_device import read_answer
from support.mqtt5_packets import Prop, Will
from support.mqtt5_reading import read
from support.statements import statement5

_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_TOPIC = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=12)
_FILTER = (
    st.lists(st.one_of(st.just("+"), _TOPIC), min_size=1, max_size=3)
    .map("/".join)
    .filter(lambda found: not found.startswith("$share/"))
)
_ID = st.integers(1, 65_535)
_PAIRS = st.lists(st.tuples(_TEXT, _TEXT), max_size=3)
_U32 = st.integers(0, 0xFFFFFFFF)
_BINARY = st.binary(max_size=40)


def refusal(packet: bytes) -> Code:
    """Why a packet is refused."""
    with pytest.raises(PacketError) as caught:
        read(packet)
    return caught.value.code


@st.composite
def _wills(draw: Any) -> mqtt5.Will:
    return mqtt5.Will(
        draw(_TOPIC),
        payload=draw(_BINARY),
        qos=draw(st.sampled_from([mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE])),
        retain=draw(st.booleans()),
        message_expiry_interval=draw(st.none() | _U32),
        content_type=draw(st.none() | _TEXT),
        response_topic=draw(st.none() | _TOPIC),
        correlation_data=draw(st.none() | _BINARY),
        will_delay_interval=draw(_U32),
        user_properties=draw(_PAIRS),
    )


@given(
    _TEXT,
    st.fixed_dictionaries(
        {
            "username": st.none() | _TEXT,
            "password": st.none() | _BINARY,
            "clean_start": st.booleans(),
            "will": st.none() | _wills(),
            "keep_alive": st.integers(0, 65_535),
            "session_expiry_interval": _U32,
            "authentication_method": st.none() | _TEXT,
            "request_problem_info": st.booleans(),
            "request_response_info": st.booleans(),
            "receive_max": _ID,
            "topic_alias_max": st.integers(0, 65_535),
            "max_packet_size": st.none() | st.integers(1, 0xFFFFFFFF),
            "user_properties": _PAIRS,
        }
    ),
)
def test_a_connect_by_another_hand(client_id: str, said: dict[str, Any]) -> None:
    will = said["will"]
    found = read(mqtt5.ConnectPacket(client_id, **said).write())
    expected = Connect(
        5,
        client_id,
        said["clean_start"],
        said["keep_alive"],
        said["username"],
        said["password"],
        will and OurWill(will.topic, will.payload or b"", int(will.qos), will.retain, will.will_delay_interval),
        said["session_expiry_interval"],
        said["receive_max"],
        said["max_packet_size"],
        said["request_problem_info"],
        said["authentication_method"],
    )
    assert found == expected


@given(
    _TOPIC,
    st.binary(max_size=300),
    st.sampled_from([mqtt5.QoS.AT_MOST_ONCE, mqtt5.QoS.AT_LEAST_ONCE, mqtt5.QoS.EXACTLY_ONCE]),
    _ID,
    st.fixed_dictionaries(
        {
            "retain": st.booleans(),
            "payload_format_indicator": st.integers(0, 1),
            "message_expiry_interval": st.none() | _U32,
            "content_type": st.none() | _TEXT,
            "response_topic": st.none() | _TOPIC,
            "correlation_data": st.none() | _BINARY,
            "topic_alias": st.none() | _ID,
            "user_properties": _PAIRS,
        }
    ),
)
def test_a_publish_by_another_hand(
    topic: str, payload: bytes, qos: mqtt5.QoS, packet_id: int, said: dict[str, Any]
) -> None:
    ident = packet_id if int(qos) else None
    packet = mqtt5.PublishPacket(topic, payload, qos=qos, packet_id=ident, duplicate=int(qos) > 0, **said).write()
    name, level, raw_id, body, properties = read(packet)
    assert (name, level, body) == (topic, int(qos), payload)
    assert raw_id == (packet_id.to_bytes(2, "big") if int(qos) else b"")
    assert properties.get(Property.TOPIC_ALIAS) == said["topic_alias"]


@given(_ID, st.lists(st.tuples(_FILTER, st.integers(0, 2)), min_size=1, max_size=4), st.none() | _ID, _PAIRS)
def test_subscribe_and_unsubscribe_by_another_hand(
    packet_id: int, filters: list[tuple[str, int]], ident: int | None, pairs: list[tuple[str, str]]
) -> None:
    names, raw_id = [name for name, _ in filters], packet_id.to_bytes(2, "big")
    wanted = [mqtt5.TopicFilter(name, max_qos=mqtt5.QoS(qos), retain_as_published=False) for name, qos in filters]
    packet = mqtt5.SubscribePacket(packet_id, wanted, subscription_id=ident, user_properties=pairs).write()
    assert read(packet) == Subscribe(raw_id, filters, ident or 0)
    packet = mqtt5.UnsubscribePacket(packet_id, names, user_properties=pairs).write()
    assert read(packet) == Unsubscribe(raw_id, names)


@given(_ID, st.none() | _TEXT, _PAIRS, st.booleans(), st.none() | _U32)
def test_acknowledgements_and_goodbyes_by_another_hand(
    packet_id: int, reason: str | None, pairs: list[tuple[str, str]], well: bool, expiry_s: int | None
) -> None:
    more: dict[str, Any] = {"reason_str": reason, "user_properties": pairs}
    ident, code = packet_id.to_bytes(2, "big"), 0 if well else 0x97
    told: list[Any] = [
        mqtt5.PubAckPacket(packet_id, reason_code=mqtt5.PubAckReasonCode(code), **more),
        mqtt5.PubRecPacket(packet_id, reason_code=mqtt5.PubRecReasonCode(code), **more),
    ]
    assert [read(one.write()) for one in told] == [(ident, code)] * 2
    code = 0 if well else 0x92
    told = [
        mqtt5.PubRelPacket(packet_id, reason_code=mqtt5.PubRelReasonCode(code), **more),
        mqtt5.PubCompPacket(packet_id, reason_code=mqtt5.PubCompReasonCode(code), **more),
    ]
    assert [read(one.write()) for one in told] == [(ident, code)] * 2
    gone = mqtt5.DisconnectPacket(
        reason_code=mqtt5.DisconnectReasonCode(0 if well else 4), session_expiry_interval=expiry_s, **more
    )
    assert read(gone.write()) == Goodbye(0 if well else 4, expiry_s)


CODES = {
    "puback": {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    "pubrec": {0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99},
    "pubrel": {0x00, 0x92},
    "pubcomp": {0x00, 0x92},
    "disconnect": {0x00, 0x04, 0x80, 0x81, 0x82, 0x83, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99},
}
"""What a client may say (tables 3-4 to 3-10)."""


@statement5("MQTT-3.4.2-1", "MQTT-3.5.2-1", "MQTT-3.6.2-1", "MQTT-3.7.2-1", "MQTT-3.14.2-1")
@pytest.mark.parametrize("kind", CODES)
def test_reason_codes_that_a_client_may_say(kind: str) -> None:
    ident = () if kind == "disconnect" else (5,)
    for code in range(256):
        for props in (None, say.NONE):
            packet = getattr(say, kind)(*ident, code, props=props)
            if code in CODES[kind]:
                read(packet)
            else:
                assert refusal(packet) in (Code.MALFORMED_PACKET, Code.PROTOCOL_ERROR), code


@statement5("MQTT-3.8.3-5")
def test_subscription_options() -> None:
    for options in range(256):
        packet = say.subscribe(5, ("t", options))
        if options & 0xC0 or options & 3 == 3 or options >> 4 & 3 == 3:
            assert refusal(packet) in (Code.MALFORMED_PACKET, Code.PROTOCOL_ERROR), options
        else:
            assert read(packet).filters == [("t", options)]


@statement5("MQTT-3.8.3-4", "MQTT-4.8.2-1", "MQTT-4.8.2-2")
def test_shared_subscriptions_are_written_as_they_should_be() -> None:
    assert read(say.subscribe(5, ("$share/group/t/#", 1))).filters == [("$share/group/t/#", 1)]
    assert refusal(say.subscribe(5, ("$share/group/t", 0x05))) is Code.PROTOCOL_ERROR
    for wrong in ("$share", "$share/", "$share/group", "$share//t", "$share/+/t", "$share/g#/t", "$share/group/"):
        refusal(say.subscribe(5, (wrong, 1)))


@statement5("MQTT-4.7.1-1", "MQTT-4.7.1-2", "MQTT-4.7.3-1", "MQTT-4.7.3-2", "MQTT-3.8.3-1", "MQTT-3.10.3-1")
@pytest.mark.parametrize(
    "name", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a/b+", "##", "++", "a/+#", b"a\0", b"\xff", b"\xed\xa0\x80"]
)
def test_a_topic_filter_that_is_none(name: str | bytes) -> None:
    refusal(say.subscribe(5, ("a", 1), (name, 1)))
    refusal(say.unsubscribe(5, "a", name))


@pytest.mark.parametrize(
    "name", ["#", "+", "+/+", "/", "//", "a//#", "+/#", "a/+/b", "$x/#", " ", "\ufeff", "a" * 65_535]
)
def test_a_topic_filter_that_is_one(name: str) -> None:
    assert read(say.subscribe(5, (name, 1))).filters == [(name, 1)]
    assert read(say.unsubscribe(5, name)).filters == [name]


@statement5("MQTT-3.3.2-2", "MQTT-4.7.0-1", "MQTT-3.3.2-1")
@pytest.mark.parametrize("name", ["a/+", "#", "a/#", "a+b", b"a\0", b"\xff", b"\xed\xa0\x80"])
def test_a_topic_name_that_is_none(name: str | bytes) -> None:
    refusal(say.publish(name, b""))
    refusal(say.connect("u", b"p", will=Will(name, b"")))


@statement5("MQTT-2.2.1-3", "MQTT-3.8.3-2", "MQTT-3.10.3-2", "MQTT-3.3.1-2", "MQTT-3.3.1-4", "MQTT-3.3.4-6")
@pytest.mark.parametrize(
    ("packet", "code"),
    [
        pytest.param(say.publish("t", b"", 1, 0), Code.PROTOCOL_ERROR, id="PUBLISH with packet id 0"),
        pytest.param(say.publish("t", b"", 2, 0), Code.PROTOCOL_ERROR, id="PUBLISH of QoS 2 with packet id 0"),
        pytest.param(say.publish("t", b"", 0, dup=True), Code.MALFORMED_PACKET, id="DUP with QoS 0"),
        pytest.param(say.publish("t", b"", 3), Code.MALFORMED_PACKET, id="QoS 3"),
        pytest.param(say.publish("t", b"", 1, 5, (Prop.SUBSCRIPTION_ID, 1)), None, id="subscription id in PUBLISH"),
        pytest.param(b"\x30\x01\x00", Code.MALFORMED_PACKET, id="PUBLISH without a topic"),
        pytest.param(b"\x30\x03\x00\x01t", Code.MALFORMED_PACKET, id="PUBLISH without properties"),
        pytest.param(b"\x32\x04\x00\x01t\x00", Code.MALFORMED_PACKET, id="PUBLISH without a packet id"),
        pytest.param(say.puback(0), Code.PROTOCOL_ERROR, id="PUBACK with packet id 0"),
        pytest.param(say.pubrel(0), Code.PROTOCOL_ERROR, id="PUBREL with packet id 0"),
        pytest.param(say.subscribe(0, ("t", 1)), Code.PROTOCOL_ERROR, id="SUBSCRIBE with packet id 0"),
        pytest.param(say.unsubscribe(0, "t"), Code.PROTOCOL_ERROR, id="UNSUBSCRIBE with packet id 0"),
        pytest.param(say.subscribe(5), Code.PROTOCOL_ERROR, id="SUBSCRIBE without a filter"),
        pytest.param(say.unsubscribe(5), Code.PROTOCOL_ERROR, id="UNSUBSCRIBE without a filter"),
        pytest.param(say.packet(0x82, b"\0\5\0\0\1t"), Code.MALFORMED_PACKET, id="a filter without options"),
        pytest.param(say.packet(0x40, b"\0"), Code.MALFORMED_PACKET, id="half a packet id"),
        pytest.param(say.packet(0x40, b""), Code.MALFORMED_PACKET, id="no packet id"),
        pytest.param(say.puback(5, 0, b"\0\0"), Code.MALFORMED_PACKET, id="PUBACK with bytes to spare"),
        pytest.param(say.disconnect(0, props=b"\0\0"), Code.MALFORMED_PACKET, id="DISCONNECT with bytes to spare"),
    ],
)
def test_what_no_device_may_say(packet: bytes, code: Code | None) -> None:
    found = refusal(packet)
    assert found is code or (code is None and found in (Code.MALFORMED_PACKET, Code.PROTOCOL_ERROR))


@statement5("MQTT-3.1.2-3", "MQTT-3.1.2-9", "MQTT-3.1.2-11", "MQTT-3.1.2-12", "MQTT-3.1.2-13", "MQTT-3.1.2-16")
@statement5("MQTT-3.1.2-17", "MQTT-3.1.2-18", "MQTT-3.1.2-19", "MQTT-3.1.3-3", "MQTT-3.1.3-4", "MQTT-3.1.3-12")
@pytest.mark.parametrize(
    "packet",
    [
        pytest.param(say.connect("u", b"p", flags=0x01), id="reserved flag"),
        pytest.param(say.connect("u", b"p", flags=0x08), id="will QoS without a will"),
        pytest.param(say.connect("u", b"p", flags=0x20), id="will retain without a will"),
        pytest.param(say.connect("u", b"p", will=Will("t", b"", 3)), id="will QoS 3"),
        pytest.param(say.connect(None, None, flags=0x04), id="will flag without a will"),
        pytest.param(say.connect(None, None, flags=0x80), id="user name flag without a user name"),
        pytest.param(say.connect("u", None, flags=0x40), id="password flag without a password"),
        pytest.param(say.packet(0x10, say.connect(None, None)[2:] + b"\0\1u"), id="user name without its flag"),
        pytest.param(say.packet(0x10, say.connect("u", None)[2:] + b"\0\1p"), id="password without its flag"),
        pytest.param(say.packet(0x10, say.connect("u", b"p")[2:-1]), id="too short"),
        pytest.param(say.packet(0x10, b"\0\4MQTT\5\2\0\0\0"), id="no client id"),
        pytest.param(say.connect("u", b"p", b"\xff"), id="a client id that is no text"),
        pytest.param(say.connect("u", b"p", b"a\0b"), id="NUL in the client id"),
        pytest.param(say.connect(b"\xed\xa0\x80", b"p"), id="surrogate in the user name"),
        pytest.param(say.connect("u", b"p", will=Will("", b"")), id="a will topic that is empty"),
    ],
)
def test_a_connect_that_is_none(packet: bytes) -> None:
    code = refusal(packet)
    assert code in (Code.MALFORMED_PACKET, Code.PROTOCOL_ERROR, Code.TOPIC_NAME_INVALID)


@given(st.integers(0, wire.MAX_REMAINING))
def test_variable_byte_integers(value: int) -> None:
    encoded = wire.remaining_length(value)
    assert encoded == say.length(value)
    assert wire.read_header(b"\x30" + encoded, 0, wire.MAX_REMAINING) == (
        0x30,
        1 + len(encoded),
        1 + len(encoded) + value,
    )
    assert wire.Fields(encoded).length() == value
    padded = encoded[:-1] + bytes([encoded[-1] | 128, 0])
    with pytest.raises(PacketError):
        wire.Fields(padded).length()
    with pytest.raises(PacketError):
        wire.read_header(b"\x30" + padded, 0, wire.MAX_REMAINING)


@given(st.sampled_from([0x40, 0x50, 0x70]), _ID, st.sampled_from([0, 0x87, 0x97]), st.none() | _TEXT)
def test_acknowledgements_of_ours(head: int, packet_id: int, code: int, reason: str | None) -> None:
    if head == 0x70:
        code = 0x92 if code else 0
    told = read_answer(codec5.acknowledgement(head, packet_id.to_bytes(2, "big"), code, reason or ""))
    assert told.summary == (head >> 4, packet_id, code)
    assert told.get(Prop.REASON) == (reason or None)


@given(_TOPIC, st.binary(max_size=300), st.integers(0, 1), _ID, _U32, st.lists(st.integers(1, 268_435_455), max_size=3))
def test_commands_of_ours(
    topic: str, payload: bytes, qos: int, packet_id: int, expires_in_s: int, identifiers: list[int]
) -> None:
    order = Order(topic, payload, qos, packet_id, qos > 0, "an id", expires_in_s, identifiers)
    told = read_answer(codec5.publish(order))
    assert (told.topic, told.payload, told.flags) == (topic, payload, 0x0A if qos else 0)
    assert told.packet_id == (packet_id if qos else 0)
    assert told.all(Prop.SUBSCRIPTION_ID) == identifiers
    assert told.get(Prop.MESSAGE_EXPIRY) == expires_in_s
