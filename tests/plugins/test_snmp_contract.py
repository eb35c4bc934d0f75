"""The SNMP channel keeps the rules of a channel; pysnmp's engine receives."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pulse_core.testing.channels import ChannelContract
from pulse_snmp.channel import SnmpChannel
from support.snmp_receiver import (
    AUTH_PASSWORD,
    COMMUNITY,
    ENGINE_ID,
    PRIV_PASSWORD,
    USER,
    SnmpReceiver,
    snmp_receiver,
)

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager


class SnmpContract(ChannelContract):
    channel = SnmpChannel

    def receiver(self) -> AbstractAsyncContextManager[SnmpReceiver]:
        return snmp_receiver()

    def seen(self, body: bytes) -> str:
        return "\n".join(value for oid, _, value in json.loads(body) if not oid.startswith("1.3.6.1.2.1.1.3."))


class TestSnmpV2cContract(SnmpContract):
    def integration(self, receiver: SnmpReceiver) -> dict[str, Any]:
        return {
            "host": receiver.host,
            "port": receiver.port,
            "version": "2c",
            "notification": "inform",
            "community": COMMUNITY,
        }


class TestSnmpV3Contract(SnmpContract):
    def integration(self, receiver: SnmpReceiver) -> dict[str, Any]:
        return {
            "host": receiver.host,
            "port": receiver.port,
            "version": "3",
            "notification": "inform",
            "user": USER,
            "auth_protocol": "SHA-256",
            "auth_password": AUTH_PASSWORD,
            "priv_protocol": "AES-128",
            "priv_password": PRIV_PASSWORD,
            "engine_id": ENGINE_ID,
        }
