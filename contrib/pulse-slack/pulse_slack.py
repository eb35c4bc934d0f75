"""Slack: alerts as messages in a channel, through a Slack "incoming webhook"."""

from pulse_core.api import Channel, IntegrationConfig, Notification, SecretUrl, hookimpl


class SlackConfig(IntegrationConfig):
    """One Slack channel."""

    webhook_url: SecretUrl
    """The address that Slack gave you under *Incoming Webhooks*. Whoever has it can post, so it is kept secret."""
    mention: str = ""
    """Whom to mention when an alert opens: `<!here>`, `<!channel>` or `<@U012ABCDEF>`."""


def text_of(alert: Notification, mention: str = "") -> str:
    """Write the message in Slack's own markup, in which & < > must be escaped."""
    sign = {"CLOSED": ":white_check_mark:", "ACKNOWLEDGED": ":eyes:"}.get(alert.event, ":rotating_light:")
    text = f"{alert.severity_name} {alert.event}: {alert.summary} ({alert.device_id} at {alert.site_id})"
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f"{sign} {escaped} {mention if alert.event == 'OPEN' else ''}".strip()


class SlackChannel(Channel[SlackConfig]):
    """Retries, masking, the form, the test button and the guard are the platform's."""

    name = "slack"
    summary = "A message in a Slack channel"
    integration_type = SlackConfig

    async def send(self, notification: Notification) -> str:
        """Post one message."""
        message = {"text": text_of(notification, self.integration.mention)}
        answer = await self.services.http.post(self.integration.webhook_url.get_secret_value(), json=message)
        return answer.raise_for_failure().receipt


@hookimpl
def pulse_register_channels() -> list[type[SlackChannel]]:  # noqa: D103 - the hook says it
    return [SlackChannel]
