"""What an operator may say under ``[plugins.mqtt]``."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, model_validator

from pulse_core.api import PluginConfig


class MqttConfig(PluginConfig):
    """The MQTT listener."""

    host: str = "127.0.0.1"
    """Address to listen on; ``0.0.0.0`` for all of IPv4, ``::`` for all."""
    port: int = Field(1883, ge=0, le=65535)
    """Port for plain TCP; 0 takes any free one."""
    port_fallback: bool = False
    """Take the next free port when ``port`` (or ``tls_port``) is in use."""
    tls_cert: Path | None = None
    """PEM file with the certificate chain. With it, ``tls_port`` is served as well."""
    tls_key: Path | None = None
    """PEM file with the certificate's key; none when it stands in ``tls_cert``."""
    tls_port: int = Field(8883, ge=0, le=65535)
    """Port for TLS; 0 takes any free one."""
    websocket: bool = True
    """Serve MQTT over WebSocket, too: at ``/mqtt`` on the device HTTP port."""
    max_connections: int = Field(20_000, ge=1)
    """Connections at once; more are closed as they come."""
    longest_session_s: int = Field(7 * 86_400, ge=0, le=365 * 86_400)
    """For how long a device's session may outlive its connection: what an MQTT 5 device asks for at most, and what an
    MQTT 3.1.1 device without ``clean session`` gets."""
    longest_keepalive_s: int = Field(3600, ge=0, le=65_535)
    """The longest keep-alive of an MQTT 5 device: one that asks for more, or for none, is told this one. 0: any."""
    connect_timeout_s: float = Field(10.0, gt=0)
    """From a connection's start to its successful login."""
    write_timeout_s: float = Field(30.0, gt=0)
    """For how long a device may leave our answers unread."""
    drain_timeout_s: float = Field(8.0, gt=0)
    """For how long a closing connection waits for the outcomes of what it handed over."""

    @model_validator(mode="after")
    def _key_needs_certificate(self) -> MqttConfig:
        if self.tls_key is not None and self.tls_cert is None:
            raise ValueError("tls_key needs tls_cert")
        return self
