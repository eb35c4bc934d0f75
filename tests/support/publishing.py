"""Channels that publish, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pulse_core.api import PluginConfig
from pulse_core.testing.channels import LocalServices
from pulse_mqtt_channel.channel import MqttChannel
from pulse_mqtt_channel.config import MqttConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_core.outbound import Outbound


@asynccontextmanager
async def publishing(port: int, *, outbound: Outbound | None = None, **fields: Any) -> AsyncIterator[MqttChannel]:
    """Run a channel for a broker on loopback."""
    services = LocalServices()
    services.outbound = outbound or services.outbound
    usual = {"url": f"mqtt://127.0.0.1:{port}", "topic_template": "alerts/{device_id}"}
    channel = MqttChannel(MqttConfig.model_validate({**usual, **fields}), services, PluginConfig())
    await channel.open()
    try:
        yield channel
    finally:
        await channel.close()
        await services.http.close()
