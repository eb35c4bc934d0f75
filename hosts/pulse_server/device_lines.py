"""Lines to copy that work: how a device of this installation gets its token, and sends a message.

Where devices come in is what the configuration tells the world (``device_url``, ``device_mqtt_url``), else what the
pipeline of this machine says, else what its ports would be by the configuration.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct

from pulse_server import activation, runfiles

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.config import Config

METRICS = {"temp_c": 21.5}
"""What the example says."""
_ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104 - not to listen there, but to say where that is
_MQTT_PORT = 1883


class Example(Struct, frozen=True):
    """A device that is to send something. ``token`` may be a shell's variable, as ``$TOKEN``."""

    tenant_id: str
    device_id: str
    site_id: str
    token: str

    @property
    def topic(self) -> str:
        """Under which it sends."""
        return f"tenant/{self.tenant_id}/device/{self.device_id}"

    @property
    def body(self) -> str:
        """What it sends."""
        return json.dumps({"site_id": self.site_id, "metrics": METRICS})


def doors(config: Config) -> dict[str, str]:
    """Where devices come in: ``http``, and ``mqtt`` if there is that."""
    said = runfiles.lookup(config.data_dir, "pipeline")
    found: dict[str, Any] = dict(said["addresses"]) if said is not None else _configured(config)
    public = urlsplit(config.issuer).hostname or "localhost"
    listed: dict[str, str] = {name: _reachable(str(found[name]), public) for name in ("http", "mqtt") if name in found}
    given = {"http": config.device_url, "mqtt": config.device_mqtt_url}
    return {**listed, **{name: url.rstrip("/") for name, url in given.items() if url is not None}}


def activate_line(doors: Mapping[str, str], code: str) -> str:
    """Trade a code for a token, kept in the shell's variable TOKEN."""
    body = json.dumps({"code": code})
    return (
        f"TOKEN=$(curl -s {doors['http']}{activation.PATH} -H 'Content-Type: application/json' -d '{body}'"
        ' | sed -n \'s/.*"token":"\\([^"]*\\)".*/\\1/p\'); echo $TOKEN'
    )


def http_line(doors: Mapping[str, str], example: Example) -> str:
    """Send one message over HTTP."""
    return (
        f"curl -i {doors['http']}/ingest/v1/{example.topic}/telemetry -H 'Content-Type: application/json' "
        f"-H \"X-Provision-Token: {example.token}\" -d '{example.body}'"
    )


def mqtt_line(doors: Mapping[str, str], example: Example) -> str | None:
    """Send one message over MQTT; None: there is no way in for that."""
    if "mqtt" not in doors:
        return None
    broker = urlsplit(doors["mqtt"])
    tls = " --tls-use-os-certs" if broker.scheme == "mqtts" else ""
    return (
        f"mosquitto_pub -h {broker.hostname} -p {broker.port or _MQTT_PORT}{tls} -i {example.device_id} -q 1 "
        f'-u {example.tenant_id}/{example.device_id} -P "{example.token}" -t {example.topic}/telemetry '
        f"-m '{example.body}'"
    )


def _configured(config: Config) -> dict[str, str]:
    found = {"http": f"http://{_in_url(config.device_http.host)}:{config.device_http.port}"}
    if "mqtt" in config.plugins.enabled:
        table = config.plugins.table("mqtt")
        host, port = table.get("host", config.device_http.host), table.get("port", _MQTT_PORT)
        found["mqtt"] = f"mqtt://{_in_url(str(host))}:{port}"
    return found


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _reachable(url: str, public: str) -> str:
    """A listener on every address is found under the name that people know this installation by."""
    parts = urlsplit(url)
    if parts.hostname not in _ANY:
        return url
    return parts._replace(netloc=f"{_in_url(public)}:{parts.port}").geturl()
