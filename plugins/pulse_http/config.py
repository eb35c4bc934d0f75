"""What an operator may say under ``[plugins.http]``."""

from __future__ import annotations

from pydantic import Field

from pulse_core.api import PluginConfig


class HttpConfig(PluginConfig):
    """Devices in over HTTP. The address is the device HTTP port's, ``[device_http]``."""

    body_timeout_s: float = Field(10.0, gt=0, le=300)
    """From a request's head to the end of its body."""
    outcome_timeout_s: float = Field(10.0, gt=0, le=300)
    """From the body's end to the commit; after that, 503."""
    max_batch_bytes: int = Field(1024 * 1024, ge=1024, le=64 * 1024 * 1024)
    """A larger batch is refused as a whole."""
    max_batch_messages: int = Field(1000, ge=1, le=20_000)
    """So is one with more messages."""
    max_buffered_bytes: int = Field(64 * 1024 * 1024, ge=1024)
    """Bodies that are still being read, all requests together; beyond it, 503."""
    drain_timeout_s: float = Field(8.0, gt=0)
    """For how long the platform's stop waits for outcomes."""
