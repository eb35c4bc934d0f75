"""The email channel: alerts as mails through any SMTP server."""

from collections.abc import Iterable

from pulse_core.api import hookimpl
from pulse_email.channel import EmailChannel


@hookimpl
def pulse_register_channels() -> Iterable[type[EmailChannel]]:
    """Register the email channel."""
    return (EmailChannel,)
