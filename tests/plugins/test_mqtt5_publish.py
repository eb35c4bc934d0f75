"""MQTT 5: PUBLISH from devices and what answers it (3.3 to 3.7, 4.3)."""

from __future__ import annotations

import pytest

from pulse_core.api import COMMITTED, RETRY_LATER, Outcome, Reason, Verdict
from support import mqtt5_packets as say
from support.mqtt5_device import DISCONNECT, PINGRESP, PUBACK, PUBCOMP, PUBREC
from support.mqtt5_door import COMMANDS, FOREIGN, OWN, at
from support.mqtt5_packets import Prop
from support.mqtt_door import BODY, TOPIC, door
from support.statements import statement5
from support.waiting import until

CODES = {
    Reason.BAD_TOPIC_FORMAT: 0x87,
    Reason.UNKNOWN_MESSAGE_TYPE: 0x90,
    Reason.TENANT_MISMATCH_TOPIC_VS_PAYLOAD: 0x87,
    Reason.SITE_MISMATCH_REGISTRY_VS_PAYLOAD: 0x87,
    Reason.UNREGISTERED_DEVICE: 0x87,
    Reason.DEVICE_REVOKED: 0x87,
    Reason.TOKEN_NOT_SET_IN_REGISTRY: 0x87,
    Reason.TOKEN_MISSING: 0x87,
    Reason.TOKEN_INVALID: 0x87,
    Reason.MALFORMED_JSON: 0x99,
    Reason.INVALID_FIELD: 0x99,
    Reason.MISSING_SITE_ID: 0x99,
    Reason.TIMESTAMP_OUT_OF_RANGE: 0x99,
    Reason.PAYLOAD_TOO_LARGE: 0x97,
    Reason.RATE_LIMITED: 0x97,
    Reason.INGEST_EXCEPTION: 0x80,
}
REFUSED = Outcome(Verdict.REJECTED, Reason.INVALID_FIELD, "metrics: not an object")


@statement5("MQTT-3.3.4-1", "MQTT-2.2.1-2", "MQTT-2.2.1-5", "MQTT-4.2.0-1")
async def test_each_quality_of_service_has_its_answer() -> None:
    async with door() as here, at(here) as device:
        device.write(say.publish(TOPIC, BODY, 0))
        assert await device.at_peace()
        assert (await device.ask(say.publish(TOPIC, BODY, 1, 0x0102))).summary == (PUBACK, 0x0102, 0)
        assert (await device.ask(say.publish(TOPIC, BODY, 2, 65_535))).summary == (PUBREC, 65_535, 0)
        assert (await device.ask(say.pubrel(65_535))).summary == (PUBCOMP, 65_535, 0)
        assert [message.payload for message in here.intake.committed] == [BODY] * 3


@statement5("MQTT-4.3.2-4", "MQTT-4.3.3-8")
@pytest.mark.parametrize("qos", [1, 2])
async def test_nothing_is_acknowledged_before_it_is_committed(qos: int) -> None:
    async with door() as here, at(here) as device:
        here.intake.hold()
        device.write(say.publish(TOPIC, BODY, qos, 5))
        await until(lambda: here.intake.pending)
        assert await device.at_peace()
        here.intake.release()
        assert (await device.answer()).summary == (PUBACK if qos == 1 else PUBREC, 5, 0)


@statement5("MQTT-4.3.3-11", "MQTT-4.3.3-12", "MQTT-3.6.2-1", "MQTT-3.7.2-1", "MQTT-3.7.2-3")
async def test_a_release_is_completed_and_frees_the_packet_id() -> None:
    async with door() as here, at(here) as device:
        for _ in range(3):
            assert (await device.ask(say.publish(TOPIC, BODY, 2, 5))).summary == (PUBREC, 5, 0)
            told = await device.ask(say.pubrel(5, 0, say.properties((Prop.REASON, "done"), (Prop.USER, ("a", "b")))))
            assert (told.summary, told.properties) == ((PUBCOMP, 5, 0), ())
        assert len(here.intake.committed) == 3
        assert (await device.ask(say.pubrel(5))).summary == (PUBCOMP, 5, 0x92)
        assert (await device.ask(say.pubrel(6, 0x92))).summary == (PUBCOMP, 6, 0x92)


