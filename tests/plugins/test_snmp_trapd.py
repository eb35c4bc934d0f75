"""The SNMP channel and net-snmp's snmptrapd: what a customer's receiver makes of it."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from pulse_core.api import PermanentFailure, PluginConfig, TemporaryFailure
from pulse_core.testing.channels import LocalServices, a_notification
from pulse_snmp.channel import SnmpChannel
from pulse_snmp.config import SnmpConfig
from support.snmp_receiver import AUTH_PASSWORD, ENGINE_ID, PRIV_PASSWORD
from support.snmptrapd import SnmpTrapd, snmptrapd, text_of
from support.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

AUTH = ("MD5", "SHA", "SHA-224", "SHA-256", "SHA-384", "SHA-512")
PRIV = ("none", "DES", "AES-128", "AES-192", "AES-256", "AES-192-C", "AES-256-C")
PAIRS = [("none", "none"), *((auth, priv) for auth in AUTH for priv in PRIV)]
OBJECTS = "1.3.6.1.4.1.99999.1"
WRONG = "not-the-password"


def user_of(auth: str, priv: str) -> str:
    return f"{auth}_{priv}"


def user_lines(auth: str, priv: str, engine_id: str = ENGINE_ID) -> list[str]:
    """A user for traps, whose keys depend on the sender's engine, and the same one for INFORMs."""
    words = [user_of(auth, priv)]
    words += [auth, AUTH_PASSWORD] if auth != "none" else []
    words += [priv.replace("AES-128", "AES"), PRIV_PASSWORD] if priv != "none" else []
    return [f"createUser -e 0x{engine_id} {' '.join(words)}", f"createUser {' '.join(words)}"]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SnmpTrapd]:
    lines = [line for pair in PAIRS for line in user_lines(*pair)]
    with snmptrapd(tmp_path_factory.mktemp("snmptrapd"), *lines) as running:
        yield running


@pytest.fixture
async def services() -> AsyncIterator[LocalServices]:
    made = LocalServices()
    yield made
    await made.http.close()


def secure(port: int, auth: str, priv: str, **changes: Any) -> dict[str, Any]:
    return {
        "host": "127.0.0.1",
        "port": port,
        "version": "3",
        "user": user_of(auth, priv),
        "auth_protocol": auth,
        "auth_password": AUTH_PASSWORD if auth != "none" else None,
        "priv_protocol": priv,
        "priv_password": PRIV_PASSWORD if priv != "none" else None,
        "engine_id": ENGINE_ID,
        **changes,
    }


def plain(port: int, **changes: Any) -> dict[str, Any]:
    return {"host": "127.0.0.1", "port": port, "community": "public", **changes}


async def opened(fields: dict[str, Any], services: LocalServices) -> SnmpChannel:
    channel = SnmpChannel(SnmpConfig.model_validate(fields), services, PluginConfig())
    await channel.open()
    return channel


async def arrival(daemon: SnmpTrapd, device_id: str) -> dict[str, str]:
    """What has arrived about a device, decoded."""

    def find() -> dict[str, str] | None:
        about = [each for each in daemon.notifications() if text_of(each[f"{OBJECTS}.2.0"]) == device_id]
        return about[0] if about else None

    found = await until(find, what=f"a notification about {device_id}")
    return {oid: text_of(value) if "STRING" in value else value for oid, value in found.items()}


def check_values(arrived: dict[str, str], device_id: str) -> None:
    uptime = arrived.pop("1.3.6.1.2.1.1.3.0")
    assert uptime.startswith("Timeticks: (")
    assert arrived == {
        "1.3.6.1.6.3.1.1.4.1.0": "OID: .1.3.6.1.4.1.99999.0.1",
        f"{OBJECTS}.1.0": "0d4ab6f2-6a2b-4a5e-9f5d-3c1a56c1f001",
        f"{OBJECTS}.2.0": device_id,
        f"{OBJECTS}.3.0": "tenant-a",
        f"{OBJECTS}.4.0": "INTEGER: 1",
        f"{OBJECTS}.5.0": "pump-7 has been silent for 30 s",
        f"{OBJECTS}.6.0": "2026-01-02T03:04:05Z",
        f"{OBJECTS}.7.0": "OPEN",
        f"{OBJECTS}.8.0": "site-1",
    }


