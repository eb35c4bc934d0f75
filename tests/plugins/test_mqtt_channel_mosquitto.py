"""The MQTT channel and a real broker: both versions, every QoS, TLS, passwords and rights."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import PermanentFailure, TemporaryFailure
from pulse_core.outbound import Outbound
from pulse_core.outbound.contact import noting
from pulse_core.testing.channels import LOOPBACK, a_notification
from support.certificates import Authority
from support.mosquitto import PASSWORD, USER, Mosquitto, mosquitto
from support.names import Names
from support.publishing import publishing
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOGIN: dict[str, Any] = {"user": USER, "password": PASSWORD}


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
@pytest.mark.parametrize(("qos", "said"), [(0, "sent, not acknowledged"), (1, "PUBACK"), (2, "PUBCOMP")])
async def test_every_version_and_qos(broker: Mosquitto, protocol: str, qos: int, said: str) -> None:
    broker.listen()
    async with publishing(broker.port, qos=qos, protocol=protocol, **LOGIN) as channel:
        for number in range(3):
            receipt = await channel.send(a_notification(device_id=f"pump-{number}"))
        assert receipt.startswith(f"{said} from 127.0.0.1 port {broker.port} (127.0.0.1), MQTT {protocol} in ")
        await until(lambda: len(broker.messages) == 3)
    first = broker.messages[0]
    assert (first.topic, first.qos, first.retain) == ("alerts/pump-0", qos, False)
    assert json.loads(first.payload) == json.loads(a_notification(device_id="pump-0").to_json())


async def test_a_retained_message_waits_for_its_readers(broker: Mosquitto) -> None:
    async with publishing(broker.port, retain=True, **LOGIN) as channel:
        assert "nobody is subscribed" in await channel.send(a_notification())
        broker.listen()
        await until(lambda: broker.messages)
    assert broker.messages[0].retain


@pytest.mark.parametrize("qos", [1, 2])
async def test_no_right_to_publish_is_no_delivery(broker: Mosquitto, qos: int) -> None:
    broker.listen()
    async with publishing(broker.port, topic_template="forbidden/{device_id}", qos=qos, **LOGIN) as channel:
        with pytest.raises(PermanentFailure, match="publishing: not authorised"):
            await channel.send(a_notification())
    assert broker.messages == []


@pytest.mark.parametrize(
    ("protocol", "why"), [("5", "not authorised|wrong user name or password"), ("3.1.1", "not authorised|wrong user")]
)
async def test_the_wrong_password(broker: Mosquitto, protocol: str, why: str) -> None:
    for login in ({"user": USER, "password": "wr0ng-password"}, {}):
        async with publishing(broker.port, protocol=protocol, **login) as channel:  # type: ignore[arg-type]
            with pytest.raises(PermanentFailure, match=f"connecting: ({why})") as caught:
                await channel.send(a_notification())
            assert "wr0ng" not in str(caught.value)


async def test_over_tls_by_name_at_the_checked_address(tmp_path: Path) -> None:
    authority, names = Authority(tmp_path), Names("127.0.0.1")
    authority.server("broker.test")
    outbound = Outbound(LOOPBACK, tls=authority.client(), look_up=names)
    with mosquitto(tmp_path, certificate=tmp_path / "broker.test.pem") as broker:
        url = f"mqtts://broker.test:{broker.port}"
        async with publishing(broker.port, url=url, outbound=outbound, qos=2, **LOGIN) as channel:
            for number in range(50):
                with noting() as contact:
                    receipt = await channel.send(a_notification(device_id=f"d{number}", summary="x" * 5000))
                assert (contact.address, contact.tls[:7]) == (f"127.0.0.1:{broker.port}", "TLSv1.3")
        assert "(127.0.0.1), TLSv1.3, MQTT 5" in receipt
        assert names.asked == ["broker.test"]


@pytest.mark.parametrize(
    ("name", "valid_days", "why"),
    [("other.test", 1, "Hostname mismatch"), ("broker.test", -2, "certificate has expired")],
)
async def test_a_certificate_that_is_not_accepted(tmp_path: Path, name: str, valid_days: int, why: str) -> None:
    authority = Authority(tmp_path)
    authority.server(name, valid_days=valid_days)
    outbound = Outbound(LOOPBACK, tls=authority.client(), look_up=Names("127.0.0.1"))
    with mosquitto(tmp_path, certificate=tmp_path / f"{name}.pem") as broker:
        url = f"mqtts://broker.test:{broker.port}"
        async with publishing(broker.port, url=url, outbound=outbound, **LOGIN) as channel:
            with pytest.raises(TemporaryFailure, match=f"the certificate is not accepted: {why}"):
                await channel.send(a_notification())
        assert "as pulse-" not in broker.log


async def test_tls_and_the_clear_do_not_mix(tmp_path: Path, broker: Mosquitto) -> None:
    async with publishing(broker.port, url=f"mqtts://127.0.0.1:{broker.port}") as channel:
        with pytest.raises(TemporaryFailure):
            await channel.send(a_notification())


async def test_a_broker_that_starts_again(tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        async with publishing(broker.port, **LOGIN) as channel:
            await channel.send(a_notification())
            broker.stop()
            with pytest.raises(TemporaryFailure):
                await channel.send(a_notification())
            (tmp_path / "again").mkdir()
            with mosquitto(tmp_path / "again", port=broker.port):
                await channel.send(a_notification())


async def test_what_the_broker_says_it_allows_is_kept_to(tmp_path: Path) -> None:
    with mosquitto(tmp_path, settings="retain_available false\nmax_packet_size 3000") as broker:
        async with publishing(broker.port, retain=True, **LOGIN) as channel:
            with pytest.raises(PermanentFailure, match="retains no messages"):
                await channel.send(a_notification())
        async with publishing(broker.port, **LOGIN) as channel:
            with pytest.raises(PermanentFailure, match="packets of 3000 bytes at most"):
                await channel.send(a_notification(summary="x" * 5000))
            await channel.send(a_notification())


async def test_many_at_once_share_a_connection(broker: Mosquitto) -> None:
    before = broker.log.count("New client connected")
    broker.listen()
    async with publishing(broker.port, qos=2, **LOGIN) as channel:
        await asyncio.gather(*(channel.send(a_notification(device_id=f"d{number}")) for number in range(300)))
        await until(lambda: len(broker.messages) == 300)
    assert broker.log.count("New client connected") - before == 2  # the reader's is one


def test_tls_contexts_check_names(tmp_path: Path) -> None:
    """What the tests above rely on."""
    context = Authority(tmp_path).client()
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
