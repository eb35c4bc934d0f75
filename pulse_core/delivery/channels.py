"""Channel objects: built from an integration's stored configuration, kept while they are used, closed after."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import structlog
from pydantic import ValidationError

from pulse_core.config import explain
from pulse_core.delivery.containment import Returned, contained
from pulse_core.delivery.ending import Ending, permanent, temporary, text_of
from pulse_core.errors import SecretUnreadable
from pulse_core.masking import MASK, join_secrets, redacted, secret_texts

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Mapping

    from pulse_core.api import Channel, IntegrationConfig, Notification, PluginConfig, Services
    from pulse_core.outbox import StoredIntegration
    from pulse_core.secrets import SecretBox

_CLOSE_TIMEOUT_S = 5.0

log = structlog.get_logger("pulse.delivery")


class Line:
    """The way to one integration: its channel object, opened at first use."""

    def __init__(self, channel: Channel[Any], endpoint: str, integration: StoredIntegration) -> None:
        self.plugin = channel.name
        self.endpoint = endpoint
        self.updated_us = integration.updated_us
        self.users = 0
        self.retired = False
        self.closing = False
        self._channel = channel
        self._secrets = secret_texts(channel.integration)
        self._opened = False
        self._opening = asyncio.Lock()

    async def send(self, notification: Notification) -> Any:
        """Send, after opening if need be. Raises, returns and hangs as the plugin pleases."""
        if not self._opened:
            async with self._opening:
                if not self._opened:
                    await self._channel.open()
                    self._opened = True
        return await self._channel.send(notification)

    def scrubbed(self, text: str) -> str:
        """Return ``text`` without the integration's secrets."""
        return redacted(text, self._secrets)

    async def close(self) -> None:
        """Let the plugin clean up; its failures are logged."""
        ended = await contained(self._channel.close, _CLOSE_TIMEOUT_S)
        if not isinstance(ended, Returned):
            log.warning("delivery.close_failed", plugin=self.plugin, ended=type(ended).__name__)


class Channels:
    """Builds and keeps the lines to integrations.

    :param types: the enabled channels by name (``Plugins.channels``).
    :param config_of: the operator's configuration for a channel class (``Plugins.config_of``).
    :param lend: the platform's services for the plugin of that name.
    :param capacity: how many are kept; the least recently used goes first.
    """

    def __init__(
        self,
        types: Mapping[str, type[Channel[Any]]],
        config_of: Callable[[type[Channel[Any]]], PluginConfig],
        box: SecretBox,
        lend: Callable[[str], Services],
        *,
        capacity: int = 1000,
    ) -> None:
        self._types = types
        self._config_of = config_of
        self._box = box
        self._lend = lend
        self._capacity = capacity
        self._lines: OrderedDict[uuid.UUID, Line] = OrderedDict()
        self._closing: set[asyncio.Task[None]] = set()

    def plugin_of(self, integration: StoredIntegration) -> str:
        """Name the plugin for metrics: a type that nobody brings must not make a label of its own."""
        return integration.type if integration.type in self._types else "unknown"

    def take(self, integration: StoredIntegration, *, even_disabled: bool = False) -> Line | Ending:
        """Return the line to an integration, to be given back with :meth:`release`; or why there is none.

        What the platform's people may yet put right (a plugin that is not enabled, a key that is missing, a stored
        configuration that the plugin no longer takes) is temporary: the delivery goes out when they have.
        """
        if integration.deleted:
            return permanent("the integration was deleted")
        if not integration.enabled and not even_disabled:
            reason = integration.disabled_reason
            return permanent("the integration is disabled" + (f": {reason}" if reason else ""))
        line = self._lines.get(integration.integration_id)
        if line is None or line.updated_us != integration.updated_us:
            made = self._make(integration)
            if isinstance(made, Ending):
                return made
            self._keep(integration.integration_id, made)
            line = made
        self._lines.move_to_end(integration.integration_id)
        line.users += 1
        return line

    def release(self, line: Line) -> None:
        """Give a line back."""
        line.users -= 1
        if line.retired and line.users == 0:
            self._close(line)

    def retire(self, line: Line) -> None:
        """Use a line no more: the next delivery gets a new object. (It hung; who knows what it is in.)"""
        for key, kept in list(self._lines.items()):
            if kept is line:
                self._drop(key)

    async def close(self) -> None:
        """Close every channel object."""
        for key in list(self._lines):
            self._drop(key, even_if_used=True)
        if self._closing:
            await asyncio.wait(self._closing)

    def _make(self, integration: StoredIntegration) -> Line | Ending:
        channel_type = self._types.get(integration.type)
        if channel_type is None:
            return temporary(f"no enabled plugin brings the channel {integration.type!r}")
        secret: dict[str, Any] = {}
        try:
            if integration.secrets is not None:
                secret = self._box.open(integration.secrets)
            model = join_secrets(channel_type.integration_type, integration.config, secret)
            return self._built(channel_type, model, integration)
        except SecretUnreadable as error:
            return temporary(f"its secrets cannot be read: {error}")
        except ValidationError as error:
            faults = explain(error, channel_type.integration_type)
            return temporary(f"the stored configuration is not valid: {faults}")
        except BaseException as error:  # noqa: BLE001 - constructors and validators are plugins' code
            text = text_of(error)
            for value in secret.values():
                text = text.replace(value, MASK) if isinstance(value, str) and value else text
            return temporary(f"the channel cannot be built: {type(error).__name__}: {text}", broke_rules=True)

    def _built(
        self, channel_type: type[Channel[Any]], model: IntegrationConfig, integration: StoredIntegration
    ) -> Line:
        name = channel_type.name
        channel = channel_type(model, self._lend(name), self._config_of(channel_type))
        return Line(channel, f"{name}|{channel_type.endpoint(model)}", integration)

    def _keep(self, key: uuid.UUID, line: Line) -> None:
        if key in self._lines:
            self._drop(key)
        self._lines[key] = line
        idle = (old for old, kept in self._lines.items() if not kept.users and kept is not line)
        if len(self._lines) > self._capacity and (oldest := next(idle, None)) is not None:
            self._drop(oldest)

    def _drop(self, key: uuid.UUID, *, even_if_used: bool = False) -> None:
        line = self._lines.pop(key)
        line.retired = True
        if even_if_used or line.users == 0:
            self._close(line)

    def _close(self, line: Line) -> None:
        if line.closing:
            return
        line.closing = True
        task = asyncio.get_running_loop().create_task(line.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)
