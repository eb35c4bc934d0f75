"""The MQTT 3.1.1 codec: what is written is read back, what is forbidden is an error, and nothing else ever happens."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_mqtt import codec311 as codec
from pulse_mqtt import wire
from pulse_mqtt.login import read_connect, version_of
from pulse_mqtt.packets import V311, Connect, Subscribe, Unsubscribe, Will
from support import mqtt311 as mqtt

LIMIT = 100_000
_TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
_TOPIC = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0+#"), min_size=1, max_size=40)
_PACKET_ID = st.integers(1, 65535)
_LEVEL = st.text("ab /é", max_size=4) | st.just("+")
_FILTER = st.lists(_LEVEL, min_size=1, max_size=4).map("/".join).filter(bool) | st.just("#") | st.just("a/+/#")


def body_of(packet: bytes) -> bytes:
    header = wire.read_header(packet, 0, LIMIT)
    assert header is not None
    assert header[2] == len(packet)
    return packet[header[1] :]


def frames_of(chunks: list[bytes]) -> list[bytes]:
    """Frames as a connection would cut them out of a stream that comes in these chunks."""
    found, rest = [], b""
    for chunk in chunks:
        rest += chunk
        pos = 0
        while (header := wire.read_header(rest, pos, LIMIT)) is not None and header[2] <= len(rest):
            found.append(rest[pos : header[2]])
            pos = header[2]
        rest = rest[pos:]
    return found


@given(
    st.lists(
        st.builds(mqtt.publish, _TOPIC, st.binary(max_size=300), st.integers(0, 2), _PACKET_ID)
        | st.builds(mqtt.subscribe, _PACKET_ID, st.tuples(_FILTER, st.integers(0, 2)))
        | st.just(mqtt.PINGREQ),
        max_size=6,
    ),
    st.data(),
)
def test_frames_are_the_same_wherever_the_stream_is_cut(packets: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(packets)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]
    assert frames_of([stream[a:b] for a, b in itertools.pairwise(edges)]) == packets


def test_frames_are_the_same_byte_by_byte() -> None:
    packets = [mqtt.publish("t", b"x" * size, qos, 1) for size in (0, 1, 120, 130, 20_000) for qos in (0, 1, 2)]
    stream = b"".join(packets)
    assert frames_of([stream[at : at + 1] for at in range(len(stream))]) == packets


@given(_TOPIC, st.binary(max_size=300), st.integers(0, 2), _PACKET_ID, st.booleans())
def test_publish_round_trip(topic: str, payload: bytes, qos: int, packet_id: int, retain: bool) -> None:
    packet = mqtt.publish(topic, payload, qos, packet_id, retain=retain, dup=qos > 0)
    header = wire.read_header(packet, 0, LIMIT)
    assert header is not None
    ident = packet_id.to_bytes(2, "big") if qos else b""
    assert codec.read_publish(packet, *header) == (topic.encode(), qos, ident, payload)
    assert wire.topic_name(topic.encode()) == topic


@given(
    st.none() | _TEXT,
    st.none() | st.binary(max_size=40),
    _TEXT,
    st.booleans(),
    st.integers(0, 65535),
    st.none() | st.tuples(_TOPIC, st.binary(max_size=40)),
)
def test_connect_round_trip(
    username: str | None,
    password: bytes | None,
    client_id: str,
    clean: bool,
    keepalive_s: int,
    will: tuple[str, bytes] | None,
) -> None:
    if username is None:
        password = None
    packet = mqtt.connect(username, password, client_id, clean=clean, keepalive_s=keepalive_s, will=will)
    assert read_connect(body_of(packet), V311) == Connect(
        V311, client_id, clean, keepalive_s, username, password, Will(*will, qos=0, retain=False) if will else None
    )


@given(_PACKET_ID, st.lists(st.tuples(_FILTER, st.integers(0, 2)), min_size=1, max_size=4))
def test_subscribe_and_unsubscribe_round_trip(packet_id: int, filters: list[tuple[str, int]]) -> None:
    ident = packet_id.to_bytes(2, "big")
    assert codec.read_subscribe(body_of(mqtt.subscribe(packet_id, *filters))) == Subscribe(ident, filters)
    names = [name for name, _ in filters]
    assert codec.read_unsubscribe(body_of(mqtt.unsubscribe(packet_id, *names))) == Unsubscribe(ident, names)


@given(st.integers(0, wire.MAX_REMAINING))
def test_remaining_length_round_trip(count: int) -> None:
    encoded = wire.remaining_length(count)
    assert encoded == mqtt.length(count)
    header = wire.read_header(b"\x30" + encoded, 0, wire.MAX_REMAINING)
    assert header == (0x30, 1 + len(encoded), 1 + len(encoded) + count)


@given(_PACKET_ID, st.lists(st.sampled_from([0, 1, 0x80]), min_size=1, max_size=300))
def test_answers_are_whole_packets(packet_id: int, codes: list[int]) -> None:
    ident = packet_id.to_bytes(2, "big")
    assert frames_of([codec.suback(ident, codes)]) == [codec.suback(ident, codes)]
    assert codec.unsuback(ident) == b"\xb0\x02" + ident
    assert codec.connack(5) == b"\x20\x02\x00\x05"


@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (
        version_of,
        lambda body: read_connect(b"\0\4MQTT\4" + body, V311),
        codec.read_subscribe,
        codec.read_unsubscribe,
        codec.read_acknowledgement,
        wire.topic_name,
    ):
        try:
            read(data)
        except wire.PacketError:
            continue
    try:
        header = wire.read_header(data, 0, LIMIT)
        if header is not None and header[2] <= len(data):
            codec.read_publish(data, *header)
    except wire.PacketError:
        return


@given(st.binary(max_size=60))
def test_arbitrary_bodies_of_publish(body: bytes) -> None:
    for first in range(0x30, 0x40):
        packet = mqtt.packet(first, body)
        try:
            topic, _, _, payload = codec.read_publish(packet, first, 2, len(packet))
        except wire.PacketError:
            continue
        assert len(topic) + len(payload) <= len(body)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(body_of(mqtt.connect("u", "p", flags=0x01)), id="reserved flag"),
        pytest.param(body_of(mqtt.connect("u", "p", flags=0x08)), id="will QoS without a will"),
        pytest.param(body_of(mqtt.connect("u", "p", flags=0x20)), id="will retain without a will"),
        pytest.param(body_of(mqtt.connect("u", "p", will=("t", b""), flags=0x18)), id="will QoS 3"),
        pytest.param(body_of(mqtt.connect("u", "p", will=("a/#", b""))), id="will with a wildcard"),
        pytest.param(body_of(mqtt.connect(None, "p")), id="password without a user name"),
        pytest.param(body_of(mqtt.connect("u", "p")) + b"x", id="bytes to spare"),
        pytest.param(body_of(mqtt.connect("u", "p"))[:-1], id="too short"),
        pytest.param(body_of(mqtt.connect("u", "p", "a\0b")), id="NUL in the client id"),
        pytest.param(body_of(mqtt.connect(b"\xed\xa0\x80", "p")), id="surrogate in the user name"),
    ],
)
def test_a_connect_that_is_none(body: bytes) -> None:
    with pytest.raises(wire.PacketError) as caught:
        read_connect(body, version_of(body))
    assert not isinstance(caught.value, wire.UnsupportedProtocolError)


@pytest.mark.parametrize("topic_filter", ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a\0", "##"])
def test_a_topic_filter_that_is_none(topic_filter: str) -> None:
    with pytest.raises(wire.PacketError):
        codec.read_subscribe(body_of(mqtt.subscribe(1, (topic_filter, 0))))
    with pytest.raises(wire.PacketError):
        codec.read_unsubscribe(body_of(mqtt.unsubscribe(1, topic_filter)))


@pytest.mark.parametrize(
    "body",
    [b"", b"\0", b"\0\1", b"\0\0\0\1a\0", b"\0\1\0\1a\3", b"\0\1\0\1a", b"\0\1\0\2a\0"],
)
def test_a_subscribe_that_is_none(body: bytes) -> None:
    with pytest.raises(wire.PacketError):
        codec.read_subscribe(body)


@pytest.mark.parametrize("topic", [b"", b"a/+", b"#", b"a\0", b"\xff", b"\xed\xa0\x80", b"\xc0\xaf"])
def test_a_topic_name_that_is_none(topic: bytes) -> None:
    with pytest.raises(wire.PacketError):
        wire.topic_name(topic)


@pytest.mark.parametrize(
    "packet",
    [b"\x30\x80\x80\x80\x80\x01", b"\x30\xff\xff\xff\xff", b"\x30\xff\xff\xff\x7f"],
)
def test_a_length_that_is_none(packet: bytes) -> None:
    with pytest.raises(wire.PacketError):
        wire.read_header(packet, 0, LIMIT)
