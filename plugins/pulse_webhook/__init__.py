"""The webhook channel: alerts as signed HTTP POSTs, per the Standard Webhooks specification."""

from collections.abc import Iterable

from pulse_core.api import hookimpl
from pulse_webhook.channel import WebhookChannel


@hookimpl
def pulse_register_channels() -> Iterable[type[WebhookChannel]]:
    """Register the webhook channel."""
    return (WebhookChannel,)
