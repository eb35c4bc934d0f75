"""Sending: one signed POST a notification."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pulse_core.api import Channel, check_tls_trust, origin
from pulse_webhook.config import WebhookConfig
from pulse_webhook.signing import signatures

if TYPE_CHECKING:
    from pulse_core.api import Notification, PluginConfig


class WebhookChannel(Channel[WebhookConfig]):
    """POSTs the notification's JSON. What an answer means is decided by the platform's HTTP client."""

    name = "webhook"
    summary = "A signed HTTP POST to a URL of yours (Standard Webhooks)"
    integration_type = WebhookConfig

    @classmethod
    def endpoint(cls, integration: WebhookConfig) -> str:
        """Deliveries to one server share a limit, whatever their paths."""
        return origin(integration.url)

    @classmethod
    async def check(cls, config: PluginConfig) -> None:  # noqa: ARG003 - nothing to set
        """Of this machine, a webhook needs authorities that it trusts."""
        check_tls_trust()

    async def send(self, notification: Notification) -> str:
        """POST with the three headers of Standard Webhooks; ``webhook-id`` is the same at every attempt."""
        body = notification.to_json()
        now_s = int(time.time())
        webhook = self.integration
        answer = await self.services.http.post(
            webhook.url,
            content=body,
            headers={
                **{name: value.get_secret_value() for name, value in webhook.headers.items()},
                "Content-Type": "application/json",
                "webhook-id": notification.delivery_id,
                "webhook-timestamp": str(now_s),
                "webhook-signature": signatures(webhook.signing_secrets, notification.delivery_id, now_s, body),
            },
        )
        return answer.raise_for_failure().receipt