@statement5("MQTT-4.3.3-10")
async def test_what_is_repeated_before_its_release_is_one_message() -> None:
    async with door() as here, at(here) as device:
        for dup in (False, True, True, False):
            assert (await device.ask(say.publish(TOPIC, BODY, 2, 5, dup=dup))).summary == (PUBREC, 5, 0)
        assert len(here.intake.committed) == 1
        assert (await device.ask(say.pubrel(5))).summary == (PUBCOMP, 5, 0)


@statement5("MQTT-4.3.3-10")
async def test_what_is_repeated_before_it_is_committed_is_one_message() -> None:
    async with door() as here, at(here) as device:
        here.intake.hold()
        device.write(say.publish(TOPIC, BODY, 2, 5), say.publish(TOPIC, BODY, 2, 5, dup=True))
        await until(lambda: here.intake.pending)
        device.write(say.publish(TOPIC, BODY, 2, 5, dup=True))
        assert await device.at_peace()
        here.intake.release()
        assert [one.summary for one in await device.answers(3)] == [(PUBREC, 5, 0)] * 3
        assert len(here.intake.committed) == 1


@statement5("MQTT-4.3.3-10", "MQTT-3.1.2-5")
async def test_what_is_repeated_on_the_next_connection_is_one_message() -> None:
    async with door() as here:
        async with at(here, "c", (Prop.SESSION_EXPIRY, 100)) as device:
            assert (await device.ask(say.publish(TOPIC, BODY, 2, 5))).summary == (PUBREC, 5, 0)
            device.cut()
        async with at(here, "c", (Prop.SESSION_EXPIRY, 100), clean=False) as device:
            assert (await device.ask(say.publish(TOPIC, BODY, 2, 5, dup=True))).summary == (PUBREC, 5, 0)
            assert (await device.ask(say.pubrel(5))).summary == (PUBCOMP, 5, 0)
        assert len(here.intake.committed) == 1


@statement5("MQTT-4.3.3-8", "MQTT-4.3.3-10", "MQTT-4.3.3-9")
@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("outcome", [COMMITTED, REFUSED, RETRY_LATER])
async def test_what_is_repeated_before_it_is_decided_is_decided_once(lost: bool, outcome: Outcome) -> None:
    """The connection before has handed it over; this one reads on when that is decided."""
    async with door() as here, at(here, "c", (Prop.SESSION_EXPIRY, 100)) as before:
        here.intake.hold()
        before.write(say.publish(TOPIC, BODY, 2, 5))
        await until(lambda: here.intake.pending)
        if lost:
            before.cut()
        async with at(here, "c", (Prop.SESSION_EXPIRY, 100), clean=False) as device:
            device.write(say.publish(TOPIC, BODY, 2, 5, dup=True))
            assert await device.silent()
            assert len(here.intake.pending) == 1
            here.intake.script.append(outcome)
            here.intake.release()
            said = {one.kind: one for one in await device.answers(2)}
            assert said.keys() == {PUBREC, PINGRESP}
            assert said[PUBREC].summary == (PUBREC, 5, 0)
            assert (await device.ask(say.pubrel(5))).summary == (PUBCOMP, 5, 0)
            assert len(here.intake.committed) == 1
            assert len(here.intake.submissions) == (1 if outcome is COMMITTED else 2)


