"""The bridge against a broker that does what the test says: connections from beginning to end."""

from __future__ import annotations

import asyncio
import ssl
import time
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from structlog.testing import LogCapture

from pulse_core.testing.ingesters import body
from support.bridging import (
    DISCONNECT,
    PINGREQ,
    SUBSCRIBE,
    ScriptedBroker,
    bridging,
    scripted_broker,
)
from support.certificates import Authority
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def broker() -> AsyncIterator[ScriptedBroker]:
    async with scripted_broker() as running:
        yield running


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_asks_for_a_session_that_stays_and_says_how_much_it_takes(broker: ScriptedBroker, protocol: str) -> None:
    async with bridging(
        broker.port, protocol=protocol, user="pulse", password="secret", session_expiry_s=3600, max_undecided=321
    ):
        [login] = broker.logins
        assert login[7] & 0b10 == 0, "clean"
        assert login.endswith(b"\0\x05pulse\0\x06secret")
        assert b"\0\x12opsconductor-pulse" in login
        if protocol == "5":
            assert b"\x11" + (3600).to_bytes(4, "big") in login
            assert b"\x21" + (321).to_bytes(2, "big") in login
        [subscription] = [sent for kind, sent in broker.heard if kind == SUBSCRIBE]
        topic_filter = b"$share/pulse/tenant/+/device/+/+"
        head = len(subscription) - len(topic_filter) - 1
        assert subscription[head:-1] == topic_filter
        assert subscription[-1] == (0b10_0001 if protocol == "5" else 1), "QoS 1, and nothing retained"


async def test_while_the_broker_is_away_nothing_is_received(broker: ScriptedBroker) -> None:
    async with bridging(broker.port) as bridge:
        await broker.stop()
        await until(lambda: bridge.intake.receiving_log == [True, False])
        await broker.start(port=broker.port)
        await bridge.up()
        broker.publish(body(1))
        await until(lambda: broker.acks() == [1])


async def test_the_broker_need_not_be_there_first() -> None:
    broker = ScriptedBroker()
    await broker.start()
    await broker.stop()
    async with bridging(broker.port, wait=False) as bridge:
        await until(lambda: bridge.intake.receiving_log)
        assert not bridge.is_up
        assert bridge.ingester.addresses() == {"mqtt_bridge": f"mqtt://127.0.0.1:{broker.port}"}
        await broker.start(port=broker.port)
        await bridge.up()
    await broker.stop()


@pytest.mark.parametrize(
    ("trouble", "told"),
    [
        ({"greeting": 0x87}, "Not authorized"),
        ({"greeting": -1}, "hung up before it answered"),
        ({"greeting": None}, "timed out"),
        ({"granted": 0x87}, "refuses the subscription ($share/pulse/tenant/+/device/+/+: Not authorized)"),
        ({"granted": 0x9E}, "Shared subscription not supported"),
    ],
)
async def test_a_refusal_is_told_and_tried_again(broker: ScriptedBroker, trouble: dict[str, Any], told: str) -> None:
    vars(broker).update(trouble)
    heard = LogCapture()
    log = structlog.wrap_logger(None, processors=[heard])
    async with bridging(broker.port, wait=False, log=log, connect_timeout_s=0.5) as bridge:
        await until(lambda: broker.connections > 2)
        assert True not in bridge.intake.receiving_log
        broker.greeting, broker.granted = 0, 1
        await bridge.up()
    errors = [entry for entry in heard.entries if entry["log_level"] == "error"]
    assert len(errors) == 1, "told once, not at every attempt"
    assert told in errors[0]["reason"]


async def test_a_lower_qos_than_asked_for_is_told(broker: ScriptedBroker) -> None:
    broker.granted = 0
    heard = LogCapture()
    async with bridging(broker.port, log=structlog.wrap_logger(None, processors=[heard])):
        pass
    assert {"granted": 0, "wanted": 1}.items() <= next(
        entry.items() for entry in heard.entries if entry["event"] == "bridge.lower_qos"
    )


@pytest.mark.parametrize(
    "nonsense", [b"\xf0\x00", b"\x32\x03\x00\x09a", b"\x90\xff\xff\xff\xff\x01", b"\x32\x05\0\1a\0\0"]
)
async def test_nonsense_costs_a_connection_and_no_more(broker: ScriptedBroker, nonsense: bytes) -> None:
    async with bridging(broker.port) as bridge:
        broker.publish(body(1), packet_id=1)
        await until(lambda: broker.acks() == [1])
        broker.write(nonsense)
        await until(lambda: broker.ready == 2)
        await bridge.up()
        broker.publish(body(2), packet_id=1)
        await until(lambda: len(bridge.payloads) == 2)


async def test_leaves_with_a_word_and_what_is_undecided_stays_the_brokers(broker: ScriptedBroker) -> None:
    async with bridging(broker.port, drain_timeout_s=0.5) as bridge:
        broker.publish(body(1), packet_id=1)
        await until(lambda: bridge.intake.committed)
        bridge.intake.hold()
        broker.publish(body(2), packet_id=2)
        await until(lambda: bridge.intake.pending)
        await bridge.stop()
        await until(lambda: broker.heard[-1][0] == DISCONNECT)
        assert broker.acks() == [1]
        assert broker.heard[-1][1] == b"", "the session stays as it was agreed"


