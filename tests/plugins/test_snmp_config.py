"""What a customer may fill in for an SNMP receiver, and the channel's dealings with the rest of the platform."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest
from pydantic import ValidationError

from pulse_core.api import OutboundRefused, PluginConfig, TemporaryFailure
from pulse_core.masking import MASK, join_secrets, split_secrets
from pulse_core.outbound import Outbound
from pulse_core.testing.channels import LOOPBACK, LocalServices, a_notification
from pulse_snmp.channel import SnmpChannel
from pulse_snmp.config import SnmpConfig
from support.snmp_receiver import COMMUNITY, snmp_receiver

V2C: dict[str, Any] = {"host": "nms.example.com", "community": "c0mmunity"}
V3: dict[str, Any] = {"host": "nms.example.com", "version": "3", "user": "pulse"}
AUTH: dict[str, Any] = {**V3, "auth_protocol": "SHA-256", "auth_password": "authpassword"}
PRIV: dict[str, Any] = {**AUTH, "priv_protocol": "AES-256", "priv_password": "privpassword"}


@pytest.mark.parametrize(
    "fields",
    [
        V2C,
        V3,
        AUTH,
        PRIV,
        {**PRIV, "community": "left from before"},
        {**V2C, "user": "", "auth_password": "", "priv_password": ""},
        {**V2C, "host": "192.0.2.1", "port": 1162, "notification": "inform", "timeout_s": 14},
        {**V2C, "host": "2001:db8::1"},
        {**V2C, "host": "[2001:db8::1]"},
        {**V2C, "oid_prefix": ".1.3.6.1.4.1.8072"},
        {**V3, "engine_id": "80:00:1F:88:05:01:02"},
        {**V3, "engine_id": "0x80001F88050102"},
    ],
)
def test_what_fits(fields: dict[str, Any]) -> None:
    config = SnmpConfig.model_validate(fields)
    assert SnmpConfig.model_validate(config.model_dump()) == config


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"host": "nms.example.com"}, "version 2c needs a community"),
        ({**V2C, "community": ""}, "version 2c needs a community"),
        ({**V2C, "community": "x" * 129}, "a community is 128 bytes at most"),
        ({**V3, "user": ""}, "version 3 needs a user"),
        ({**V3, "user": "ü" * 17}, "version 3 needs a user of 1 to 32 bytes"),
        ({**AUTH, "auth_password": None}, "auth_protocol needs a auth_password of 8"),
        ({**AUTH, "auth_password": "seven77"}, "auth_protocol needs a auth_password of 8"),
        ({**PRIV, "priv_password": "seven77"}, "priv_protocol needs a priv_password of 8"),
        ({**V3, "auth_password": "authpassword"}, "auth_password is of no use without auth_protocol"),
        ({**AUTH, "priv_password": "privpassword"}, "priv_password is of no use without priv_protocol"),
        ({**PRIV, "auth_protocol": "none", "auth_password": None}, "encryption needs authentication"),
        ({**V2C, "version": "1"}, "'2c' or '3'"),
        ({**V2C, "port": 0}, "greater than or equal to 1"),
        ({**V2C, "timeout_s": 60}, "less than or equal to 14"),
        ({**V2C, "host": "udp://nms.example.com"}, "a host is a name or an address"),
        ({**V2C, "host": "nms example"}, "a host is a name or an address"),
        ({**V2C, "host": ""}, "a host is a name or an address"),
        ({**V2C, "oid_prefix": "enterprises.5"}, "a prefix is an object identifier"),
        ({**V2C, "oid_prefix": "1.3.06"}, "a prefix is an object identifier"),
        ({**V2C, "oid_prefix": "1.40.1"}, "a prefix is an object identifier"),
        ({**V2C, "oid_prefix": "3.1.1"}, "a prefix is an object identifier"),
        ({**V2C, "oid_prefix": "1.3.4294967296"}, "a prefix is an object identifier"),
        ({**V2C, "oid_prefix": "1.3" + ".4294967295" * 7}, "a prefix may take 32 bytes"),
        ({**V3, "engine_id": "80000000"}, "an engine id is 5 to 32 bytes"),
        ({**V3, "engine_id": "0" * 24}, "an engine id is 5 to 32 bytes"),
        ({**V3, "engine_id": "f" * 24}, "an engine id is 5 to 32 bytes"),
        ({**V3, "engine_id": "80000000051"}, "an engine id is 5 to 32 bytes"),
        ({**V3, "engine_id": "80" * 33}, "an engine id is 5 to 32 bytes"),
        ({**V3, "engine_boots": 2**31 - 1}, "less than or equal to"),
    ],
)
def test_what_does_not_fit_is_explained(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SnmpConfig.model_validate(fields)
    assert told in str(caught.value)
    assert not [
        secret for secret in ("authpassword", "privpassword", "c0mmunity", "seven77") if secret in str(caught.value)
    ]


def test_an_integration_keeps_the_engine_id_that_was_made_for_it() -> None:
    made = SnmpConfig.model_validate({**PRIV, "engine_id": ""})
    public, secret = split_secrets(made)
    assert public["auth_password"] == public["priv_password"] == MASK
    assert bytes.fromhex(public["engine_id"])[:5].hex() == "8001869f05"
    assert join_secrets(SnmpConfig, public, secret).engine_id == made.engine_id
    assert SnmpConfig.model_validate(PRIV).engine_id != made.engine_id


@pytest.mark.parametrize(
    ("host", "endpoint"),
    [
        ("NMS.Example.com", "nms.example.com:162"),
        ("nms.example.com.", "nms.example.com:162"),
        ("192.0.2.1", "192.0.2.1:162"),
        ("2001:DB8::1", "[2001:db8::1]:162"),
        ("[2001:db8::1]", "[2001:db8::1]:162"),
    ],
)
def test_one_port_of_one_host_is_one_endpoint(host: str, endpoint: str) -> None:
    assert SnmpChannel.endpoint(SnmpConfig.model_validate({**V2C, "host": host})) == endpoint


async def test_the_self_check_passes_here() -> None:
    await SnmpChannel.check(PluginConfig())


async def test_an_internal_address_is_refused() -> None:
    services = LocalServices()
    services.outbound = Outbound()
    channel = SnmpChannel(SnmpConfig.model_validate({**V2C, "host": "127.0.0.1"}), services, PluginConfig())
    with pytest.raises(OutboundRefused, match=r"127\.0\.0\.1"):
        await channel.send(a_notification())
    await services.http.close()


async def test_a_name_is_looked_up_once_for_many_alerts_and_again_after_a_failure() -> None:
    questions: list[str] = []

    async def look_up(host: str, port: int) -> list[str]:
        questions.append(host)
        return ["127.0.0.1"]

    services = LocalServices()
    services.outbound = Outbound(LOOPBACK, look_up=look_up)
    async with snmp_receiver() as receiver:
        fields = {**V2C, "port": receiver.port, "community": COMMUNITY, "notification": "inform"}
        channel = SnmpChannel(SnmpConfig.model_validate(fields), services, PluginConfig())
        for _ in range(5):
            await channel.send(a_notification())
        assert questions == ["nms.example.com"]
        await receiver.stop()
        for _ in range(2):
            with pytest.raises(TemporaryFailure, match=f"nms.example.com port {receiver.port}: nobody listens there"):
                await channel.send(a_notification())
    assert questions == ["nms.example.com"] * 2
    await services.http.close()


async def test_a_storm_of_traps_arrives_whole_and_leaves_no_socket_open() -> None:
    """Ten at a time, as the engine does; the receiver is a bare socket with room for all of them."""
    count = 1000
    arrived = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(30)

        def receive() -> None:
            nonlocal arrived
            while arrived < count:
                receiver.recv(2000)
                arrived += 1

        receiving = threading.Thread(target=receive)
        receiving.start()
        services = LocalServices()
        fields = {**PRIV, "host": "127.0.0.1", "port": receiver.getsockname()[1]}
        channel = SnmpChannel(SnmpConfig.model_validate(fields), services, PluginConfig())
        await channel.open()

        async def send(share: int) -> None:
            for _ in range(share):
                await channel.send(a_notification())

        await asyncio.gather(*(send(count // 10) for _ in range(10)))
        await channel.close()
        await asyncio.to_thread(receiving.join)
        await services.http.close()
    assert arrived == count
