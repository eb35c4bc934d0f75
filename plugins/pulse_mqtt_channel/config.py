"""What a customer fills in for MQTT."""

from __future__ import annotations

import re
from typing import Annotated, Literal, NamedTuple, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator

from pulse_core.api import Field, IntegrationConfig, SecretStr, model_validator
from pulse_mqtt_channel import topics

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_HOST = re.compile(r"[\w.-]{1,253}|[0-9A-Fa-f:.]{2,45}")
_NO_NUL = re.compile("[^\x00\ud800-\udfff]*")


class Broker(NamedTuple):
    """Where a broker listens."""

    host: str
    port: int
    tls: bool


def broker(url: str) -> Broker:
    """Take a broker's URL apart. Raises ValueError whose text never holds the URL."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("this is not a URL") from None
    if "@" in parts.netloc:
        raise ValueError("no user name or password in the URL, please: there are fields for them")
    if parts.scheme not in _PORTS or not _HOST.fullmatch(host) or port == 0:
        raise ValueError("a URL like mqtts://broker.example.com or mqtt://broker.example.com:1883 is needed")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ValueError("nothing may follow the host and the port")
    return Broker(host, port or _PORTS[parts.scheme], parts.scheme == "mqtts")


def _url(url: str) -> str:
    if not url.isprintable() or " " in url:
        raise ValueError("a URL holds no spaces and no control characters")
    broker(url)
    return url


def _text(value: str) -> str:
    if not _NO_NUL.fullmatch(value):
        raise ValueError("no NUL, please")
    return value


def _secret(value: SecretStr) -> SecretStr:
    _text(value.get_secret_value())
    return value


class MqttConfig(IntegrationConfig):
    """A broker: every alert change is published to it as JSON."""

    url: Annotated[str, AfterValidator(_url)] = Field(max_length=300, json_schema_extra={"format": "uri"})
    """The broker: mqtts://host (port 8883) with TLS, mqtt://host (port 1883) without; another port as mqtts://host:port."""
    user: Annotated[str, AfterValidator(_text)] | None = Field(None, min_length=1, max_length=1000)
    """The user name. Left empty: none."""
    password: Annotated[SecretStr, AfterValidator(_secret)] | None = Field(None, min_length=1, max_length=10_000)
    """The password, or a token, that goes with the user name."""
    topic_template: Annotated[str, AfterValidator(topics.check)] = Field(
        "pulse/{tenant_id}/{device_id}/{alert_type}", min_length=1, max_length=1000
    )
    """Where to publish. Variables: {tenant_id}, {device_id}, {site_id}, {severity} (its name), {alert_type},
    {alert_id}. Characters that a level of a topic cannot hold are percent-encoded in their values."""
    qos: Literal[0, 1, 2] = 1
    """0: sent, nobody says whether it arrived. 1: the broker has it, twice perhaps. 2: the broker has it once."""
    retain: bool = False
    """Whether the broker keeps the last message of a topic for whoever subscribes later."""
    protocol: Literal["5", "3.1.1"] = "5"
    """The version of MQTT. With 5 a broker says when it refuses a message; with 3.1.1 it cannot."""

    @model_validator(mode="after")
    def _login_is_whole(self) -> Self:
        if self.password is not None and self.user is None:
            raise ValueError("a password needs a user name")
        return self

    @property
    def broker(self) -> Broker:
        """Where to connect."""
        return broker(self.url)
