"""MQTT 5: CONNECT and CONNACK (3.1, 3.2)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from support import mqtt5_packets as say
from support.mqtt5_device import CONNACK, DISCONNECT, PUBACK, SUBACK, last_words_of, stranger
from support.mqtt5_door import COMMANDS, KEY, at
from support.mqtt5_packets import Prop, Will
from support.mqtt_door import ALIAS, BODY, TOKEN, TOPIC, door
from support.statements import statement5

if TYPE_CHECKING:
    from support.mqtt_door import Door

WELL = say.connect(ALIAS, TOKEN)


async def refusal(here: Door, *packets: bytes) -> int:
    """The code of the CONNACK that refuses, after which nothing comes."""
    (told,) = await last_words_of(here.address, *packets)
    assert (told.kind, told.session_present) == (CONNACK, False)
    return told.code


@statement5("MQTT-3.1.0-1", "MQTT-3.14.0-1")
async def test_the_first_packet_is_connect() -> None:
    async with door() as here:
        for first in (
            say.publish(TOPIC, BODY),
            say.subscribe(1, (COMMANDS, 1)),
            say.PINGREQ,
            say.disconnect(),
            say.auth(0x18, (Prop.AUTH_METHOD, "m")),
            b"\x00\x00",
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            assert await last_words_of(here.address, first + WELL) == []
        assert not here.intake.logins
        assert not here.intake.submissions


@statement5("MQTT-3.1.0-2", "MQTT-3.2.0-2")
async def test_a_second_connect_ends_it() -> None:
    async with door() as here, at(here) as device:
        (told,) = await device.last_words(WELL)
        assert (told.kind, told.code) == (DISCONNECT, 0x82)
        assert len(here.intake.logins) == 1


@statement5("MQTT-3.1.2-1", "MQTT-3.1.2-2")
async def test_other_protocols_and_versions() -> None:
    """The answer, if any, is one that its version understands."""
    async with door() as here:
        for name in (b"MQTT\0", b"mqtt", b"MQIsdp", b"", b"\xff", b"MQTT5"):
            await _refused_version(here, say.connect(ALIAS, TOKEN, name=name))
        for level in (0, 1, 2, 3, 6, 0x84, 0x85, 255):
            await _refused_version(here, say.connect(ALIAS, TOKEN, level=level))
        assert here.intake.logins == []


async def _refused_version(here: Door, connect: bytes) -> None:
    async with stranger(here.address) as device:
        device.write(connect)
        said = await device.rest()
        assert said in (b"", b"\x20\x02\x00\x01") or (said[:2], said[3:4]) == (
            b"\x20" + bytes([len(said) - 2]),
            b"\x84",
        )


MALFORMED = {
    "reserved flag": say.connect(ALIAS, TOKEN, flags=0x01),
    "will QoS without a will": say.connect(ALIAS, TOKEN, flags=0x08),
    "will retain without a will": say.connect(ALIAS, TOKEN, flags=0x20),
    "will QoS 3": say.connect(ALIAS, TOKEN, will=Will(TOPIC, BODY, 3)),
    "no will": say.connect(ALIAS, None, flags=0x04),
    "a will topic with a wildcard": say.connect(ALIAS, TOKEN, will=Will("a/#", BODY)),
    "user name without its flag": say.packet(0x10, say.connect(None, None)[2:] + b"\0\1u"),
    "no password in spite of its flag": say.connect(ALIAS, None, flags=0x40),
    "no user name in spite of its flag": say.connect(None, None, flags=0x80),
    "bytes to spare": say.packet(0x10, WELL[2:] + b"x"),
    "too short": say.packet(0x10, WELL[2:-1]),
    "no client id": say.packet(0x10, b"\0\4MQTT\5\2\0\0\0"),
    "fields in another order": say.packet(0x10, WELL[2:13] + say.text(ALIAS) + say.text(TOKEN) + say.text("c")[:-1]),
    "a client id that is no text": say.connect(ALIAS, TOKEN, b"\xff"),
    "NUL in the client id": say.connect(ALIAS, TOKEN, b"a\0"),
    "a user name that is no text": say.connect(b"\xed\xa0\x80", TOKEN),
    "receive maximum 0": say.connect(ALIAS, TOKEN, "c", (Prop.RECEIVE_MAX, 0)),
    "packet size 0": say.connect(ALIAS, TOKEN, "c", (Prop.PACKET_MAX, 0)),
    "a property twice": say.connect(ALIAS, TOKEN, "c", (Prop.ALIAS_MAX, 1), (Prop.ALIAS_MAX, 1)),
    "a property of PUBLISH": say.connect(ALIAS, TOKEN, "c", (Prop.ALIAS, 1)),
    "authentication data without a method": say.connect(ALIAS, TOKEN, "c", (Prop.AUTH_DATA, b"x")),
    "flags in the first byte": b"\x11" + WELL[1:],
}


@statement5("MQTT-3.1.4-1", "MQTT-3.1.2-3", "MQTT-3.1.2-9", "MQTT-3.1.2-11", "MQTT-3.1.2-12", "MQTT-3.1.2-13")
@statement5("MQTT-3.1.2-16", "MQTT-3.1.2-17", "MQTT-3.1.2-18", "MQTT-3.1.2-19", "MQTT-3.1.3-1", "MQTT-3.1.3-3")
@statement5("MQTT-3.1.3-4", "MQTT-3.1.3-12", "MQTT-3.14.0-1", "MQTT-3.2.2-8")
async def test_a_connect_that_is_not_as_it_should_be() -> None:
    async with door() as here:
        for what, packet in MALFORMED.items():
            told = await last_words_of(here.address, packet)
            assert [one.kind for one in told] in ([], [CONNACK]), what
            assert {one.code for one in told} <= {0x81, 0x82, 0x90}, what
            assert not any(one.session_present for one in told)
        assert not here.intake.logins
        assert not here.intake.submissions


@statement5("MQTT-3.1.4-5", "MQTT-3.2.2-1", "MQTT-3.2.2-8", "MQTT-3.1.2-28", "MQTT-4.12.0-6", "MQTT-3.2.2-20")
@statement5("MQTT-4.2.0-1")
async def test_what_connack_says_of_the_server() -> None:
    async with door() as here, at(here, "c", (Prop.REQUEST_RESPONSE, 1), (Prop.ALIAS_MAX, 9)) as device:
        told = device.connack
        assert told is not None
        assert (told.raw[2], told.code) == (0, 0)
        said = dict(told.properties)
        assert said.pop(Prop.RETAIN_AVAILABLE) == 0
        assert said.pop(Prop.SHARED_AVAILABLE) == 0
        for ident in (Prop.RECEIVE_MAX, Prop.ALIAS_MAX, Prop.PACKET_MAX):
            assert said.pop(ident)
        assert said.pop(Prop.WILDCARD_AVAILABLE, 1) == said.pop(Prop.SUBSCRIPTION_ID_AVAILABLE, 1) == 1
        assert said == {}, "among them Maximum QoS: all three are taken"


@statement5("MQTT-3.2.0-1", "MQTT-3.2.0-2")
async def test_connack_comes_first_and_once() -> None:
    async with door() as here:
        async with at(here, "c", (Prop.SESSION_EXPIRY, 100)) as device:
            await device.subscribed(COMMANDS)
        here.intake.command_store.queue(KEY)
        async with stranger(here.address) as device:
            again = say.connect(ALIAS, TOKEN, "c", (Prop.SESSION_EXPIRY, 100), clean=False)
            device.write(again + say.PINGREQ + say.publish(TOPIC, BODY, 1, 7))
            said = await device.answers(4)
            assert said[0].kind == CONNACK
            assert CONNACK not in {one.kind for one in said[1:]}


@statement5("MQTT-3.1.3-5", "MQTT-3.1.3-2")
async def test_client_ids() -> None:
    letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    names = [letters[at : at + 23] for at in (0, 20, 39)] + ["x", "-_.:/ +#$", "\u00fc\U0001f600", "x" * 100]
    async with door() as here:
        for name in names:
            async with at(here, name) as device:
                assert device.connack is not None
                assert device.connack.get(Prop.ASSIGNED_CLIENT_ID) is None
        assert [about["client_id"] for _, about, _ in here.intake.connections] == names


@statement5("MQTT-1.5.4-3", "MQTT-3.1.3-2")
async def test_a_byte_order_mark_is_a_character() -> None:
    async with door() as here, at(here, "c") as one, at(here, "\ufeffc") as two:
        assert await one.at_peace()
        assert await two.at_peace()
        assert [about["client_id"] for _, about, _ in here.intake.connections] == ["c", "\ufeffc"]


@statement5("MQTT-3.1.3-8")
async def test_a_client_id_that_is_too_long() -> None:
    async with door() as here:
        assert await refusal(here, say.connect(ALIAS, TOKEN, "x" * 2000)) == 0x85


@pytest.mark.parametrize("clean", [True, False])
@statement5("MQTT-3.1.3-6", "MQTT-3.1.3-7", "MQTT-3.2.2-16")
async def test_who_has_no_client_id_is_given_one(clean: bool) -> None:
    given = []
    async with door() as here:
        for _ in range(2):
            async with at(here, "", (Prop.SESSION_EXPIRY, 100), clean=clean) as device:
                assert device.connack is not None
                given.append(device.connack.get(Prop.ASSIGNED_CLIENT_ID))
                await device.subscribed(COMMANDS)
        assert len(set(given)) == 2
        assert [about["client_id"] for _, about, _ in here.intake.connections] == given
        async with at(here, str(given[0]), (Prop.SESSION_EXPIRY, 100), clean=False) as device:
            assert device.connack is not None
            assert device.connack.session_present


@statement5("MQTT-3.1.4-2", "MQTT-3.2.2-6", "MQTT-3.2.2-7", "MQTT-4.13.2-1")
async def test_refused_logins_end_with_their_code() -> None:
    async with door() as here:
        wrong = [
            say.connect(ALIAS, "wrong"),
            say.connect(ALIAS, b"\xff\0"),
            say.connect(ALIAS, None),
            say.connect("tenant-a/nobody", TOKEN),
        ]
        assert {await refusal(here, one) for one in wrong} == {0x87}, "nobody learns which devices there are"
        for username in ("no-slash", "a/b/c", None, "", "a b/c"):
            assert await refusal(here, say.connect(username, TOKEN)) == 0x86
        here.intake.store_down = True
        assert await refusal(here, WELL) == 0x88


@statement5("MQTT-3.1.4-6")
async def test_nothing_is_done_after_a_refused_connect() -> None:
    async with door() as here:
        more = say.publish(TOPIC, BODY) + say.subscribe(5, (COMMANDS, 1)) + say.PINGREQ
        assert await refusal(here, say.connect(ALIAS, "wrong") + more) == 0x87
        assert {message.msg_type for message, _ in here.intake.refused} <= {"connect"}
        assert not here.intake.committed
        assert not here.intake.connections


@statement5("MQTT-4.12.0-1", "MQTT-4.12.0-4")
async def test_authentication_methods_are_refused() -> None:
    async with door() as here:
        for pairs in (
            [(Prop.AUTH_METHOD, "SCRAM-SHA-1")],
            [(Prop.AUTH_METHOD, "SCRAM-SHA-1"), (Prop.AUTH_DATA, b"n,,n=user")],
        ):
            assert await refusal(here, say.connect(ALIAS, TOKEN, "c", *pairs)) == 0x8C
        assert here.intake.logins == []


@statement5("MQTT-3.2.2-13")
async def test_a_will_that_is_to_be_retained() -> None:
    async with door() as here:
        assert await refusal(here, say.connect(ALIAS, TOKEN, will=Will(TOPIC, BODY, retain=True))) == 0x9A
        assert here.intake.connections == []


@statement5("MQTT-3.2.2-19", "MQTT-3.2.2-20", "MQTT-3.1.2-24")
async def test_connack_is_not_larger_than_the_client_takes() -> None:
    async with door() as here:
        for longest in (1, 4, 5, 10, 20, 40, 79, 80, 100):
            for packet in (
                say.connect(ALIAS, "wrong", "", (Prop.PACKET_MAX, longest)),
                say.connect(ALIAS, TOKEN, "", (Prop.PACKET_MAX, longest)),
                say.connect(ALIAS, TOKEN, "c", (Prop.PACKET_MAX, longest), (Prop.AUTH_METHOD, "m")),
            ):
                async with stranger(here.address) as device:
                    for told in await device.leave(packet):
                        assert len(told.raw) <= longest, told


@statement5("MQTT-3.1.4-5")
async def test_a_connect_in_pieces_and_with_all_that_follows() -> None:
    async with door() as here:
        async with stranger(here.address) as device:
            for at_byte in range(len(WELL)):
                device.write(WELL[at_byte : at_byte + 1])
                await asyncio.sleep(0)
            assert (await device.answer()).kind == CONNACK
        async with stranger(here.address) as device:
            device.write(WELL + say.subscribe(5, (COMMANDS, 1)) + say.publish(TOPIC, BODY, 1, 6) + say.disconnect())
            said = await device.last_words()
            assert sorted(one.kind for one in said) == [CONNACK, PUBACK, SUBACK]
            assert said[0].kind == CONNACK


async def test_a_connect_that_never_ends_is_not_waited_for() -> None:
    async with door() as here:
        told = await last_words_of(here.address, b"\x10\xff\xff\xff\x7f" + WELL[2:])
        assert {one.code for one in told} <= {0x81, 0x95}
