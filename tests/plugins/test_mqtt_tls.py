"""MQTT over TLS: what is offered, logins by certificate, and files that are renewed."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import DeviceKey, Ending, PermanentFailure, Reason
from pulse_core.testing.intake import known_device
from pulse_mqtt import MqttIngester, tls
from pulse_mqtt.config import MqttConfig
from support import mqtt311 as mqtt
from support.certificates import Authority
from support.mqtt_door import ACCEPTED, ALIAS, BODY, TOKEN, TOPIC, Door, door
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

DEVICE = DeviceKey("tenant-a", "device-1")
REFUSED = b"\x20\x02\x00\x05"


class House:
    """An authority, and the files of a server that believes it."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder)
        self.authority.server("localhost")
        self.files: dict[str, Any] = {
            "tls_port": 0,
            "tls_cert": folder / "localhost.pem",
            "tls_client_ca": self.authority.file(),
        }

    @asynccontextmanager
    async def connected(
        self, here: Door, shown: Path | None = None, adjust: Callable[[ssl.SSLContext], None] | None = None
    ) -> AsyncIterator[mqtt.Client]:
        context = self.authority.client()
        if shown is not None:
            context.load_cert_chain(shown)
        if adjust is not None:
            adjust(context)
        async with speaking(here, context) as client:
            yield client


