"""Channels that do as they are told, for tests of the delivery engine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ClassVar

import structlog
from pydantic import SecretStr

from pulse_core.api import Channel, IntegrationConfig, PluginConfig
from pulse_core.delivery import Channels
from pulse_core.secrets import SecretBox

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.api import Notification, Services

KEY = "a key that only the tests use, and long enough"
BOX = SecretBox(KEY)


class RecordingConfig(IntegrationConfig):
    """Which behaviour of :data:`BEHAVIOURS`."""

    behaviour: str = "deliver"
    endpoint: str = ""
    token: SecretStr | None = None


class RecordingChannel(Channel[RecordingConfig]):
    """Notes what it is given, then behaves as its configuration says."""

    name = "recording"
    integration_type = RecordingConfig
    sent: ClassVar[list[Notification]] = []
    opened: ClassVar[int] = 0
    closed: ClassVar[int] = 0
    running: ClassVar[dict[str, int]] = {}
    most: ClassVar[dict[str, int]] = {}
    behaviours: ClassVar[dict[str, Any]] = {}

    @classmethod
    def reset(cls) -> None:
        """Forget everything."""
        cls.sent, cls.opened, cls.closed, cls.running, cls.most = [], 0, 0, {}, {}
        cls.behaviours = {"deliver": deliver, "hang": hang}

    @classmethod
    def endpoint(cls, integration: RecordingConfig) -> str:
        return integration.endpoint or super().endpoint(integration)

    async def open(self) -> None:
        type(self).opened += 1

    async def send(self, notification: Notification) -> Any:
        where = self.integration.endpoint or notification.tenant_id
        self.sent.append(notification)
        self.running[where] = self.running.get(where, 0) + 1
        self.most[where] = max(self.most.get(where, 0), self.running[where])
        try:
            return await self.behaviours[self.integration.behaviour](self, notification)
        finally:
            self.running[where] -= 1

    async def close(self) -> None:
        type(self).closed += 1


async def deliver(_channel: RecordingChannel, _notification: Notification) -> str:
    """Everything is well."""
    return "thank you"


async def hang(_channel: RecordingChannel, _notification: Notification) -> None:
    """Never come back, but mind the cancellation."""
    await asyncio.Event().wait()


def channels(types: Mapping[str, type[Channel[Any]]] | None = None, box: SecretBox = BOX, **options: Any) -> Channels:
    """Lines to :class:`RecordingChannel`, unless told otherwise."""
    found = {"recording": RecordingChannel} if types is None else types
    return Channels(found, lambda _: PluginConfig(), box, lend, **options)


class NoServices:
    """These channels call nobody."""

    http: Any = None
    outbound: Any = None
    log: Any = structlog.get_logger("tests")


def lend(_plugin: str) -> Services:
    """Lend nothing."""
    return NoServices()
