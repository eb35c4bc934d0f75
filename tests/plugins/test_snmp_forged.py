"""INFORMs answered by somebody who forges: nothing but the receiver's own, authentic answer is a receipt."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import PermanentFailure, PluginConfig, TemporaryFailure
from pulse_core.testing.channels import LocalServices, a_notification
from pulse_snmp import alert, ber, usm
from pulse_snmp.channel import SnmpChannel
from pulse_snmp.config import SnmpConfig
from pulse_snmp.engine import Engine
from pulse_snmp.informing import v2c_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable

ENGINE = Engine(bytes.fromhex("80001f880501020304"), 7, 1000)
OTHER = Engine(ENGINE.engine_id, 9, 5)
FIELDS: dict[str, Any] = {
    "host": "127.0.0.1",
    "version": "3",
    "notification": "inform",
    "user": "pulse",
    "auth_protocol": "SHA-256",
    "auth_password": "auth-pass-of-tests",
    "priv_protocol": "AES-128",
    "priv_password": "priv-pass-of-tests",
    "timeout_s": 14,
}
REQUEST = alert.request_id(a_notification().delivery_id)
STATS = (1, 3, 6, 1, 6, 3, 15, 1, 1)
TIME_WINDOW, UNKNOWN_ENGINE = (*STATS, 2, 0), (*STATS, 4, 0)


def user(**changes: Any) -> usm.User:
    return usm.User(SnmpConfig.model_validate({**FIELDS, **changes}))


RECEIVER = user()
UNPROTECTED = user(auth_protocol="none", auth_password=None, priv_protocol="none", priv_password=None)
UNENCRYPTED = user(priv_protocol="none", priv_password=None)
STRANGER = user(auth_password="another password")


def pdu(tag: int, request_id: int = REQUEST, status: int = 0, oid: tuple[int, ...] = (1, 3, 6, 1)) -> bytes:
    variable = ber.tlv(ber.SEQUENCE, ber.oid(oid), ber.integer(1))
    numbers = (ber.integer(each) for each in (request_id, status, 0))
    return ber.tlv(tag, *numbers, ber.tlv(ber.SEQUENCE, variable))


def sealed(by: usm.User, msg_id: int, content: bytes, engine: Engine = ENGINE) -> bytes:
    return by.seal(usm.in_context(engine.engine_id, content), engine, msg_id, reportable=False)


def header(packet: bytes) -> tuple[int, Engine]:
    """The message id, and the engine that the sender takes the receiver for."""
    message = ber.Reader(packet).sequence()
    message.integer()
    msg_id = message.sequence().integer()
    security = ber.Reader(message.octets()).sequence()
    return msg_id, Engine(security.octets(), security.integer(), security.integer())


class Answering(asyncio.DatagramProtocol):
    """Answers discovery honestly, and every INFORM with what ``answers`` says."""

    def __init__(self, answers: Callable[[int, Engine], Iterable[bytes]]) -> None:
        self.answers = answers
        self.asked: list[Engine] = []

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, sender: Any) -> None:
        msg_id, engine = header(data)
        self.asked.append(engine)
        if not engine.engine_id:
            answers: Iterable[bytes] = [sealed(UNPROTECTED, msg_id, pdu(usm.REPORT, 0, oid=UNKNOWN_ENGINE))]
        else:
            answers = self.answers(msg_id, engine)
        for answer in answers:
            self.transport.sendto(answer, sender)


@asynccontextmanager
async def informing(
    answers: Callable[[int, Engine], Iterable[bytes]], **changes: Any
) -> AsyncIterator[tuple[SnmpChannel, Answering]]:
    protocol = Answering(answers)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: protocol, local_addr=("127.0.0.1", 0)
    )
    services = LocalServices()
    fields = {**FIELDS, "port": transport.get_extra_info("sockname")[1], **changes}
    channel = SnmpChannel(SnmpConfig.model_validate(fields), services, PluginConfig())
    await channel.open()
    try:
        yield channel, protocol
    finally:
        transport.close()
        await services.http.close()


def honest(msg_id: int, engine: Engine = ENGINE) -> bytes:
    return sealed(RECEIVER, msg_id, pdu(usm.RESPONSE), engine)


LIES: dict[str, Callable[[int], bytes]] = {
    "nothing": lambda _: b"",
    "noise": lambda _: random.Random(1).randbytes(200),
    "v2c": lambda _: v2c_message(b"public", pdu(usm.RESPONSE)),
    "not authenticated": lambda msg_id: sealed(UNPROTECTED, msg_id, pdu(usm.RESPONSE)),
    "not encrypted": lambda msg_id: sealed(UNENCRYPTED, msg_id, pdu(usm.RESPONSE)),
    "by a stranger": lambda msg_id: sealed(STRANGER, msg_id, pdu(usm.RESPONSE)),
    "to another message": lambda msg_id: sealed(RECEIVER, msg_id ^ 1, pdu(usm.RESPONSE)),
    "to another request": lambda msg_id: sealed(RECEIVER, msg_id, pdu(usm.RESPONSE, REQUEST ^ 1)),
    "a forged time": lambda msg_id: sealed(UNPROTECTED, msg_id, pdu(usm.REPORT, 0, oid=TIME_WINDOW), OTHER),
    "our own INFORM": lambda msg_id: sealed(RECEIVER, msg_id, pdu(alert.INFORM)),
    "cut off": lambda msg_id: honest(msg_id)[:-1],
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
async def test_a_lie_is_no_receipt_and_does_not_spoil_the_truth(lie: Callable[[int], bytes]) -> None:
    tell = [lambda msg_id, _: [lie(msg_id), lie(msg_id)], lambda msg_id, _: [lie(msg_id), honest(msg_id)]]
    async with informing(tell[1]) as (channel, receiver):
        assert await channel.send(a_notification())
        assert [engine.boots for engine in receiver.asked] == [0, ENGINE.boots]
    async with informing(tell[0], timeout_s=0.5) as (channel, _):
        with pytest.raises(TemporaryFailure, match="no answer to the INFORM within 0"):
            await channel.send(a_notification())


async def test_the_engine_is_asked_for_once_and_its_time_goes_on() -> None:
    async with informing(lambda msg_id, _: [honest(msg_id)]) as (channel, receiver):
        for _ in range(3):
            await channel.send(a_notification())
    assert [engine.engine_id for engine in receiver.asked] == [b""] + [ENGINE.engine_id] * 3
    assert all(ENGINE.time_s <= engine.time_s < ENGINE.time_s + 60 for engine in receiver.asked[1:])


async def test_after_silence_the_engine_is_asked_for_again() -> None:
    """A receiver that was replaced may simply drop what is for its predecessor."""
    silent = False
    async with informing(lambda msg_id, _: [] if silent else [honest(msg_id)], timeout_s=4) as (channel, receiver):
        await channel.send(a_notification())
        silent = True
        with pytest.raises(TemporaryFailure, match="no answer"):
            await channel.send(a_notification())
        silent = False
        await channel.send(a_notification())
    assert [bool(engine.engine_id) for engine in receiver.asked] == [False, True, True, False, True]


PLAIN_LIES = {
    "nothing": b"",
    "noise": random.Random(2).randbytes(200),
    "to another request": v2c_message(b"public", pdu(usm.RESPONSE, REQUEST ^ 1)),
    "a trap": v2c_message(b"public", pdu(alert.TRAP)),
    "another version": ber.tlv(ber.SEQUENCE, ber.integer(0), ber.octets(b"public"), pdu(usm.RESPONSE)),
}


class Lying(asyncio.DatagramProtocol):
    """Answers every version 2c INFORM with a lie, and then with the truth."""

    def __init__(self, lie: bytes, status: int) -> None:
        self.answers = (lie, v2c_message(b"public", pdu(usm.RESPONSE, status=status)))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, sender: Any) -> None:
        for answer in self.answers:
            self.transport.sendto(answer, sender)


@pytest.mark.parametrize("lie", PLAIN_LIES.values(), ids=PLAIN_LIES)
async def test_of_version_2c_only_the_answer_to_this_request_counts(lie: bytes) -> None:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: Lying(lie, 16), local_addr=("127.0.0.1", 0)
    )
    services = LocalServices()
    fields = {"host": "127.0.0.1", "port": transport.get_extra_info("sockname")[1], "community": "public"}
    integration = SnmpConfig.model_validate({**fields, "notification": "inform", "timeout_s": 14})
    with pytest.raises(PermanentFailure, match="authorizationError"):
        await SnmpChannel(integration, services, PluginConfig()).send(a_notification())
    transport.close()
    await services.http.close()


async def test_an_authentic_report_sets_our_idea_of_its_time_right() -> None:
    def rebooted(msg_id: int, engine: Engine) -> list[bytes]:
        if engine.boots != OTHER.boots:
            return [sealed(UNENCRYPTED, msg_id, pdu(usm.REPORT, 0, oid=TIME_WINDOW), OTHER)]
        return [honest(msg_id, OTHER)]

    async with informing(rebooted) as (channel, receiver):
        assert await channel.send(a_notification())
        assert await channel.send(a_notification())
    assert [engine.boots for engine in receiver.asked] == [0, ENGINE.boots, OTHER.boots, OTHER.boots]


@pytest.mark.parametrize("oid", [TIME_WINDOW, UNKNOWN_ENGINE])
async def test_a_receiver_that_is_never_content_is_given_up_for_now(oid: tuple[int, ...]) -> None:
    async with informing(lambda msg_id, _: [sealed(UNENCRYPTED, msg_id, pdu(usm.REPORT, 0, oid=oid))]) as (
        channel,
        receiver,
    ):
        with pytest.raises(TemporaryFailure, match="changes its engine id or its time"):
            await channel.send(a_notification())
    assert len(receiver.asked) == 4


@pytest.mark.parametrize(
    ("answer", "failure", "told"),
    [
        (pdu(usm.RESPONSE, status=5), TemporaryFailure, r"the error genErr \(5\)"),
        (pdu(usm.RESPONSE, status=13), TemporaryFailure, r"resourceUnavailable \(13\)"),
        (pdu(usm.RESPONSE, status=16), PermanentFailure, r"authorizationError \(16\)"),
        (pdu(usm.RESPONSE, status=99), PermanentFailure, r"\(99\)"),
        (pdu(usm.REPORT, oid=(*STATS, 6, 0)), PermanentFailure, "cannot decrypt: priv_password"),
        (pdu(usm.REPORT, oid=(1, 3, 6, 1, 9)), PermanentFailure, r"reports 1\.3\.6\.1\.9"),
    ],
)
async def test_what_an_answer_means(answer: bytes, failure: type[Exception], told: str) -> None:
    async with informing(lambda msg_id, _: [sealed(RECEIVER, msg_id, answer)]) as (channel, _):
        with pytest.raises(failure, match=told):
            await channel.send(a_notification())
