"""Channels that send mails, for tests."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from pulse_core.testing.channels import LocalServices
from pulse_email.channel import EmailChannel
from pulse_email.config import EmailConfig, EmailOptions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from pulse_core.outbound import Outbound

OPS, BOSS, LOG = "ops@example.com", "boss@example.com", "log@example.com"


def config(port: int | None = 25, **fields: Any) -> EmailConfig:
    """Return a configuration for a server on loopback that takes anything."""
    usual = {"host": "127.0.0.1", "port": port, "tls": "none", "from_address": "alerts@example.com", "to": [OPS]}
    return EmailConfig.model_validate({**usual, **fields})


@asynccontextmanager
async def mailing(port: int, *, outbound: Outbound | None = None, **fields: Any) -> AsyncIterator[EmailChannel]:
    """Run a channel."""
    services = LocalServices()
    services.outbound = outbound or services.outbound
    channel = EmailChannel(config(port, **fields), services, EmailOptions())
    await channel.open()
    try:
        yield channel
    finally:
        await channel.close()
        await services.http.close()
