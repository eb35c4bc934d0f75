"""The self-checks of the bundled channels: each finds what would make it fail on a machine."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, cast

import pytest
from click.testing import CliRunner

from pulse_core.api import Channel, PermanentFailure
from pulse_email import defaults
from pulse_email.channel import EmailChannel
from pulse_email.selfcheck import check_templates
from pulse_mqtt_channel.channel import MqttChannel
from pulse_mqtt_channel.selfcheck import check_paho
from pulse_server.cli import main
from pulse_snmp import selfcheck as snmp
from pulse_snmp import usm
from pulse_snmp.channel import SnmpChannel
from pulse_webhook.channel import WebhookChannel

if TYPE_CHECKING:
    from pathlib import Path

    from pulse_core.api import PluginConfig

CHANNELS: list[type[Channel[Any]]] = [WebhookChannel, EmailChannel, MqttChannel, SnmpChannel]


def config_of(channel: type[Channel[Any]]) -> PluginConfig:
    return channel.config_type()


@pytest.fixture
def no_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A slim container: no certificate authority anywhere. Returns an empty folder for them."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("channel", CHANNELS)
async def test_all_is_well_here(channel: type[Channel[Any]]) -> None:
    await channel.check(config_of(channel))


@pytest.mark.parametrize("channel", [WebhookChannel, EmailChannel, MqttChannel])
async def test_a_machine_that_trusts_nobody_is_told(channel: type[Channel[Any]], no_authorities: Path) -> None:
    with pytest.raises(PermanentFailure, match="ca-certificates"):
        await channel.check(config_of(channel))
    no_authorities.joinpath("0a1b2c3d.0").touch()  # a folder as OpenSSL reads it, when it is needed
    await channel.check(config_of(channel))


def test_the_doctor_tells_it(no_authorities: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(no_authorities)
    monkeypatch.setenv("COLUMNS", "300")
    told = CliRunner().invoke(main, ["doctor"]).stdout
    assert "failed plugin webhook: webhook: PermanentFailure: this machine trusts no certificate authority" in told


@pytest.mark.parametrize(
    ("version", "missing", "fine"),
    [
        ("2.1.0", "", True),
        ("2.2.9", "", True),
        ("2.3.0", "", False),
        ("1.6.1", "", False),
        ("2.2.0", "_sock_close", False),
    ],
)
def test_another_paho_is_told(version: str, missing: str, fine: bool) -> None:
    names = {"_create_socket", "_handle_pubrec", "_sock_close", "_do_on_publish"} - {missing}
    client = type("Client", (), {name: lambda _: None for name in names})
    if fine:
        check_paho(version, client)
        return
    with pytest.raises(PermanentFailure, match=f"paho-mqtt {version} was not tested.*{missing}"):
        check_paho(version, client)


@pytest.mark.parametrize("name", ["HTML", "TEXT"])
def test_templates_that_do_not_work_are_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(defaults, name, "{{ 'x'|round }}")
    with pytest.raises(PermanentFailure, match="our own templates do not work here"):
        check_templates()


def refuse(*_: object, **__: object) -> None:
    raise ValueError("[digital envelope routines] unsupported")


def test_protocols_that_openssl_no_longer_knows_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashlib, "md5", refuse)
    monkeypatch.setitem(usm._PRIV, "DES", cast("Any", refuse))
    with pytest.raises(PermanentFailure, match="lacks MD5, DES: integrations must do without"):
        snmp.check_all()


def test_a_mib_that_was_not_shipped_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snmp, "MIB", "ANOTHER-MIB.txt")
    with pytest.raises(PermanentFailure, match=r"ANOTHER-MIB\.txt is missing"):
        snmp.check_all()
