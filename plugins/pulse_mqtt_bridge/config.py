"""What an operator may say under ``[plugins.mqtt_bridge]``."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pulse_core.api import ConfigError, Field, MsgType, PluginConfig, SecretStr, field_validator, model_validator
from pulse_mqtt_bridge.filters import is_filter
from pulse_mqtt_bridge.topics import TENANT_ID, TopicMap

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_DAY_S = 24 * 3600
_LONGEST_EXPIRY_S = 0xFFFF_FFFF
_SHORTEST_SECRET = 16


class Address(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'mqtts' if self.tls else 'mqtt'}://{host}:{self.port}"


def address_of(url: str) -> Address:
    """Take a broker's URL apart. Raises ValueError whose text never holds the URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("this is not a URL") from None
    if "@" in parts.netloc:
        raise ValueError("no user name or password in the URL, please: there are fields for them")
    if parts.scheme not in _PORTS or not host or not url.isprintable() or " " in url or port == 0:
        raise ValueError("a URL like mqtts://broker.example.com or mqtt://broker.example.com:1883 is needed")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("nothing may follow the host and the port")
    return Address(host, port or _PORTS[parts.scheme], parts.scheme == "mqtts")


class BridgeConfig(PluginConfig):
    """The broker whose messages are taken in, and how its topics name devices."""

    urls: tuple[str, ...] = ()
    """The broker, as ``["mqtts://broker.example.com"]`` (port 8883) or ``["mqtt://broker.example.com:1883"]``. Needed.
    Several are the nodes of one cluster, which share its sessions: they are tried in turn."""
    user: str | None = Field(None, min_length=1, max_length=1000)
    """The user name that the bridge logs in with. Left out: none."""
    password: SecretStr | None = None
    """The password that goes with it."""
    ca_file: Path | None = None
    """A file of certificate authorities (PEM) to check the broker's certificate with. Left out: those of this
    machine."""
    client_cert: Path | None = None
    """PEM file with a certificate to show to the broker."""
    client_key: Path | None = None
    """PEM file with the certificate's key; none when it stands in ``client_cert``."""
    client_id: str = Field("opsconductor-pulse", min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.:-]+$")
    """Names the session at the broker: another one for each installation, and for ever the same. Two that say the same
    end each other's connections."""
    protocol: Literal["5", "3.1.1"] = "5"
    """The version of MQTT. With 5 the broker is told how much we take at once; with 3.1.1 its setting decides."""
    topic: str = Field("tenant/{tenant_id}/device/{device_id}/{msg_type}", min_length=1, max_length=1000)
    """How topics name devices: ``{tenant_id}``, ``{device_id}`` and ``{msg_type}`` each stand in one level, ``+`` for
    any level, ``#`` at the end for any number of them: ``plants/{tenant_id}/{device_id}/up/{msg_type}``."""
    tenant_id: str | None = None
    """The tenant of every device, when topics name none."""
    msg_type: MsgType | None = None
    """The type of every message, when topics name none."""
    filters: tuple[str, ...] = ()
    """What to subscribe to. Left out: what ``topic`` describes, shared in the group ``share``."""
    share: str = Field("pulse", max_length=64, pattern=r"^[A-Za-z0-9_.:-]*$")
    """The group of the shared subscription (``$share/pulse/…``) that ``filters`` left out means; empty: not shared."""
    qos: Literal[0, 1, 2] = 1
    """The highest QoS in which the broker hands messages over. With 0 it forgets what it has sent, and what we have not
    committed when we are killed is lost."""
    trusted: bool = False
    """Whether the broker lets each device publish under its own topics only. Then a message is its device's because of
    its topic; otherwise every payload must hold the device's ``provision_token``."""
    refuse_over_rate: bool = False
    """Whether messages of QoS 1 and 2 over a device's rate limit are refused (RATE_LIMITED). Otherwise they are taken:
    a device that drains its buffer loses nothing, and how fast it may send is the broker's to limit."""
    session_expiry_s: int = Field(7 * _DAY_S, ge=60, le=_LONGEST_EXPIRY_S)
    """For how long the broker keeps messages for us while we are away (MQTT 5; with 3.1.1 the broker decides)."""
    max_undecided: int = Field(1000, ge=1, le=10_000)
    """Messages that are handed over to us and not yet acknowledged; beyond it nothing more is read."""
    keepalive_s: int = Field(30, ge=5, le=3600)
    """After so much silence the broker is asked whether it is there."""
    connect_timeout_s: float = Field(10.0, gt=0, le=60)
    """For the connection, for TLS, and for each of the broker's first answers."""
    reconnect_first_s: float = Field(1.0, gt=0, le=60)
    """The pause before the first new attempt; each further one is twice as long."""
    reconnect_longest_s: float = Field(60.0, gt=0, le=3600)
    """The longest pause."""
    drain_timeout_s: float = Field(5.0, gt=0)
    """For how long the platform's stop waits for the outcomes of what was handed over."""
    auth_secret: SecretStr | None = None
    """With it, ``/mqtt/auth`` and ``/mqtt/acl`` on the device HTTP port answer a broker that shows it (16 characters at
    least). Left out: there is nothing at these paths."""

    @field_validator("urls")
    @classmethod
    def _brokers(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            address_of(url)
        return urls

    @field_validator("filters")
    @classmethod
    def _filters(cls, filters: tuple[str, ...]) -> tuple[str, ...]:
        if not all(map(is_filter, filters)):
            raise ValueError("one of these is not a topic filter")
        return filters

    @field_validator("tenant_id")
    @classmethod
    def _an_id(cls, tenant_id: str | None) -> str | None:
        if tenant_id is not None and not TENANT_ID.fullmatch(tenant_id):
            raise ValueError("a tenant's id holds A-Z a-z 0-9 _ . : - and has 64 characters at most")
        return tenant_id

    @field_validator("auth_secret")
    @classmethod
    def _long_enough(cls, secret: SecretStr | None) -> SecretStr | None:
        if secret is not None and len(secret.get_secret_value()) < _SHORTEST_SECRET:
            raise ValueError(f"a secret has {_SHORTEST_SECRET} characters at least")
        return secret

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.password is not None and self.user is None:
            raise ValueError("password needs user")
        if self.client_key is not None and self.client_cert is None:
            raise ValueError("client_key needs client_cert")
        TopicMap(self.topic, self.tenant_id, self.msg_type)
        return self

    @property
    def addresses(self) -> list[Address]:
        """Where the broker listens. Raises ConfigError when nobody has said so."""
        if not self.urls:
            raise ConfigError("plugins.mqtt_bridge.urls: is needed; see docs/how-to/mqtt-bridge.md")
        return [address_of(url) for url in self.urls]

    @property
    def topics(self) -> TopicMap:
        """What a topic says of a message."""
        return TopicMap(self.topic, self.tenant_id, self.msg_type)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """What to subscribe to."""
        group = f"$share/{self.share}/" if self.share else ""
        return self.filters or (group + self.topics.filter,)

    def tls(self) -> ssl.SSLContext:
        """What a TLS connection trusts and shows. Raises OSError for a file that cannot be used."""
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.client_cert is not None:
            context.load_cert_chain(self.client_cert, self.client_key)
        return context
