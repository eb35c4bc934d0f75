"""Sending: one message a notification."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from pulse_core.api import Channel, PermanentFailure, check_tls_trust
from pulse_mqtt_channel.config import MqttConfig
from pulse_mqtt_channel.link import Link
from pulse_mqtt_channel.reasons import NO_SUBSCRIBERS
from pulse_mqtt_channel.selfcheck import check_paho
from pulse_mqtt_channel.topics import topic

if TYPE_CHECKING:
    from pulse_core.api import Notification, PluginConfig, Services

_KEPT_FOR_S = 60.0
_PACKET_ROOM_BYTES = 32
"""What an MQTT packet holds besides topic and payload, amply."""


class MqttChannel(Channel[MqttConfig]):
    """Publishes the notification's JSON over one kept connection. Delivered is what the broker acknowledged."""

    name = "mqtt"
    summary = "A message to an MQTT broker of yours"
    integration_type = MqttConfig
    kept_for_s = _KEPT_FOR_S

    def __init__(self, integration: MqttConfig, services: Services, config: PluginConfig) -> None:
        super().__init__(integration, services, config)
        self._connecting = asyncio.Lock()
        self._link: Link | None = None
        self._former: set[Link] = set()
        self._used_s = 0.0
        self._sweep: asyncio.TimerHandle | None = None

    @classmethod
    def endpoint(cls, integration: MqttConfig) -> str:
        """Deliveries to one broker share a limit."""
        host, port, _ = integration.broker
        return f"{host.lower().rstrip('.')}:{port}"

    @classmethod
    async def check(cls, config: PluginConfig) -> None:  # noqa: ARG003 - nothing to set
        """See that this machine trusts authorities, and that its paho-mqtt is one that we know."""
        check_tls_trust()
        check_paho()

    async def send(self, notification: Notification) -> str:
        """Publish, and wait for PUBACK (QoS 1) or PUBCOMP (QoS 2)."""
        started_s = time.perf_counter()
        where, payload = self._topic(notification), notification.to_json()
        link = await self._connected()
        self.services.outbound.uses(link.sock)
        self._allow(link, where, payload)
        try:
            reason = await link.publish(where, payload, qos=self.integration.qos, retain=self.integration.retain)
        finally:
            self._put_back(link)
        said = ("sent, not acknowledged", "PUBACK", "PUBCOMP")[self.integration.qos]
        nobody = ", nobody is subscribed" if reason == NO_SUBSCRIBERS else ""
        spent_ms = round((time.perf_counter() - started_s) * 1000)
        return f"{said} from {link.where} in {spent_ms} ms{nobody}; topic {where}"

    async def close(self) -> None:
        """Say goodbye to the broker."""
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        self._retire()
        for link in self._former:
            link.leave()
        self._former.clear()
        await asyncio.sleep(0)  # whoever still waits is told

    def _topic(self, notification: Notification) -> str:
        values = {
            "tenant_id": notification.tenant_id,
            "device_id": notification.device_id,
            "site_id": notification.site_id,
            "severity": notification.severity_name,
            "alert_type": notification.alert_type,
            "alert_id": notification.alert_id,
        }
        try:
            return topic(self.integration.topic_template, values)
        except ValueError as error:
            raise PermanentFailure(str(error)) from None

    async def _connected(self) -> Link:
        async with self._connecting:
            if self._link is None or not self._link.usable:
                self._retire()
                self._link = await Link.open(self.integration, self.services)
            return self._link

    def _allow(self, link: Link, where: str, payload: bytes) -> None:
        """Refuse what the broker has said it refuses: it would end the connection, and others' messages with it."""
        limits = link.limits
        if self.integration.qos > limits.highest_qos:
            raise PermanentFailure(f"{link.where} takes QoS {limits.highest_qos} at most")
        if self.integration.retain and not limits.retains:
            raise PermanentFailure(f"{link.where} retains no messages")
        if len(where.encode()) + len(payload) + _PACKET_ROOM_BYTES > limits.longest_packet_bytes:
            raise PermanentFailure(f"{link.where} takes packets of {limits.longest_packet_bytes} bytes at most")

    def _put_back(self, link: Link) -> None:
        loop = asyncio.get_running_loop()
        self._used_s = loop.time()
        if link is self._link and not link.usable:
            self._retire()
        self._end_former()
        if self._sweep is None and self._link is not None:
            self._sweep = loop.call_later(self.kept_for_s, self._close_idle)

    def _retire(self) -> None:
        """Use the connection no more; whoever still waits for an acknowledgement on it may."""
        if self._link is not None:
            self._former.add(self._link)
            self._link = None
        self._end_former()

    def _end_former(self) -> None:
        for link in [each for each in self._former if not each.busy]:
            self._former.discard(link)
            link.leave()

    def _close_idle(self) -> None:
        self._sweep = None
        loop = asyncio.get_running_loop()
        left_s = self._used_s + self.kept_for_s - loop.time()
        if self._link is None:
            return
        if left_s <= 0 and not self._link.busy:
            self._retire()
        else:
            self._sweep = loop.call_later(max(left_s, 1.0), self._close_idle)
