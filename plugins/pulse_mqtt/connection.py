"""One device's connection: reads packets, hands messages to the intake, acknowledges what is decided.

The hot path is :meth:`Connection._read_packets`: all packets of a received chunk in one loop, one submit, one write.
"""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

from pulse_core.api import DeviceKey, Ending, RawMessage, Reason, StoreUnavailable
from pulse_mqtt import wire
from pulse_mqtt.codes import FAILURE, OF_ENDING, Code
from pulse_mqtt.dialects import Welcome, dialect_of, refusal
from pulse_mqtt.link import Link, Pause
from pulse_mqtt.login import LoginRefused, read_connect, version_of
from pulse_mqtt.packets import IDENTIFIER_SHIFT, V5, V311
from pulse_mqtt.subscriptions import grant
from pulse_mqtt.topics import Topics, prefix_of
from pulse_mqtt.window import Window

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Coroutine
    from typing import Any

    from pulse_mqtt.courier import Outbox
    from pulse_mqtt.dialects import Dialect
    from pulse_mqtt.door import Door
    from pulse_mqtt.packets import Connect, Goodbye, Subscribe, Unsubscribe, Will
    from pulse_mqtt.session import Session

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
_PUBLISH = 3


class Connection(Link):
    """Serves one connection of MQTT 3.1.1 or MQTT 5.0."""

    __slots__ = (
        "_door",
        "_ended",
        "_failure",
        "_quota",
        "_receive_limit",
        "_receive_maximum",
        "_replies",
        "_silence_s",
        "_task",
        "_topics",
        "_version",
        "_will",
        "_window",
        "address",
        "dialect",
        "key",
        "outbox",
        "scheme",
        "session",
    )
    dialect: Dialect

    def __init__(self, door: Door, scheme: str) -> None:
        super().__init__(door.log, door.config.write_timeout_s)
        self._door = door
        self.scheme = scheme
        self.address = ""
        self.key: DeviceKey | None = None
        """Who is, or wants to be, at the other end."""
        self.session: Session | None = None
        """None before its login."""
        self.outbox: Outbox | None = None
        """None for as long as it has subscribed to nothing."""
        self._version = V311
        self._topics: Topics | None = None
        self._window: Window | None = None
        self._will: Will | None = None
        self._failure: tuple[Code, str] | None = None
        """What the last word is to say, where the ending does not say it."""
        self._ended: Callable[[Ending], None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._replies: list[bytes] = []
        self._quota = FIRST_QUOTA
        self._receive_limit = 0
        self._receive_maximum = 0
        self._silence_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give a stranger some time to log in."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        if self._door.roster.enter(self):
            within_s = self._door.config.connect_timeout_s
            self.after("connect", within_s, lambda: self.abort("no login in time", Ending.PROTOCOL_ERROR))
        else:
            self.abort("too many connections", Ending.SERVER_ERROR)

    def proven(self) -> DeviceKey | None:
        """Who it is by its certificate."""
        return None

    # The end

    def gone(self) -> None:
        """Forget everything."""
        self._door.roster.leave(self)
        if self._window is not None:
            self._window.close()
        if self._task is not None:
            self._task.cancel()
        if self._ended is None or self.session is None:
            return
        ending = self.ending or Ending.LOST
        self._ended(ending)
        if self._will is not None and ending is not Ending.SERVER_STOPPED:
            self._leave_will(self._will, self.session, ending)
        self._door.desk.part(self.session, self)

    def _leave_will(self, will: Will, session: Session, ending: Ending) -> None:
        """3.1.3.2.2: at once when the session ends; its delay later while it may go on, and not if it does."""
        delay_s = min(will.delay_s, session.expiry_s)
        if ending is not Ending.TAKEN_OVER or not delay_s:
            self._door.wills.broken(session.key, will, delay_s)

    def last_words(self) -> bytes:
        """A DISCONNECT, where the version has one and the peer still listens."""
        if self.session is None or self.ending is None or (self.ended and self._failure is None):
            return b""
        code, why = self._failure or (OF_ENDING.get(self.ending), str(self.ending))
        return b"" if code is None else self.dialect.goodbye(code, why)

    def give_way(self) -> None:
        """Its client has connected anew: nothing of this connection is acknowledged any more."""
        if self._window is not None:
            self._window.close()
        self.close("taken over", Ending.TAKEN_OVER)

    def drain(self) -> None:
        """Read no more, wait for outcomes, acknowledge, close; for ``drain_timeout_s`` at most."""
        if not self.closed:
            if self._window is not None:
                self._window.drain()
            self.ending = self.ending or Ending.SERVER_STOPPED
            self._leave(self._door.config.drain_timeout_s)

    def finish(self) -> None:
        """The peer has sent its last."""
        self._leave(_LINGER_S)

    def _leave(self, within_s: float) -> None:
        self.pause(Pause.LEAVING)
        self.after("leave", within_s, lambda: self.abort("outcomes did not come in time", Ending.LOST))
        self.decided(b"")

    def check_silence(self, now_s: float) -> None:
        """3.1.2.10: close after one and a half times the keep-alive, unless it is we who do not read."""
        if self._silence_s and now_s - self.heard_s > self._silence_s and not self.closed:
            if self.paused:
                self.heard_s = now_s
            else:
                self.close("silent for longer than its keep-alive", Ending.KEEP_ALIVE)

    # What the window says

    def decided(self, acknowledgements: bytes) -> None:
        """Messages up to here are decided."""
        if self.closed:
            return
        if acknowledgements:
            self.transport.write(acknowledgements)
        window = self._window
        if window is None or (window.undecided < WINDOW_MESSAGES and window.undecided_bytes < WINDOW_BYTES):
            self.resume(Pause.WINDOW)
        if self.paused & Pause.LEAVING and not (window and window.undecided):
            self.close("done", Ending.LOST)

    def waiting(self, waits: bool) -> None:
        """The intake has no room, or has it again."""
        if waits:
            self.pause(Pause.ROOM)
        else:
            self.resume(Pause.ROOM)

    def failed(self, error: BaseException) -> None:
        """Something of ours raised: nothing of this connection can be acknowledged any more."""
        self.log.error("mqtt.failed", device=str(self.key), error=repr(error))
        self.abort("the front door failed", Ending.SERVER_ERROR)

    def send(self, data: bytes) -> None:
        """Write."""
        if not self.closed:
            self.transport.write(data)

    # Logging in

    def work(self, data: bytes) -> int:
        """Read packets for as long as nothing stands against it."""
        pos = 0
        try:
            while not self.paused:
                read_to = self._read_packets(data, pos) if self._topics else self._read_connect(data, pos)
                if read_to == pos:
                    break
                pos = read_to
        except wire.PacketError as error:
            self._reply()
            self._break_off(error)
            return len(data)
        self._reply()
        return pos

    def _break_off(self, error: wire.PacketError) -> None:
        self._failure = (error.code, str(error))
        if self.session is None:
            self.send(refusal(self._version, error.code, str(error)))
        self.close(f"malformed: {error}", Ending.PROTOCOL_ERROR)

    def _read_connect(self, data: bytes, pos: int) -> int:
        if pos < len(data) and data[pos] != wire.CONNECT:
            self._version = 0
            raise wire.PacketError("the first packet is not CONNECT")
        header = wire.read_header(data, pos, LONGEST_CONNECT)
        if header is None or header[2] > len(data):
            self.needed = header[2] - pos if header else 0
            return pos
        body = data[header[1] : header[2]]
        self._version = version_of(body)
        connect = read_connect(body, self._version)
        try:
            self.key = self._door.desk.who(connect, self)
        except LoginRefused as error:
            self._refuse(error)
        else:
            self._door.roster.claim(self.key, self)
            self._do(Pause.LOGIN, self._log_in(self.key, connect))
        return header[2]

    async def _log_in(self, key: DeviceKey, connect: Connect) -> None:
        door = self._door
        try:
            session = await door.desk.log_in(key, connect, self)
        except LoginRefused as error:
            self._refuse(error)
            return
        if self.closed:
            door.desk.part(session, self)
            return
        self.cancel("connect")
        self.session, self.dialect, self._will = session, dialect_of(connect), connect.will
        self._receive_maximum = connect.receive_maximum
        self._receive_limit = self.dialect.receive_maximum + len(session.unreleased)
        self._topics = Topics(key)
        self._window = Window(door.intake, self, session.unreleased, self.dialect.answer)
        self._ended = door.intake.connected(
            key, protocol=f"{self.scheme}/{connect.version}", address=self.address, client_id=session.key.client_id
        )
        self.send(self.dialect.welcome(self._welcome(connect, session)))
        if session.subscriptions:
            door.courier.subscribed(self, self._receive_maximum)

    def _welcome(self, connect: Connect, session: Session) -> Welcome:
        longest_s = self._door.config.longest_keepalive_s
        shorter = connect.version == V5 and longest_s and not 0 < connect.keepalive_s <= longest_s
        keepalive_s = longest_s if shorter else connect.keepalive_s
        self._silence_s = keepalive_s * _KEEPALIVE_GRACE
        return Welcome(
            session.present,
            LONGEST_PACKET,
            None if connect.client_id else session.key.client_id,
            None if session.expiry_s == connect.expiry_s else session.expiry_s,
            keepalive_s if shorter else None,
        )

    def _refuse(self, error: LoginRefused) -> None:
        if not self.closed:
            self.send(refusal(self._version, error.code, str(error)))
            self.close(f"refused: {error}", Ending.PROTOCOL_ERROR)

    def _do(self, reason: Pause, work: Coroutine[Any, Any, None]) -> None:
        """Do something that takes a while; read nothing more before it is done."""
        self.pause(reason)
        self._task = self.loop.create_task(work)
        self._task.add_done_callback(lambda task: self._done(reason, task))

    def _done(self, reason: Pause, task: asyncio.Task[None]) -> None:
        self._task = None
        if task.cancelled():
            return
        if (error := task.exception()) is not None:
            self.failed(error)
        self.resume(reason)

    # Reading

    def _read_packets(self, data: bytes, pos: int) -> int:
        """Read packets from ``pos`` on while there is room for their messages; return where the rest begins."""
        topics, window = self._topics, self._window
        assert topics is not None and window is not None and self.key is not None  # noqa: S101, PT018 - after login only
        size, start, source = len(data), pos, self._door.source
        tenant_id, device_id, known = self.key.tenant_id, self.key.device_id, topics.known
        unreleased, read_publish = window.unreleased, self.dialect.read_publish
        room = min(WINDOW_MESSAGES - window.undecided, self._quota)
        now_us = time.time_ns() // 1000
        messages: list[RawMessage] = []
        acks: list[bytes] = []
        try:
            while pos < size and len(messages) < room and not self.paused:
                header = wire.read_header(data, pos, LONGEST_PACKET)
                if header is None or header[2] > size:
                    self.needed = header[2] - pos if header else 0
                    break
                first, body, end = header
                if first >> 4 != _PUBLISH:
                    self._control(first, data[body:end])
                    pos = end
                    continue
                topic, qos, packet_id, payload = read_publish(data, first, body, end)
                if qos == 2 and packet_id in unreleased:  # noqa: PLR2004 - exactly once
                    self._submit(messages, acks, pos - start)
                    messages, acks, start, pos = [], [], end, end
                    window.owe(wire.PUBREC_HEAD + packet_id)
                    continue
                msg_type, refused = known.get(topic) or self._judge(topics, topic)
                if qos == 2:  # noqa: PLR2004 - as above
                    unreleased.add(packet_id)
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
                    acks.append((wire.PUBACK_HEAD if qos == 1 else wire.PUBREC_HEAD) + packet_id)
                else:
                    acks.append(b"")
                pos = end
        finally:
            self._submit(messages, acks, pos - start)
        if window.undecided + len(unreleased) > self._receive_limit:
            self._check_quota(window)
        return pos

    def _submit(self, messages: list[RawMessage], acks: list[bytes], size: int) -> None:
        window = self._window
        if not messages or window is None:
            return
        window.submit(messages, acks, size)
        if window.undecided >= WINDOW_MESSAGES or window.undecided_bytes >= WINDOW_BYTES:
            self.pause(Pause.WINDOW)
        if charged := len(acks) - acks.count(b""):
            self._pace(charged)

    def _check_quota(self, window: Window) -> None:
        """4.9 of MQTT 5: messages of QoS 1 and 2 without an answer are counted; MQTT 3.1.1 only has our own bound."""
        if window.owed() + len(window.unreleased) > self._receive_limit:
            raise wire.PacketError("more messages at once than the receive maximum", Code.RECEIVE_MAXIMUM_EXCEEDED)

    def _pace(self, count: int) -> None:
        """Charge messages that may wait. Where the limit bites, about a second's worth is read at a time."""
        assert self.key is not None  # noqa: S101 - only called after login
        pause_s = self._door.intake.pace(self.key, count)
        if pause_s > 0:
            self._quota = max(1, min(WINDOW_MESSAGES, int(count / pause_s)))
            self.pause(Pause.PACE)
            self.after("pace", pause_s, lambda: self.resume(Pause.PACE))
        elif self._quota < WINDOW_MESSAGES:
            self._quota *= 2

    def _judge(self, topics: Topics, topic: bytes) -> tuple[str, Reason | None]:
        """Any topic for the first time. MQTT 3.1.1 has no other answer to a foreign one than the door (3.3.5 there)."""
        msg_type, refused, own = topics.judge(topic)
        if not own:
            self.log.info("mqtt.foreign_topic", device=str(self.key), topic=msg_type)
            if self._version == V311:
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
        dialect = self.dialect
        if first == wire.PINGREQ and not body:
            self._replies.append(wire.PINGRESP)
        elif first == wire.PUBACK:
            packet_id, code = dialect.read_acknowledgement(first, body)
            self._door.courier.acknowledged(self, int.from_bytes(packet_id, "big"), code)
        elif first == wire.PUBREL:
            self._release(dialect.read_acknowledgement(first, body)[0])
        elif first == wire.SUBSCRIBE:
            self._subscribe(dialect.read_subscribe(body))
        elif first == wire.UNSUBSCRIBE:
            self._unsubscribe(dialect.read_unsubscribe(body))
        elif first == wire.DISCONNECT:
            self._take_leave(dialect.read_disconnect(body))
        elif first in (wire.PUBREC, wire.PUBCOMP):
            dialect.read_acknowledgement(first, body)  # of nothing: what we send is never of QoS 2
        else:
            raise wire.PacketError(f"a packet that begins with 0x{first:02x}", _code_of(first))

    def _release(self, packet_id: bytes) -> None:
        assert self._window is not None  # noqa: S101 - only called after login
        known = packet_id in self._window.unreleased
        self._window.unreleased.discard(packet_id)
        self._replies.append(self.dialect.released(packet_id, known=known))

    def _take_leave(self, goodbye: Goodbye) -> None:
        """3.14.4. A will is dropped when nothing is wrong."""
        session = self.session
        if goodbye.expiry_s is not None and session is not None:
            if goodbye.expiry_s and not session.stored:
                raise wire.PacketError("a session expiry that CONNECT ruled out", Code.PROTOCOL_ERROR)
            session.expiry_s = min(goodbye.expiry_s, self._door.config.longest_session_s)
        if not goodbye.code:
            self._will = None
        self._bow_out(Ending.CLIENT_CLOSED)

    # Subscriptions

    def _subscribe(self, subscribe: Subscribe) -> None:
        session = self.session
        assert session is not None  # noqa: S101 - only called after login
        prefix, held = prefix_of(session.key.device), session.subscriptions
        codes = []
        for topic_filter, options in subscribe.filters:
            code = grant(prefix, topic_filter, options, held)
            if code < FAILURE:
                held[topic_filter] = code | subscribe.identifier << IDENTIFIER_SHIFT
            codes.append(code)
        self._subscriptions_changed(session, subscribe.packet_id, self.dialect.subscribed, codes)

    def _unsubscribe(self, unsubscribe: Unsubscribe) -> None:
        session = self.session
        assert session is not None  # noqa: S101 - only called after login
        held = session.subscriptions
        none = Code.NO_SUBSCRIPTION_EXISTED
        codes = [none if held.pop(one, None) is None else Code.SUCCESS for one in unsubscribe.filters]
        self._subscriptions_changed(session, unsubscribe.packet_id, self.dialect.unsubscribed, list(codes))

    def _subscriptions_changed(
        self, session: Session, packet_id: bytes, answer: Callable[[bytes, list[int]], bytes], codes: list[int]
    ) -> None:
        """Answer, after the commit where the session is to outlive the connection; then send what is open."""
        if session.stored:
            self._reply()
            self._do(Pause.SESSION, self._store(session, packet_id, answer, codes))
        else:
            self._replies.append(answer(packet_id, codes))
            self._door.courier.subscribed(self, self._receive_maximum)

    async def _store(
        self, session: Session, packet_id: bytes, answer: Callable[[bytes, list[int]], bytes], codes: list[int]
    ) -> None:
        try:
            await self._door.intake.save_session(session.key.device, session.key.client_id, session.subscriptions)
        except StoreUnavailable:
            codes = [max(code, Code.IMPLEMENTATION_SPECIFIC_ERROR) for code in codes]
        self.send(answer(packet_id, codes))
        self._door.courier.subscribed(self, self._receive_maximum)

    def _reply(self) -> None:
        if self._replies and not self.closed:
            self.transport.write(b"".join(self._replies))
        self._replies.clear()


def _code_of(first: int) -> Code:
    """Wrong flags make a packet malformed (2.1.3); a packet that is no device's to send is a protocol error."""
    kinds = (wire.PINGREQ, wire.PUBACK, wire.PUBREL, wire.SUBSCRIBE, wire.UNSUBSCRIBE, wire.DISCONNECT, wire.PUBREC)
    malformed = first >> 4 in {kind >> 4 for kind in kinds} or not first >> 4
    return Code.MALFORMED_PACKET if malformed else Code.PROTOCOL_ERROR