@statement5("MQTT-4.3.3-12", "MQTT-3.1.2-4")
async def test_a_new_session_knows_no_packet_ids() -> None:
    async with door() as here:
        async with at(here, "c", (Prop.SESSION_EXPIRY, 100)) as device:
            await device.ask(say.publish(TOPIC, BODY, 2, 5))
        async with at(here, "c", (Prop.SESSION_EXPIRY, 100), clean=True) as device:
            assert (await device.ask(say.pubrel(5))).summary == (PUBCOMP, 5, 0x92)
            assert (await device.ask(say.publish(TOPIC, BODY, 2, 5))).summary == (PUBREC, 5, 0)
        assert len(here.intake.committed) == 2


@statement5("MQTT-4.3.3-9")
async def test_a_refused_message_of_qos_2_frees_its_packet_id() -> None:
    async with door() as here, at(here) as device:
        here.intake.script.append(REFUSED)
        assert (await device.ask(say.publish(TOPIC, b"x", 2, 5))).summary == (PUBREC, 5, 0x99)
        assert (await device.ask(say.publish(TOPIC, BODY, 2, 5))).summary == (PUBREC, 5, 0)
        assert len(here.intake.committed) == 1
        assert (await device.ask(say.pubrel(5))).summary == (PUBCOMP, 5, 0)
        here.intake.script.append(REFUSED)
        assert (await device.ask(say.publish(TOPIC, b"x", 2, 6))).summary == (PUBREC, 6, 0x99)
        assert (await device.ask(say.pubrel(6))).summary == (PUBCOMP, 6, 0x92)


@statement5("MQTT-4.3.2-5")
async def test_an_acknowledged_packet_id_of_qos_1_is_free() -> None:
    async with door() as here, at(here) as device:
        for count in range(1, 4):
            assert (await device.ask(say.publish(TOPIC, BODY, 1, 5, dup=count > 1))).summary == (PUBACK, 5, 0)
            assert len(here.intake.committed) == count


async def test_one_packet_id_for_both_qualities_of_service() -> None:
    """A packet id stands for one unfinished PUBLISH (2.2.1): whoever uses it twice is refused or answered twice."""
    async with door() as here, at(here) as device:
        await device.ask(say.publish(TOPIC, BODY, 2, 5))
        told = await device.ask(say.publish(TOPIC, BODY, 1, 5))
        assert told.kind == DISCONNECT or told.summary in ((PUBACK, 5, 0), (PUBACK, 5, 0x91))


@statement5("MQTT-3.4.2-1", "MQTT-3.5.2-1", "MQTT-3.4.2-3", "MQTT-3.5.2-3")
@pytest.mark.parametrize("reason", Reason)
async def test_each_reason_has_its_code(reason: Reason) -> None:
    async with door() as here, at(here) as device:
        for qos, kind in ((1, PUBACK), (2, PUBREC)):
            for detail in ("", "more \u00fc"):
                here.intake.script.append(Outcome(Verdict.REJECTED, reason, detail))
                told = await device.ask(say.publish(TOPIC, BODY, qos, 5))
                assert told.summary == (kind, 5, CODES[reason])
                why = str(told.get(Prop.REASON))
                assert why.startswith(str(reason))
                assert detail in why
                assert told.get(Prop.USER) is None
        device.write(say.publish(TOPIC, BODY, 0))
        assert await device.at_peace()


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", 0x99), (b"{", 0x99), (b"\xff\0", 0x99), (b"{}", 0x99), (b'{"site_id":"other"}', 0x87), (b"x" * 9000, 0x97)],
)
async def test_payloads_that_are_none(body: bytes, code: int) -> None:
    async with door() as here, at(here) as device:
        assert (await device.ask(say.publish(TOPIC, body, 1, 5))).summary == (PUBACK, 5, code)
        assert (await device.ask(say.publish(TOPIC, body, 2, 5))).summary == (PUBREC, 5, code)
        assert here.intake.committed == []