@pytest.mark.parametrize("kind", ["trap", "inform"])
@pytest.mark.parametrize(("auth", "priv"), PAIRS)
async def test_every_pair_of_protocols(
    daemon: SnmpTrapd, services: LocalServices, auth: str, priv: str, kind: str
) -> None:
    device = f"{kind}-{auth}-{priv}"
    channel = await opened(secure(daemon.port, auth, priv, notification=kind), services)
    receipt = await channel.send(a_notification(device_id=device))
    assert receipt.startswith("INFORM answered by 127.0.0.1 in " if kind == "inform" else "trap of ")
    check_values(await arrival(daemon, device), device)


@pytest.mark.parametrize("kind", ["trap", "inform"])
async def test_version_2c(daemon: SnmpTrapd, services: LocalServices, kind: str) -> None:
    channel = await opened(plain(daemon.port, notification=kind), services)
    await channel.send(a_notification(device_id=f"{kind}-2c"))
    check_values(await arrival(daemon, f"{kind}-2c"), f"{kind}-2c")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"auth_password": WRONG}, "the authentication is wrong"),
        ({"auth_protocol": "SHA-512"}, "the authentication is wrong"),
        ({"user": "stranger"}, "does not know the user"),
        ({"user": "none_none"}, "this level of security"),
        ({"user": "SHA-256_none"}, "this level of security"),
        ({"priv_protocol": "none", "priv_password": None}, None),
    ],
)
async def test_an_inform_says_what_is_wrong(
    daemon: SnmpTrapd, services: LocalServices, changes: dict[str, Any], told: str | None
) -> None:
    """A user may always do with less security than it could have, unless the receiver's rules forbid it."""
    channel = await opened(secure(daemon.port, "SHA-256", "AES-128", notification="inform", **changes), services)
    if told is None:
        assert await channel.send(a_notification(device_id="less-secure"))
        return
    with pytest.raises(PermanentFailure, match=told) as caught:
        await channel.send(a_notification(device_id="refused"))
    assert f"127.0.0.1 port {daemon.port}: the receiver" in str(caught.value)
    assert not [secret for secret in (WRONG, AUTH_PASSWORD, PRIV_PASSWORD) if secret in str(caught.value)]


async def test_a_wrong_encryption_password_is_no_delivery(daemon: SnmpTrapd, services: LocalServices) -> None:
    """net-snmp says nothing to what it cannot read; but it has said who it is, so the host is not to blame."""
    fields = secure(daemon.port, "SHA-256", "AES-128", notification="inform", priv_password=WRONG, timeout_s=1)
    channel = await opened(fields, services)
    told = "no answer to the INFORM within 1 s, although the receiver is there: the priv_password is wrong"
    with pytest.raises(TemporaryFailure, match=told) as caught:
        await channel.send(a_notification(device_id="unreadable"))
    assert WRONG not in str(caught.value)


