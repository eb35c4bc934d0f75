"""One device's connection: reads packets, hands messages to the intake, acknowledges what is decided.

The hot path is :meth:`Connection._read_packets`: all packets of a received chunk in one loop, one submit, one write.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

from pulse_core.api import Credentials, DeviceKey, Ending, RawMessage, Reason, Rejected, StoreUnavailable
from pulse_mqtt import codec311 as codec
from pulse_mqtt.link import Link, Pause
from pulse_mqtt.topics import Topics, key_of
from pulse_mqtt.window import Window

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulse_core.api import Intake
    from pulse_mqtt.config import MqttConfig
    from pulse_mqtt.roster import Roster

WINDOW_MESSAGES = 256
"""Undecided messages a connection; beyond it nothing more is read."""
WINDOW_BYTES = 1024 * 1024
"""Undecided bytes a connection, likewise."""
LONGEST_PACKET = 262_144 + 65_535 + 4
"""The largest payload that can be configured, the longest topic, and what stands around them."""
LONGEST_CONNECT = 16 * 1024
"""A stranger gets no more memory than this."""
FIRST_QUOTA = 32
"""Messages that are read at once from a connection whose rate is not known yet."""
_KEEPALIVE_GRACE = 1.5
_LINGER_S = 60.0
"""For how long messages of a device that has left may wait for room."""


class Connection(Link):
    """Serves one connection of MQTT 3.1.1."""

    def __init__(
        self, intake: Intake, config: MqttConfig, roster: Roster, source: str, protocol: str, log: Any
    ) -> None:
        super().__init__(log, config.write_timeout_s)
        self._intake = intake
        self._config = config
        self._roster = roster
        self._source = source
        self._protocol = protocol
        self._ended: Callable[[Ending], None] | None = None
        self._window = Window(intake, self)
        self._topics: Topics | None = None
        self._login: asyncio.Task[None] | None = None
        self._replies: list[bytes] = []
        self._quota = FIRST_QUOTA
        self.key: DeviceKey | None = None
        """Who is, or wants to be, at the other end."""
        self.client_id = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give a stranger some time to log in."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._roster.enter(self):
            self.after(
                "connect", self._config.connect_timeout_s, lambda: self.abort("no login in time", Ending.PROTOCOL_ERROR)
            )
        else:
            self.abort("too many connections", Ending.SERVER_ERROR)

    def gone(self) -> None:
        """Forget everything."""
        self._roster.leave(self)
        self._window.close()
        if self._login is not None:
            self._login.cancel()
        if self._ended is not None:
            self._ended(self.ending or Ending.LOST)

    def drain(self) -> None:
        """Read no more, wait for outcomes, acknowledge, close; for ``drain_timeout_s`` at most."""
        if not self.closed:
            self._window.drain()
            self.ending = self.ending or Ending.SERVER_STOPPED
            self._leave(self._config.drain_timeout_s)

    def finish(self) -> None:
        """The peer has sent its last."""
        self._leave(_LINGER_S)

    def _leave(self, within_s: float) -> None:
        self.pause(Pause.LEAVING)
        self.after("leave", within_s, lambda: self.abort("outcomes did not come in time", Ending.LOST))
        self.decided(b"")

    # What the window says

    def decided(self, acknowledgements: bytes) -> None:
        """Messages up to here are decided."""
        if self.closed:
            return
        if acknowledgements:
            self.transport.write(acknowledgements)
        window = self._window
        if window.undecided < WINDOW_MESSAGES and window.undecided_bytes < WINDOW_BYTES:
            self.resume(Pause.WINDOW)
        if self.paused & Pause.LEAVING and not window.undecided:
            self.close("done", Ending.LOST)

    def waiting(self, waits: bool) -> None:
        """The intake has no room, or has it again."""
        if waits:
            self.pause(Pause.ROOM)
        else:
            self.resume(Pause.ROOM)

    def failed(self, error: BaseException) -> None:
        """The intake raised: nothing of this connection can be acknowledged any more."""
        self.log.error("mqtt.intake_failed", device=str(self.key), error=repr(error))
        self.abort("the intake failed", Ending.SERVER_ERROR)

    # Reading

    def work(self, data: bytes) -> int:
        """Read packets for as long as nothing stands against it."""
        pos = 0
        try:
            while not self.paused:
                read_to = self._read_packets(data, pos) if self._topics else self._read_connect(data, pos)
                if read_to == pos:
                    break
                pos = read_to
        except codec.PacketError as error:
            self._reply()
            self.abort(f"malformed: {error}", Ending.PROTOCOL_ERROR)
            return len(data)
        self._reply()
        return pos

    def _read_connect(self, data: bytes, pos: int) -> int:
        if pos < len(data) and data[pos] != codec.CONNECT:
            raise codec.PacketError("the first packet is not CONNECT")
        header = codec.read_header(data, pos, LONGEST_CONNECT)
        if header is None or header[2] > len(data):
            self.needed = header[2] - pos if header else 0
            return pos
        try:
            self._begin(codec.read_connect(data[header[1] : header[2]]))
        except codec.UnsupportedProtocolError:
            self._refuse(codec.UNACCEPTABLE_PROTOCOL)
        return header[2]

    def _begin(self, connect: codec.Connect) -> None:
        key = key_of(connect.username)
        if key is None:
            self._refuse(codec.BAD_CREDENTIALS)
        elif not connect.client_id and not connect.clean_session:
            self._refuse(codec.IDENTIFIER_REJECTED)
        else:
            self.key, self.client_id = key, connect.client_id
            self._roster.claim(key, self)
            self.pause(Pause.LOGIN)
            self._login = self.loop.create_task(self._log_in(key, connect))
            self._login.add_done_callback(self._logged_in)

    async def _log_in(self, key: DeviceKey, connect: codec.Connect) -> None:
        token = (connect.password or b"").decode("utf-8", "replace")
        try:
            await self._intake.authenticate(Credentials(key, token))
        except Rejected as error:
            self._refuse(codec.NOT_AUTHORIZED)
            self._count_refusal(key, error.reason)
            return
        except StoreUnavailable:
            self._refuse(codec.SERVER_UNAVAILABLE)
            return
        if self.closed:
            return
        self.cancel("connect")
        self._roster.welcome(key, connect.client_id, self)
        self._topics = Topics(key)
        peer = self.transport.get_extra_info("peername")
        address = str(peer[0]) if peer else ""
        self._ended = self._intake.connected(key, protocol=self._protocol, address=address, client_id=connect.client_id)
        self.transport.write(codec.connack(codec.ACCEPTED))
        self.resume(Pause.LOGIN)
        if connect.keepalive_s:
            self._watch(connect.keepalive_s * _KEEPALIVE_GRACE)

    def _count_refusal(self, key: DeviceKey, reason: Reason) -> None:
        """Tell quarantine of a refused login. The peer is not kept waiting for it."""
        login = RawMessage(
            key.tenant_id, key.device_id, "connect", b"", time.time_ns() // 1000, self._source, refused=reason
        )
        future = asyncio.ensure_future(self._intake.submit([login]))
        future.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _logged_in(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    def _refuse(self, code: int) -> None:
        if not self.closed:
            self.transport.write(codec.connack(code))
            self.close(f"refused with {code}", Ending.PROTOCOL_ERROR)

    def _watch(self, silence_s: float) -> None:
        """3.1.2.10: close after one and a half times the keep-alive, unless it is we who do not read."""
        left_s = self.heard_s + silence_s - self.loop.time()
        if self.paused:
            left_s = silence_s
        if left_s <= 0:
            self.abort("silent for longer than its keep-alive", Ending.KEEP_ALIVE)
        else:
            self.after("keepalive", left_s, lambda: self._watch(silence_s))

    def _read_packets(self, data: bytes, pos: int) -> int:
        """Read packets from ``pos`` on while there is room for their messages; return where the rest begins."""
        topics = self._topics
        assert topics is not None  # noqa: S101 - only called after login
        size, start, source = len(data), pos, self._source
        tenant_id, device_id, known = topics.key.tenant_id, topics.key.device_id, topics.known
        room = min(WINDOW_MESSAGES - self._window.undecided, self._quota)
        now_us = time.time_ns() // 1000
        messages: list[RawMessage] = []
        acks: list[bytes] = []
        try:
            while pos < size and len(messages) < room and not self.paused:
                header = codec.read_header(data, pos, LONGEST_PACKET)
                if header is None or header[2] > size:
                    self.needed = header[2] - pos if header else 0
                    break
                first, body, end = header
                if first >> 4 != 3:  # noqa: PLR2004 - PUBLISH
                    self._control(first, data[body:end])
                    pos = end
                    continue
                topic, qos, packet_id, payload = codec.read_publish(data, first, body, end)
                msg_type, refused = known.get(topic) or self._judge(topics, topic)
                messages.append(
                    RawMessage(
                        tenant_id,
                        device_id,
                        msg_type,
                        payload,
                        now_us,
                        source,
                        True,
                        None,
                        qos > 0,
                        refused,
                    )
                )
                if qos:
                    acks.append((codec.PUBACK_HEAD if qos == 1 else codec.PUBREC_HEAD) + packet_id)
                pos = end
        finally:
            if messages:
                self._submit(messages, acks, pos - start)
        return pos

    def _submit(self, messages: list[RawMessage], acks: list[bytes], size: int) -> None:
        window = self._window
        window.submit(messages, b"".join(acks), size)
        if window.undecided >= WINDOW_MESSAGES or window.undecided_bytes >= WINDOW_BYTES:
            self.pause(Pause.WINDOW)
        if acks:
            self._pace(len(acks))

    def _pace(self, count: int) -> None:
        """Charge messages that may wait. Where the limit bites, about a second's worth is read at a time."""
        assert self.key is not None  # noqa: S101 - only called after login
        pause_s = self._intake.pace(self.key, count)
        if pause_s > 0:
            self._quota = max(1, min(WINDOW_MESSAGES, int(count / pause_s)))
            self.pause(Pause.PACE)
            self.after("pace", pause_s, lambda: self.resume(Pause.PACE))
        elif self._quota < WINDOW_MESSAGES:
            self._quota *= 2

    def _judge(self, topics: Topics, topic: bytes) -> tuple[str, Reason | None]:
        """Any topic that means nothing. A device that leaves its own topics is shown the door (3.3.5)."""
        msg_type, refused, own = topics.judge(topic)
        if not own:
            self.log.info("mqtt.foreign_topic", device=str(self.key), topic=msg_type)
            self._bow_out(Ending.PROTOCOL_ERROR)
        return msg_type, refused

    def _bow_out(self, ending: Ending) -> None:
        """Read nothing more; leave once the chunk at hand is submitted and decided."""
        self.ending = self.ending or ending
        self.ended = True
        self.pause(Pause.LEAVING)
        self.loop.call_soon(self.finish)

    def _control(self, first: int, body: bytes) -> None:
        """Any packet but PUBLISH, after login."""
        reply = self._replies.append
        if first == codec.PINGREQ and not body:
            reply(codec.PINGRESP)
        elif first == codec.PUBREL:
            reply(codec.PUBCOMP_HEAD + codec.read_packet_id(body))
        elif first == codec.SUBSCRIBE and self._topics:
            packet_id, wanted = codec.read_subscribe(body)
            reply(codec.suback(packet_id, [self._topics.grant(*one) for one in wanted]))
        elif first == codec.UNSUBSCRIBE:
            reply(codec.unsuback(codec.read_unsubscribe(body)[0]))
        elif first == codec.DISCONNECT and not body:
            self._bow_out(Ending.CLIENT_CLOSED)
        elif first in (codec.PUBACK, codec.PUBREC, codec.PUBCOMP):
            codec.read_packet_id(body)
        else:
            raise codec.PacketError(f"a packet that begins with 0x{first:02x}")

    def _reply(self) -> None:
        if self._replies and not self.closed:
            self.transport.write(b"".join(self._replies))
        self._replies.clear()
