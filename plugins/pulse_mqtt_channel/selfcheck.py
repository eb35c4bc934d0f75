"""Whether the paho-mqtt that is installed is the one this channel was written for."""

from __future__ import annotations

from paho.mqtt import __version__ as version
from paho.mqtt.client import Client

from pulse_core.api import PermanentFailure

FIRST, BELOW = (2, 1), (2, 3)
NEEDED = ("_create_socket", "_handle_pubrec", "_sock_close", "_do_on_publish")
"""Its private methods that :mod:`pulse_mqtt_channel.wire` overrides and calls."""


def check_paho(found: str = version, client: type = Client) -> None:
    """Return if it is.

    Another version may take a refused message for a delivered one, or go round the outbound guard, without a word.

    :raises PermanentFailure: it is not; the text says what to install.
    """
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdecimal())
    missing = [name for name in NEEDED if not callable(getattr(client, name, None))]
    if not FIRST <= numbers < BELOW or missing:
        lacks = f" (it lacks {', '.join(missing)})" if missing else ""
        raise PermanentFailure(f"paho-mqtt {found} was not tested{lacks}: pip install 'opsconductor-pulse[mqtt]'")