@pytest.mark.parametrize("version", ["2c", "3"])
async def test_a_silent_host_is_temporary(services: LocalServices, version: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        port = silent.getsockname()[1]
        made = secure(port, "SHA-256", "AES-128") if version == "3" else plain(port)
        channel = await opened({**made, "notification": "inform", "timeout_s": 0.5}, services)
        with pytest.raises(TemporaryFailure, match=f"127.0.0.1 port {port}: no answer within 0.5 s"):
            await channel.send(a_notification())


@pytest.mark.parametrize("kind", ["trap", "inform"])
async def test_a_port_where_nobody_listens_is_told_apart(services: LocalServices, kind: str) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as gone:
        gone.bind(("127.0.0.1", 0))
        port = gone.getsockname()[1]
    channel = await opened(plain(port, notification=kind), services)
    for _ in range(3):  # whether or not it takes its time to find out
        with pytest.raises(TemporaryFailure, match="nobody listens there"):
            await channel.send(a_notification())


async def test_a_trap_with_a_wrong_password_is_dropped(daemon: SnmpTrapd, services: LocalServices) -> None:
    """The control of all traps above: this receiver does check."""
    good = await opened(secure(daemon.port, "SHA", "AES-128"), services)
    bad = await opened(secure(daemon.port, "SHA", "AES-128", auth_password=WRONG), services)
    await bad.send(a_notification(device_id="forged"))
    await good.send(a_notification(device_id="after-the-forged"))
    await arrival(daemon, "after-the-forged")
    assert "forged" not in {text_of(each[f"{OBJECTS}.2.0"]) for each in daemon.notifications()}


async def test_an_inform_survives_a_new_receiver(
    tmp_path_factory: pytest.TempPathFactory, services: LocalServices
) -> None:
    """The same channel object meets a receiver that was replaced: another engine id, other boots, another time."""
    lines = user_lines("SHA-256", "AES-128")
    with snmptrapd(tmp_path_factory.mktemp("first"), *lines) as first:
        channel = await opened(secure(first.port, "SHA-256", "AES-128", notification="inform"), services)
        await channel.send(a_notification(device_id="before"))
        port = first.port
    with snmptrapd(tmp_path_factory.mktemp("second"), *lines, port=port) as second:
        await channel.send(a_notification(device_id="after"))
        await arrival(second, "after")


async def test_ipv6(tmp_path_factory: pytest.TempPathFactory, services: LocalServices) -> None:
    lines = user_lines("SHA-256", "AES-128")
    with snmptrapd(tmp_path_factory.mktemp("six"), *lines, host="::1") as daemon:
        for kind in ("trap", "inform"):
            channel = await opened(secure(daemon.port, "SHA-256", "AES-128", host="[::1]", notification=kind), services)
            assert "::1" in await channel.send(a_notification(device_id=f"six-{kind}"))
            await arrival(daemon, f"six-{kind}")


SENDER = """
import asyncio, json, sys
from pulse_core.api import PluginConfig
from pulse_core.testing.channels import LocalServices, a_notification
from pulse_snmp.channel import SnmpChannel
from pulse_snmp.config import SnmpConfig

async def main():
    channel = SnmpChannel(SnmpConfig.model_validate(json.loads(sys.argv[1])), LocalServices(), PluginConfig())
    await channel.open()
    for line in sys.stdin:
        print(await channel.send(a_notification(device_id=line.strip())), flush=True)

asyncio.run(main())
"""


def sending(config: SnmpConfig, passwords: dict[str, str]) -> subprocess.Popen[str]:
    import json

    stored = {**config.model_dump(mode="json"), **passwords}
    return subprocess.Popen(
        [sys.executable, "-c", SENDER, json.dumps(stored)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def tell(process: subprocess.Popen[str], device_id: str) -> None:
    assert process.stdin
    assert process.stdout
    process.stdin.write(f"{device_id}\n")
    process.stdin.flush()
    assert process.stdout.readline().startswith("trap of ")


async def test_processes_side_by_side_and_one_after_the_other_are_one_engine(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A receiver of authenticated traps takes those of each process, whichever started first (RFC 3414 section 3.2)."""
    fields = secure(162, "SHA-256", "AES-128")
    del fields["engine_id"]  # made when the integration is, and stored with it
    config = SnmpConfig.model_validate(fields)
    lines = user_lines("SHA-256", "AES-128", config.engine_id)
    with snmptrapd(tmp_path_factory.mktemp("engine"), *lines) as daemon:
        stored = config.model_copy(update={"port": daemon.port})
        passwords = {"auth_password": AUTH_PASSWORD, "priv_password": PRIV_PASSWORD}
        first = sending(stored, passwords)
        tell(first, "first")
        second = sending(stored, passwords)
        tell(second, "second")
        tell(first, "first-again")
        first.communicate()
        third = sending(stored, passwords)
        tell(third, "third")
        tell(second, "second-again")
        second.communicate()
        third.communicate()
        for device in ("first", "second", "first-again", "third", "second-again"):
            await arrival(daemon, device)


async def test_more_boots_help_where_the_clock_was_set_back(
    tmp_path_factory: pytest.TempPathFactory, services: LocalServices, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above, and the remedy that the help text names."""
    from pulse_snmp import channel as channels

    class Stopped:
        def __init__(self, seconds: int) -> None:
            self.seconds = lambda: seconds

    lines = user_lines("SHA-256", "none")
    with snmptrapd(tmp_path_factory.mktemp("clock"), *lines) as daemon:
        for device, clock_s, boots in (("now", 90_000, 1), ("an-hour-ago", 86_400, 1), ("rebooted", 86_400, 2)):
            monkeypatch.setattr(channels, "CLOCK", Stopped(clock_s))
            channel = await opened(secure(daemon.port, "SHA-256", "none", engine_boots=boots), services)
            await channel.send(a_notification(device_id=device))
        await arrival(daemon, "now")
        await arrival(daemon, "rebooted")
        assert "an-hour-ago" not in {text_of(each[f"{OBJECTS}.2.0"]) for each in daemon.notifications()}
