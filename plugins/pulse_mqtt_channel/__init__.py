"""The MQTT channel: alerts published to a broker of the customer's."""

from collections.abc import Iterable

from pulse_core.api import hookimpl
from pulse_mqtt_channel.channel import MqttChannel


@hookimpl
def pulse_register_channels() -> Iterable[type[MqttChannel]]:
    """Register the MQTT channel."""
    return (MqttChannel,)