@asynccontextmanager
async def speaking(here: Door, context: ssl.SSLContext) -> AsyncIterator[mqtt.Client]:
    host, _, port = here.ingester.addresses()["mqtts"].removeprefix("mqtts://").rpartition(":")
    streams = await asyncio.open_connection(host, int(port), ssl=context, server_hostname="localhost")
    client = mqtt.Client(*streams)
    try:
        yield client
    finally:
        client.writer.close()
        with suppress(OSError):
            await client.writer.wait_closed()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> House:
    return House(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize("username", [ALIAS, None])
async def test_a_certificate_is_a_login(house: House, username: str | None) -> None:
    async with (
        door(**house.files) as here,
        house.connected(here, house.authority.device("CN=tenant-a/device-1")) as device,
    ):
        device.write(mqtt.connect(username, None) + mqtt.publish(TOPIC, BODY, 1, 5))
        assert [await device.read(), await device.read()] == [ACCEPTED, mqtt.puback(5)]
        [shown] = here.intake.logins
        assert (shown.key, shown.proven) == (DEVICE, True)
        here.intake.revoke(DEVICE)
        await device.closed()
        await until(lambda: here.intake.connections[0][2] == [Ending.REVOKED])


async def test_it_needs_no_token_to_have_been_set_but_a_device_that_may_come_in(house: House) -> None:
    async with door(**house.files) as here:
        here.intake.devices[DEVICE] = known_device("tenant-a", "device-1", None)
        async with house.connected(here, house.authority.device("CN=tenant-a/device-1")) as device:
            device.write(mqtt.connect(ALIAS, "whatever"))
            assert await device.read() == ACCEPTED
        here.intake.revoke(DEVICE)
        for subject in ("CN=tenant-a/device-1", "CN=tenant-a/unknown"):
            async with house.connected(here, house.authority.device(subject)) as device:
                device.write(mqtt.connect(None, None))
                assert await device.closed() == REFUSED
        await until(lambda: len(here.intake.refused) == 2)
        reasons = [outcome.reason for _, outcome in here.intake.refused]
        assert reasons == [Reason.DEVICE_REVOKED, Reason.UNREGISTERED_DEVICE]


async def test_another_devices_name_is_refused_even_with_its_token(house: House) -> None:
    async with (
        door(**house.files) as here,
        house.connected(here, house.authority.device("CN=tenant-b/device-1")) as device,
    ):
        device.write(mqtt.connect(ALIAS, TOKEN))
        assert await device.closed() == REFUSED
        assert here.intake.logins == []


async def test_a_certificate_that_names_nobody_is_as_none(house: House) -> None:
    stranger = house.authority.device("O=tenant-a,CN=device-1")
    async with door(**house.files) as here:
        for shown in (stranger, None):
            async with house.connected(here, shown) as device:
                device.write(mqtt.connect(ALIAS, TOKEN))
                assert await device.read() == ACCEPTED
            async with house.connected(here, shown) as device:
                device.write(mqtt.connect(ALIAS, None))
                assert await device.closed() == REFUSED
        assert [one.proven for one in here.intake.logins] == [False] * 4


async def test_templates_and_alternative_names(house: House) -> None:
    for template, shown in (
        ("O={tenant_id},CN={device_id}", house.authority.device("O=tenant-a,CN=device-1")),
        ("URI=pulse://{tenant_id}/{device_id}", house.authority.device("", names=("pulse://tenant-a/device-1",))),
    ):
        async with door(**house.files, tls_client_subject=template) as here, house.connected(here, shown) as device:
            device.write(mqtt.connect(None, None))
            assert await device.read() == ACCEPTED


async def refused(house: House, here: Door, shown: Path | None) -> bool:
    """Whether TLS itself ends the connection; with TLS 1.3 a client learns of it when it reads."""
    try:
        async with house.connected(here, shown) as device:
            device.write(mqtt.connect(ALIAS, TOKEN))
            await device.read()
    except OSError:
        return True
    return False


async def test_without_a_certificate_that_is_believed_where_one_is_required(house: House, tmp_path: Path) -> None:
    ours = house.authority.device("CN=tenant-a/device-1")
    foreign = Authority(tmp_path).device("CN=tenant-a/device-1")
    expired = house.authority.device("CN=tenant-a/device-1", valid_days=-1)
    servers = house.authority.device("CN=tenant-a/device-1", for_servers=True)
    async with door(**house.files, tls_client_cert="required") as here:
        assert not await refused(house, here, ours)
        for shown in (None, foreign, expired, servers):
            assert await refused(house, here, shown)
        assert len(here.intake.logins) == 1
    async with door(**house.files) as here:
        assert await refused(house, here, foreign)


async def test_without_authorities_certificates_are_not_asked_for(house: House) -> None:
    files = house.files | {"tls_client_ca": None}
    async with door(**files) as here, house.connected(here, house.authority.device("CN=tenant-a/device-1")) as device:
        device.write(mqtt.connect(ALIAS, None))
        assert await device.closed() == REFUSED


async def test_revoked_certificates(house: House) -> None:
    good, bad = (house.authority.device("CN=tenant-a/device-1") for _ in range(2))
    async with door(**house.files, tls_client_crl=house.authority.revoked(bad)) as here:
        assert not await refused(house, here, good)
        assert await refused(house, here, bad)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_session_that_is_resumed_does_not_hide_a_revocation(
    house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: ssl.TLSVersion
) -> None:
    monkeypatch.setattr(tls, "LOOK_EVERY_S", 0.05)
    shown = house.authority.device("CN=tenant-a/device-1")
    crl = tmp_path / "crl.pem"
    crl.write_bytes(house.authority.revoked().read_bytes())
    async with door(**house.files, tls_client_crl=crl) as here:
        host, _, port = here.ingester.addresses()["mqtts"].removeprefix("mqtts://").rpartition(":")
        context = house.authority.client()
        context.load_cert_chain(shown)
        context.maximum_version = context.minimum_version = version

        def log_in(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bytes, bool | None]:
            with (
                socket.create_connection((host, int(port)), 20) as raw,
                context.wrap_socket(raw, server_hostname="localhost", session=session) as wrapped,
            ):
                wrapped.sendall(mqtt.connect(None, None, clean=True))
                answer = wrapped.recv(4)
                return wrapped.session, answer, wrapped.session_reused

        session, answer, _ = await asyncio.to_thread(log_in, None)
        assert answer == ACCEPTED
        session, answer, reused = await asyncio.to_thread(log_in, session)
        assert (answer, reused) == (ACCEPTED, True)
        crl.write_bytes(house.authority.revoked(shown).read_bytes())

        async def turned_away() -> bool:
            _, answer, _ = await asyncio.to_thread(log_in, session)
            return answer != ACCEPTED

        for _ in range(200):
            if await turned_away():
                break
            await asyncio.sleep(0.05)
        else:
            pytest.fail("the revoked certificate is still believed")


async def test_tls_1_2_is_the_oldest(house: House) -> None:
    context = tls.Tls(MqttConfig(**house.files), None).context
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION

    def at_most_1_2(context: ssl.SSLContext) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2

    async with door(**house.files) as here, house.connected(here, adjust=at_most_1_2) as device:
        device.write(mqtt.connect(ALIAS, TOKEN))
        assert await device.read() == ACCEPTED


async def test_files_are_renewed_without_a_restart_once_they_fit_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls, "LOOK_EVERY_S", 0.05)
    house = House(tmp_path)
    other_folder = tmp_path / "other"
    other_folder.mkdir()
    other = House(other_folder)

    async def served_by(one: House) -> bool:
        try:
            async with one.connected(here) as client:
                client.write(mqtt.connect(ALIAS, TOKEN))
                return await client.read() == ACCEPTED
        except OSError:
            return False

    async with door(**house.files) as here, house.connected(here) as kept:
        kept.write(mqtt.connect(ALIAS, TOKEN, "kept"))
        assert await kept.read() == ACCEPTED
        house.files["tls_cert"].write_text("half a fi")
        await asyncio.sleep(0.3)
        assert await served_by(house)
        house.files["tls_cert"].write_bytes(other.files["tls_cert"].read_bytes())
        house.files["tls_client_ca"].write_bytes(other.files["tls_client_ca"].read_bytes())
        for _ in range(200):
            if await served_by(other):
                break
            await asyncio.sleep(0.05)
        assert not await served_by(house)
        assert not await refused(other, here, other.authority.device("CN=tenant-a/device-1"))
        kept.write(mqtt.PINGREQ)
        assert await kept.read() == mqtt.PINGRESP


@pytest.mark.parametrize("which", ["tls_cert", "tls_client_ca", "tls_client_crl"])
@pytest.mark.parametrize("content", [None, "nonsense"])
async def test_files_that_cannot_be_used_are_named(
    house: House, tmp_path: Path, which: str, content: str | None
) -> None:
    wrong = tmp_path / "wrong.pem"
    if content is not None:
        wrong.write_text(content)
    with pytest.raises(PermanentFailure, match=rf"{which} .*wrong\.pem"):
        await MqttIngester.check(MqttConfig(**(house.files | {which: wrong})))
