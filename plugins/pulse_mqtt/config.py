"""What an operator may say under ``[plugins.mqtt]``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from pulse_core.api import PluginConfig
from pulse_mqtt.certificates import Naming


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
    tls_client_ca: Path | None = None
    """PEM file with the authorities whose client certificates are believed: a device whose certificate names it needs
    no password."""
    tls_client_cert: Literal["optional", "required"] = "optional"
    """Whether a client must show a certificate of ``tls_client_ca``, or may."""
    tls_client_subject: str = "CN={tenant_id}/{device_id}"
    """How a certificate names a device: ``ATTRIBUTE=PATTERN``, several with commas between, as in
    ``O={tenant_id},CN={device_id}``. CN, O, OU, C, ST, L, DC, UID, SERIALNUMBER, and alternative names as URI, DNS."""
    tls_client_crl: Path | None = None
    """PEM file with a certificate revocation list for each authority that issues client certificates."""
    websocket: bool = True
    """Serve MQTT over WebSocket, too: at ``/mqtt`` on the device HTTP port."""
    max_connections: int = Field(20_000, ge=1)
    """Connections at once; more are closed as they come."""
    max_connections_per_address: int = Field(0, ge=0)
    """Connections at once from one IPv4 address, or from one /64 of IPv6; 0: any number. Behind a proxy, or a router of
    a factory, all devices have one."""
    max_strangers: int = Field(2_000, ge=1)
    """Connections at once that have not sent their CONNECT; when there are more, the oldest of them is closed."""
    login_failures_burst: int = Field(100, ge=1)
    """Failed logins at once from one address (or /64); beyond them its logins are refused unexamined, but for devices
    that logged in from it before."""
    login_failures_per_s: float = Field(10.0, ge=0)
    """How many more failed logins a second an address is examined for. 0: as many as come."""
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

    @model_validator(mode="after")
    def _client_certificates_need_an_authority(self) -> MqttConfig:
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("tls_client_ca needs tls_cert")
        if self.tls_client_ca is None and (self.tls_client_crl is not None or self.tls_client_cert == "required"):
            raise ValueError("tls_client_crl and tls_client_cert need tls_client_ca")
        return self

    @field_validator("tls_client_subject")
    @classmethod
    def _subject_names_one_device(cls, template: str) -> str:
        Naming(template)
        return template
