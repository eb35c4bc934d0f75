"""Two strict readers of MQTT 5 apart: whatever the listener takes, ``mqtt5`` by another hand takes, too."""

from __future__ import annotations

import random

import mqtt5
import pytest

from pulse_mqtt.wire import PacketError
from support import mqtt5_packets as say
from support.mqtt5_packets import Prop, Will
from support.mqtt5_reading import read

COUNT = 8_000
_MESSAGE: list[say.Property] = [
    (Prop.PAYLOAD_FORMAT, 1),
    (Prop.MESSAGE_EXPIRY, 5),
    (Prop.CONTENT_TYPE, "c"),
    (Prop.RESPONSE_TOPIC, "r"),
    (Prop.CORRELATION_DATA, b"d"),
    (Prop.USER, ("a", "b")),
]
_CONNECT: list[say.Property] = [
    (Prop.SESSION_EXPIRY, 5),
    (Prop.AUTH_METHOD, "m"),
    (Prop.AUTH_DATA, b"x"),
    (Prop.REQUEST_PROBLEM, 1),
    (Prop.REQUEST_RESPONSE, 0),
    (Prop.RECEIVE_MAX, 5),
    (Prop.ALIAS_MAX, 4),
    (Prop.PACKET_MAX, 300),
    (Prop.USER, ("a", "b")),
]
_TOLD = say.properties((Prop.REASON, "r"), (Prop.USER, ("a", "b")))
GOOD = [
    say.connect("u", b"p", "c"),
    say.connect(None, None),
    say.connect(
        "u", b"p", "c", *_CONNECT, will=Will("w", b"x", 1, props=say.properties(*_MESSAGE, (Prop.WILL_DELAY, 4)))
    ),
    say.publish("t/a", b"xy", 0, 0, *_MESSAGE),
    say.publish("t/a", b"xy", 1, 1, *_MESSAGE, (Prop.ALIAS, 4)),
    say.publish("t/a", b"xy", 2, 1, dup=True, retain=True),
    say.puback(5),
    say.pubrec(5, 0x80, _TOLD),
    say.pubrel(5, 0x92, say.NONE),
    say.pubcomp(5, 0),
    say.subscribe(5, ("a/+/#", 1), ("b", 0x2E), props=say.properties((Prop.SUBSCRIPTION_ID, 300))),
    say.subscribe(4, ("$share/g/t", 1)),
    say.unsubscribe(5, "a", "b/#", props=say.properties((Prop.USER, ("a", "b")))),
    say.disconnect(),
    say.disconnect(4, (Prop.SESSION_EXPIRY, 5), (Prop.REASON, "x")),
]


def changed(packet: bytes, chance: random.Random) -> bytes:
    """A packet that differs by a few bits or bytes; its length is mostly right."""
    found = bytearray(packet)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at = chance.randrange(len(found))
        how = chance.randrange(4)
        if how == 0:
            found[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            found[at] = chance.choice((0, 1, 2, 3, 127, 128, 255))
        elif how == 2:
            found[at:at] = found[chance.randrange(len(found)) :][: chance.randrange(1, 6)]
        elif len(found) > 2:
            del found[at]
    if len(found) >= 2 and chance.random() < 0.8:
        found[1] = min(len(found) - 2, 127)
    return bytes(found)


def takes(packet: bytes) -> bool:
    """Whether the listener reads it."""
    try:
        read(packet)
    except PacketError:
        return False
    return True


def mqtt5_takes(packet: bytes) -> bool:
    """Whether the other reader does. It wants a topic beside an alias that does not come first."""
    try:
        return bool(mqtt5.read(memoryview(packet))[1] == len(packet))
    except ValueError as error:
        return "Topic alias" in str(error)
    except IndexError:
        return False


@pytest.mark.parametrize("seed", range(3))
def test_what_one_takes_the_other_takes(seed: int) -> None:
    chance = random.Random(seed)
    taken = 0
    for _ in range(COUNT):
        packet = changed(chance.choice(GOOD), chance)
        if takes(packet):
            taken += 1
            assert mqtt5_takes(packet), packet
    assert taken > COUNT // 20


def test_both_take_what_is_good() -> None:
    for packet in GOOD:
        assert takes(packet), packet
        assert mqtt5_takes(packet), packet
