"""Whether the aiomqtt and paho-mqtt that are installed are those this plugin was written for."""

from __future__ import annotations

from importlib.metadata import version

import aiomqtt
from paho.mqtt.client import Client

from pulse_core.api import PermanentFailure

BOUNDS = {"aiomqtt": ((2, 5), (2, 6)), "paho-mqtt": ((2, 1), (2, 3))}
"""From this version on, below that one."""
OF_AIOMQTT = ("_on_connect", "_on_disconnect")
OF_PAHO = (
    *("manual_ack_set", "ack", "loop_read", "socket"),
    *("_create_socket", "_sock_close", "_handle_publish", "_handle_pubrel", "_send_pubrec", "_send_pubcomp"),
)
"""What :mod:`pulse_mqtt_bridge.wire` stands in for or calls; most of it is private."""


def check_client(found: dict[str, str] | None = None, outer: type = aiomqtt.Client, inner: type = Client) -> None:
    """Return if they are. Others may acknowledge what is not committed, without a word.

    :raises PermanentFailure: they are not; the text says what to install.
    """
    for name, (first, below) in BOUNDS.items():
        text = (found or {}).get(name) or version(name)
        numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdecimal())
        if not first <= numbers < below:
            raise PermanentFailure(f"{name} {text} was not tested: pip install 'opsconductor-pulse[mqtt]'")
    missing = [name for name in OF_AIOMQTT if not callable(getattr(outer, name, None))]
    missing += [name for name in OF_PAHO if not callable(getattr(inner, name, None))]
    if missing:
        raise PermanentFailure(f"the MQTT client lacks {', '.join(missing)}: pip install 'opsconductor-pulse[mqtt]'")