async def test_leaves_in_time_a_broker_that_does_not_listen(broker: ScriptedBroker) -> None:
    broker.greeting = None
    async with bridging(broker.port, wait=False) as bridge:
        await until(lambda: broker.logins)
        async with asyncio.timeout(5):
            await bridge.stop()


async def test_a_broker_that_is_silent_for_too_long_is_left(
    broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its minutes cannot be waited for, so the clock is moved on."""
    broker.deaf = True
    ahead_s = 0.0
    monkeypatch.setattr("paho.mqtt.client.time_func", lambda: time.monotonic() + ahead_s)
    async with bridging(broker.port, keepalive_s=300):
        ahead_s += 301
        await until(lambda: broker.heard[-1][0] == PINGREQ)
        ahead_s += 301
        await until(lambda: broker.connections == 2)


async def test_a_failing_intake_is_told_and_costs_a_connection(
    broker: ScriptedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with bridging(broker.port) as bridge:

        def broken(_messages: object) -> Any:
            raise RuntimeError("broken")

        monkeypatch.setattr(bridge.intake, "submit", broken)
        broker.publish(body(1))
        await until(lambda: broker.connections > 1)
        monkeypatch.undo()
        await bridge.up()
        broker.publish(body(1), dup=True)
        await until(lambda: broker.acks() == [1])


async def test_over_tls_with_an_authority_of_ones_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with (
        scripted_broker(authority.server("localhost")) as broker,
        bridging(broker.port, urls=(f"mqtts://localhost:{broker.port}",), ca_file=authority.file()) as bridge,
    ):
        for number in range(1, 201):
            broker.publish(body(number), packet_id=number)
        await until(lambda: len(broker.acks()) == 200)
        assert len(bridge.payloads) == 200


async def test_a_certificate_of_another_host_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    heard = LogCapture()
    async with (
        scripted_broker(authority.server("elsewhere.example")) as broker,
        bridging(
            broker.port,
            wait=False,
            log=structlog.wrap_logger(None, processors=[heard]),
            urls=(f"mqtts://localhost:{broker.port}",),
            ca_file=authority.file(),
        ),
    ):
        await until(lambda: heard.entries)
        assert "the certificate is not accepted" in heard.entries[0]["reason"]
        assert broker.logins == []


async def test_the_next_node_of_a_cluster_is_tried() -> None:
    async with scripted_broker() as gone, scripted_broker() as there:
        await gone.stop()
        urls = (f"mqtt://127.0.0.1:{gone.port}", f"mqtt://127.0.0.1:{there.port}")
        async with bridging(0, urls=urls):
            assert there.ready == 1


async def test_lives_through_a_flicker(broker: ScriptedBroker) -> None:
    async with bridging(broker.port) as bridge:
        for turn in (1, 2, 3):
            broker.publish(body(turn), packet_id=turn)
            await until(lambda turn=turn: broker.acks()[-1:] == [turn])  # type: ignore[misc]  # its default
            broker.drop()
            await until(lambda turn=turn: broker.ready == turn + 1)  # type: ignore[misc]
        assert bridge.payloads == [body(turn) for turn in (1, 2, 3)]


async def test_who_takes_our_session_over_is_told_of(broker: ScriptedBroker) -> None:
    heard = LogCapture()
    async with bridging(broker.port, log=structlog.wrap_logger(None, processors=[heard])):
        broker.write(b"\xe0\x01\x8e")
        broker.session_present = True
        await until(lambda: broker.ready == 2)
        broker.session_present = False
        broker.drop()
        await until(lambda: broker.ready == 3)
        await until(lambda: heard.entries[-1]["event"] == "bridge.session_lost")
    down = [entry["reason"] for entry in heard.entries if entry["event"] == "bridge.down"]
    assert "Session taken over" in down[0]
    assert [entry["session"] for entry in heard.entries if "session" in entry] == ["new", "resumed", "new"]


async def test_shows_a_certificate_of_its_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    server = authority.server("localhost")
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_verify_locations(authority.file())
    authority.server("bridge")
    async with scripted_broker(server) as broker:
        usual: dict[str, Any] = {"urls": (f"mqtts://localhost:{broker.port}",), "ca_file": authority.file()}
        async with bridging(broker.port, **usual, client_cert=tmp_path / "bridge.pem"):
            assert broker.ready == 1
        async with bridging(broker.port, **usual, wait=False) as bridge:
            await until(lambda: len(bridge.intake.receiving_log) > 1)
            assert broker.ready == 1


async def test_files_that_cannot_be_used_are_told_and_looked_at_again(broker: ScriptedBroker, tmp_path: Path) -> None:
    heard = LogCapture()
    async with bridging(
        broker.port,
        wait=False,
        log=structlog.wrap_logger(None, processors=[heard]),
        urls=(f"mqtts://127.0.0.1:{broker.port}",),
        ca_file=tmp_path / "not-yet.pem",
    ):
        await until(lambda: heard.entries)
        assert "ca_file" in heard.entries[0]["reason"]


async def test_a_name_that_is_none_costs_an_attempt_and_no_more() -> None:
    async with bridging(0, wait=False, urls=(f"mqtt://{'x' * 70}.example:1883",)) as bridge:
        await until(lambda: len(bridge.intake.receiving_log) > 1)
        assert not bridge.task.done()
