"""The MQTT channel keeps the rules of a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pulse_core.testing.channels import ChannelContract
from pulse_mqtt_channel.channel import MqttChannel
from support.fake_broker import fake_broker

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from support.fake_broker import FakeBroker


class TestMqttChannelContract(ChannelContract):
    channel = MqttChannel
    qos = 1

    def receiver(self) -> AbstractAsyncContextManager[FakeBroker]:
        return fake_broker()

    def integration(self, receiver: FakeBroker) -> dict[str, Any]:
        return {
            "url": f"mqtt://127.0.0.1:{receiver.port}",
            "user": "pulse",
            "password": "s3cr3t-of-the-broker",
            "topic_template": "alerts/{tenant_id}/{device_id}",
            "qos": self.qos,
        }


class TestMqttChannelContractQos2(TestMqttChannelContract):
    qos = 2
