"""Ways in and channels run on uvloop in production and on asyncio elsewhere: their tests run on both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest_asyncio
import uvloop

from support.mqtt_device import Device
from support.mqtt_door import Door, door

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    import pytest

_ON_BOTH = (
    *("test_mqtt_contract", "test_mqtt_publish", "test_mqtt_life", "test_http_contract", "test_http_socket"),
    *("test_mqtt_tls", "test_mqtt_websocket", "test_mqtt_websocket_transport"),
    *("test_mqtt_bridge_contract", "test_mqtt_bridge_life", "test_mqtt_bridge_mosquitto"),
    *("test_email_contract", "test_email_sending", "test_email_servers"),
    *("test_mqtt_channel_contract", "test_mqtt_channel_faults", "test_mqtt_channel_mosquitto"),
)
_AS_IN_PRODUCTION = ("test_mqtt311_", "test_mqtt5_", "test_mqtt_corpus")
"""Hundreds of tests: on the one loop that devices will meet."""


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> dict[str, Callable[[], asyncio.AbstractEventLoop]] | None:
    """Both loops differ in what they do with a connection that is paused or ends."""
    if item.path.stem.startswith(_AS_IN_PRODUCTION):
        return {"uvloop": uvloop.new_event_loop}
    loops: dict[str, Any] = {"asyncio": asyncio.new_event_loop}
    if item.path.stem in _ON_BOTH:
        loops["uvloop"] = uvloop.new_event_loop
    return loops


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def mqtt_door() -> AsyncIterator[Door]:
    """One listener for all tests of a module, which run on the module's loop."""
    async with door() as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="module")
async def device(mqtt_door: Door) -> AsyncIterator[Device]:
    """A device that no other test knows."""
    yield Device(mqtt_door)
    mqtt_door.intake.release()  # where a test has failed before it could
    mqtt_door.intake.store_down, mqtt_door.intake.delay_s = False, 0.0
