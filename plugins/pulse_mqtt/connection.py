"""One device's connection, from the first byte to the last: logging in, and how it ends."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from pulse_core.api import DeviceKey, Ending
from pulse_mqtt import wire
from pulse_mqtt.codes import OF_ENDING, Code
from pulse_mqtt.conversation import LONGEST_PACKET, Conversation
from pulse_mqtt.dialects import Welcome, dialect_of, refusal
from pulse_mqtt.link import Link, Pause
from pulse_mqtt.login import LoginRefused, read_connect, version_of
from pulse_mqtt.packets import V5, V311, VERSIONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from pulse_mqtt.door import Door
    from pulse_mqtt.packets import Connect
    from pulse_mqtt.session import Session

LONGEST_CONNECT = 16 * 1024
"""A stranger gets no more memory than this."""
_HEADER = 4
"""What stands before the bytes that a remaining length of LONGEST_PACKET counts."""
_KEEPALIVE_GRACE = 1.5
_LINGER_S = 60.0
"""For how long messages of a device that has left may wait for room."""


class Connection(Link):
    """Serves one connection of MQTT 3.1.1 or MQTT 5.0."""

    __slots__ = (
        "_counted",
        "_door",
        "_ended",
        "_failure",
        "_scheme",
        "_silence_s",
        "_version",
        "address",
        "key",
        "talk",
    )

    def __init__(self, door: Door, scheme: str) -> None:
        super().__init__(door.log, door.config.write_timeout_s)
        self._door = door
        self._scheme = scheme
        self._version = V311
        self._failure: tuple[Code, str] | None = None
        """What the last word is to say, where the ending does not say it."""
        self._counted = False
        self._ended: Callable[[Ending], None] | None = None
        self._silence_s = 0.0
        self.address = ""
        self.key: DeviceKey | None = None
        """Who is, or wants to be, at the other end."""
        self.talk: Conversation | None = None
        """None before its login."""

    @property
    def protocol(self) -> str:
        """What it speaks, as ``mqtts/5``."""
        return f"{self._scheme}/{VERSIONS[self._version]}"

    @property
    def session(self) -> Session | None:
        """None before its login."""
        return self.talk.session if self.talk is not None else None

    def proven(self) -> DeviceKey | None:
        """Who it is by its certificate."""
        tls = self._door.tls
        return tls.owner(self.transport.get_extra_info("ssl_object")) if tls is not None else None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Give a stranger some time to log in."""
        super().connection_made(transport)
        connection = transport.get_extra_info("socket")
        if connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        door = self._door
        self._counted = door.crowd.enter(self.address)
        if self._counted and door.roster.enter(self):
            door.strangers.enter(self)
            within_s = door.config.connect_timeout_s
            self.after("connect", within_s, lambda: self.abort("no login in time", Ending.PROTOCOL_ERROR))
        else:
            self.abort("too many connections", Ending.SERVER_ERROR)

    def work(self, data: bytes) -> int:
        """Read packets for as long as nothing stands against it."""
        pos = 0
        try:
            while pos < len(data) and not self.paused:
                read_to = self.talk.read(data, pos) if self.talk is not None else self._read_connect(data, pos)
                if read_to == pos:
                    break
                pos = read_to
        except wire.PacketError as error:
            self._break_off(error)
            return len(data)
        if self.talk is not None:
            self.talk.reply()
        return pos

    # Logging in

    def _read_connect(self, data: bytes, pos: int) -> int:
        if pos < len(data) and data[pos] != wire.CONNECT:
            raise wire.PacketError("the first packet is not CONNECT")
        header = wire.read_header(data, pos, LONGEST_CONNECT, padded=True)
        if header is None or header[2] > len(data):
            self.needed = header[2] - pos if header else 0
            return pos
        body = data[header[1] : header[2]]
        self._version = version_of(body)
        if self._version == V5:
            wire.read_header(data, pos, LONGEST_CONNECT)  # once more, now that its rules are known
        connect = read_connect(body, self._version)
        try:
            self.key = self._door.desk.who(connect, self)
        except LoginRefused as error:
            self._refuse(error, connect)
        else:
            self._door.strangers.leave(self)  # a storm of logins is no flood of strangers: each of them gets its turn
            self._door.roster.claim(self.key, self)
            self.do(Pause.LOGIN, self._log_in(self.key, connect))
        return header[2]

    async def _log_in(self, key: DeviceKey, connect: Connect) -> None:
        door = self._door
        try:
            session = await door.desk.log_in(key, connect, self)
        except LoginRefused as error:
            self._refuse(error, connect)
            return
        if self.closed:
            door.desk.part(session, self)
            return
        self.cancel("connect")
        dialect = dialect_of(connect)
        self.talk = Conversation(self, door, session, dialect, connect)
        self._ended = door.intake.connected(
            key, protocol=self.protocol, address=self.address, client_id=session.key.client_id
        )
        self.send(dialect.welcome(self._welcome(connect, session)))
        self.talk.resume()
        if session.settling:  # nothing is read before it is known which messages it has already
            await asyncio.wait(session.settling)
            session.settling = ()

    def _welcome(self, connect: Connect, session: Session) -> Welcome:
        longest_s = self._door.config.longest_keepalive_s
        shorter = connect.version == V5 and longest_s and not 0 < connect.keepalive_s <= longest_s
        keepalive_s = longest_s if shorter else connect.keepalive_s
        self._silence_s = keepalive_s * _KEEPALIVE_GRACE
        return Welcome(
            session.present,
            LONGEST_PACKET + _HEADER,
            None if connect.client_id else session.key.client_id,
            None if session.expiry_s == connect.expiry_s else session.expiry_s,
            keepalive_s if shorter else None,
        )

    def _refuse(self, error: LoginRefused, connect: Connect) -> None:
        self.send(refusal(self._version, error.code, str(error), connect.maximum_packet_size))
        self.close(f"refused: {error}", Ending.PROTOCOL_ERROR)

    # The end

    def gone(self) -> None:
        """Forget everything."""
        self._door.roster.leave(self)
        self._door.strangers.leave(self)
        if self._counted:
            self._door.crowd.leave(self.address)
        if self.talk is not None:
            self.talk.close()
            self._part(self.talk)
            self.talk = None

    def _part(self, talk: Conversation) -> None:
        ending = self.ending or Ending.LOST
        if self._ended is not None:
            self._ended(ending)
        session, will = talk.session, talk.will
        if will is not None and ending is not Ending.SERVER_STOPPED:
            delay_s = 0 if ending is Ending.TAKEN_OVER else min(will.delay_s, session.expiry_s)
            self._door.wills.broken(session.key, will, delay_s)
        self._door.desk.part(session, self)

    def last_words(self) -> bytes:
        """A DISCONNECT, where the version has one and the peer still listens."""
        if self.talk is None or self.ending is None or (self.ended and self._failure is None):
            return b""
        code, why = self._failure or (OF_ENDING.get(self.ending), str(self.ending))
        return b"" if code is None else self.talk.dialect.goodbye(code, why)

    def give_way(self, *, resumed: bool) -> None:
        """Its client has connected anew: nothing of this connection is acknowledged any more."""
        talk = self.talk
        if talk is not None:
            talk.close()
            if resumed and talk.will is not None and min(talk.will.delay_s, talk.session.expiry_s):
                talk.will = None  # 3.1.3.2.2: it waits until the session ends, and the session goes on
        self.close("taken over", Ending.TAKEN_OVER)

    def drain(self) -> None:
        """Read no more, wait for outcomes, acknowledge, close; for ``drain_timeout_s`` at most."""
        if not self.closed:
            if self.talk is not None:
                self.talk.drain()
            self.ending = self.ending or Ending.SERVER_STOPPED
            self._leave(self._door.config.drain_timeout_s)

    def finish(self) -> None:
        """The peer has sent its last."""
        self._leave(_LINGER_S)

    def _leave(self, within_s: float) -> None:
        self.pause(Pause.LEAVING)
        self.after("leave", within_s, lambda: self.abort("outcomes did not come in time", Ending.LOST))
        if self.talk is None or not self.talk.undecided:
            self.answered()

    def check_silence(self, now_s: float) -> None:
        """3.1.2.10: close after one and a half times the keep-alive, unless it is we who do not read."""
        if self._silence_s and now_s - self.heard_s > self._silence_s and not self.closed:
            if self.paused:
                self.heard_s = now_s
            else:
                self.close("silent for longer than its keep-alive", Ending.KEEP_ALIVE)

    def failed(self, error: BaseException) -> None:
        """Something of ours raised: nothing of this connection can be acknowledged any more."""
        self.log.error("mqtt.failed", device=str(self.key), error=repr(error))
        self.abort("the front door failed", Ending.SERVER_ERROR)

    def _break_off(self, error: wire.PacketError) -> None:
        self._failure = (error.code, str(error))
        if self.talk is not None:
            self.talk.reply()
        else:
            self.send(refusal(self._version, error.code, str(error)))
        self.close(f"malformed: {error}", Ending.PROTOCOL_ERROR)