@statement5("MQTT-3.1.2-29", "MQTT-3.7.2-3")
async def test_no_reason_strings_for_those_who_want_none() -> None:
    async with door() as here, at(here, "c", (Prop.REQUEST_PROBLEM, 0)) as device:
        told = [
            await device.ask(say.publish(TOPIC, b"x", 1, 5)),
            await device.ask(say.publish(TOPIC, b"x", 2, 5)),
            await device.ask(say.publish(FOREIGN, BODY, 1, 5)),
            await device.ask(say.pubrel(9)),
            await device.ask(say.subscribe(5, (FOREIGN, 1), ("$share/g/t", 1))),
            await device.ask(say.unsubscribe(5, FOREIGN)),
        ]
        assert [one.properties for one in told] == [()] * 6


@statement5("MQTT-3.4.2-2", "MQTT-3.5.2-2", "MQTT-3.7.2-2", "MQTT-3.9.2-1", "MQTT-3.9.2-2", "MQTT-3.11.2-1")
@statement5("MQTT-3.11.2-2")
async def test_no_reason_strings_where_there_is_no_room() -> None:
    async with door() as here:
        for length in range(0, 120, 7):
            async with at(here, "c", (Prop.PACKET_MAX, 80)) as device:
                detail = "\u00fc" * (length // 3) + "x" * (length - length // 3 * 2)
                here.intake.script.extend([Outcome(Verdict.REJECTED, Reason.INVALID_FIELD, detail)] * 2)
                told = [
                    await device.ask(say.publish(TOPIC, b"x", 1, 5)),
                    await device.ask(say.publish(TOPIC, b"x", 2, 5)),
                    await device.ask(say.pubrel(9)),
                    await device.ask(say.subscribe(5, (FOREIGN, 1))),
                    await device.ask(say.unsubscribe(5, FOREIGN)),
                ]
                assert all(len(one.raw) <= 80 for one in told)
                assert bool(told[0].get(Prop.REASON)) is (length < 53)


@statement5("MQTT-3.2.2-14", "MQTT-3.14.4-2")
@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_retained_messages_are_not_taken(qos: int) -> None:
    async with door() as here, at(here) as device:
        (told,) = await device.last_words(say.publish(TOPIC, BODY, qos, 5, retain=True))
        assert (told.kind, told.code) == (DISCONNECT, 0x9A)
        assert here.intake.committed == []


@pytest.mark.parametrize(
    "topic",
    [
        *(FOREIGN, "a", "$SYS/x", "/" + TOPIC),
        *("tenant/tenant-a/device/device-12/telemetry", "tenant/tenant-a/device/device-1xtelemetry"),
    ],
)
async def test_topics_that_are_not_its_own(topic: str) -> None:
    """It's told, and the connection lives."""
    async with door() as here, at(here) as device:
        device.write(say.publish(topic, BODY, 0))
        assert (await device.ask(say.publish(topic, BODY, 1, 5))).summary == (PUBACK, 5, 0x87)
        assert (await device.ask(say.publish(topic, BODY, 2, 5))).summary == (PUBREC, 5, 0x87)
        assert (await device.ask(say.publish(TOPIC, BODY, 1, 6))).summary == (PUBACK, 6, 0)
        assert (len(here.intake.committed), len(here.intake.refused)) == (1, 3)


@statement5("MQTT-4.7.3-3", "MQTT-4.7.3-4", "MQTT-1.5.4-3")
@pytest.mark.parametrize(
    ("topic", "code"),
    [
        (OWN, 0x87),
        (OWN + "telemetry/", 0x87),
        (OWN + "unheard-of", 0x90),
        (OWN + "\ufefftelemetry", 0x90),
        (OWN + "Telemetry", 0x90),
        (OWN + "x" * (65_535 - len(OWN)), 0x90),
        ("\ufeff" + TOPIC, 0x87),
        (TOPIC.replace("tenant-a", "Tenant-A"), 0x87),
        (TOPIC.replace("/device/", "//device/"), 0x87),
        ("x" * 65_535, 0x87),
    ],
)
async def test_topics_are_compared_as_they_are(topic: str, code: int) -> None:
    async with door() as here, at(here) as device:
        assert (await device.ask(say.publish(topic, BODY, 1, 5))).summary == (PUBACK, 5, code)
        assert (await device.ask(say.publish(TOPIC, BODY, 1, 6))).summary == (PUBACK, 6, 0)
        assert len(here.intake.committed) == 1


@statement5("MQTT-3.3.2-1", "MQTT-3.3.2-2", "MQTT-4.7.0-1", "MQTT-4.7.3-1", "MQTT-4.7.3-2")
@pytest.mark.parametrize("topic", [OWN + "+", OWN + "#", "#", "", b"\xff", b"\xed\xa0\x80", TOPIC + "\0"])
async def test_topic_names_that_are_none(topic: str | bytes) -> None:
    async with door() as here, at(here) as device:
        (told,) = await device.last_words(say.publish(topic, BODY, 1, 5))
        assert told.kind == DISCONNECT
        assert told.code in (0x81, 0x82, 0x90)
        assert here.intake.submissions == []


@statement5("MQTT-4.3.3-13", "MQTT-3.3.2-13", "MQTT-3.3.2-19")
async def test_properties_of_messages_are_taken_and_ignored() -> None:
    pairs: list[tuple[int, say.Value]] = [
        (Prop.PAYLOAD_FORMAT, 1),
        (Prop.MESSAGE_EXPIRY, 0),
        (Prop.CONTENT_TYPE, "application/json"),
        (Prop.RESPONSE_TOPIC, FOREIGN),
        (Prop.CORRELATION_DATA, b"\0\xff"),
        (Prop.USER, ("a", "b")),
        (Prop.USER, ("a", "c")),
    ]
    async with door() as here, at(here) as device:
        for qos, kind in ((1, PUBACK), (2, PUBREC)):
            told = await device.ask(say.publish(TOPIC, BODY, qos, 5, *pairs))
            assert (told.summary, told.properties) == ((kind, 5, 0), ())
        assert (await device.ask(say.pubrel(5))).summary == (PUBCOMP, 5, 0)
        device.write(say.publish(TOPIC, BODY, 0, 0, *pairs))
        assert await device.at_peace()
        assert [(one.msg_type, one.payload) for one in here.intake.committed] == [("telemetry", BODY)] * 3


@statement5("MQTT-3.8.3-3", "MQTT-3.3.1-8")
@pytest.mark.parametrize("options", [0x01, 0x05, 0x29])
async def test_nothing_that_a_device_says_comes_back(options: int) -> None:
    async with door() as here, at(here, "other") as other, at(here, "c", (Prop.SESSION_EXPIRY, 100)) as device:
        for listener in (other, device):
            await listener.ask(say.subscribe(5, (OWN + "#", options), (TOPIC, options)))
        for qos in (0, 1, 2):
            device.write(say.publish(TOPIC, BODY, qos, 6))
            device.write(say.publish(COMMANDS.replace("#", "reboot"), BODY, qos, 7))
        assert {one.kind for one in await device.answers(4)} == {PUBACK, PUBREC}
        assert await device.at_peace()
        assert await other.at_peace()
        assert (await other.ask(say.subscribe(8, (TOPIC, 1)))).packet_id == 8
        assert await other.at_peace()


async def test_answers_come_in_the_order_of_the_messages() -> None:
    async with door() as here, at(here) as device:
        here.intake.hold()
        device.write(say.publish(TOPIC, BODY, 1, 1), say.publish(TOPIC, BODY, 2, 2))
        await until(lambda: here.intake.pending)
        device.write(say.publish(TOPIC, b"x", 1, 3), say.publish(TOPIC, BODY, 2, 2, dup=True))
        await until(lambda: len(here.intake.pending) == 2)
        here.intake.decide(here.intake.pending[-1])
        assert await device.at_peace()
        here.intake.release()
        assert [one.packet_id for one in await device.answers(4)] == [1, 2, 3, 2]
