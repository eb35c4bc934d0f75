"""Ways in and channels run on uvloop in production and on asyncio elsewhere: their tests run on both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import uvloop

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

_ON_BOTH = (
    *("test_mqtt_contract", "test_mqtt_publish", "test_mqtt_life", "test_http_contract", "test_http_socket"),
    *("test_mqtt_bridge_contract", "test_mqtt_bridge_life", "test_mqtt_bridge_mosquitto"),
    *("test_email_contract", "test_email_sending", "test_email_servers"),
    *("test_mqtt_channel_contract", "test_mqtt_channel_faults", "test_mqtt_channel_mosquitto"),
)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    """Both loops differ in what they do with a connection that is paused or ends."""
    loops: dict[str, Any] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem in _ON_BOTH:
        loops["uvloop"] = uvloop.new_event_loop
    return loops
