"""MQTT: whatever becomes of its connections, a device's session is what a simple model says it is.

Two clients of one device connect, publish, are held up, acknowledge, drop, resume and take each other's place, in both
versions; commands are queued and acknowledged; the listener is killed and another one takes up its intake.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pulse_core.api import DeviceKey
from pulse_core.commands import CommandStatus
from pulse_core.testing.intake import FakeIntake, known_device
from support.mqtt311 import PINGREQ, packet
from support.mqtt_door import ALIAS, TOKEN, TOPIC
from support.mqtt_frames import MQTT5, MQTT311, Frames, Packet
from support.mqtt_good import Talk
from support.mqtt_lifeline import Listener
from support.waiting import until

if TYPE_CHECKING:
    import uuid
    from collections.abc import Coroutine

DEVICE = DeviceKey("tenant-a", "device-1")
COMMANDS = "tenant/tenant-a/device/device-1/cmd/#"
MOST_OPEN = 8
MOST_FLOWS = 20
SESSION_S = 300
CLIENTS = st.sampled_from("ab")
_WITHIN_S = 20.0
_A_MOMENT_S = 0.02


class Message:
    """A message of QoS 1 or 2, until its flow is over."""

    def __init__(self, number: int, qos: int, packet_id: int) -> None:
        self.payload = b'{"site_id":"site-1","metrics":{"n":%d}}' % number
        self.qos = qos
        self.packet_id = packet_id
        self.received = False
        """PUBREC came."""


class Client:
    """One client: what it knows, and what the server should know of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.talk: Talk | None = None
        self.frames = Frames(MQTT311)
        self.flows: dict[int, Message] = {}
        """Messages without their last answer, by packet id, as a client keeps them."""
        self.due: deque[tuple[str, int]] = deque()
        """Acknowledgements that must come on this connection, in this order."""
        self.released: deque[int] = deque()
        """PUBCOMPs that must."""
        self.commands: set[int] = set()
        """Numbers of the commands that came on this connection."""
        self.kept = False
        """Whether the session outlives this connection."""
        self.session = False
        """Whether the server has one."""
        self.subscribed = False
        self.remembered: set[int] = set()
        """Packet ids of QoS 2 that the server must know again."""
        self.unsettled = False
        """Messages of QoS 2 were undecided when its connection broke."""

    @property
    def unreleased(self) -> list[Message]:
        """Messages of QoS 2 with a PUBREC and without a PUBREL."""
        return [one for one in self.flows.values() if one.received and one.packet_id in self.remembered]

    def forget(self) -> None:
        """The session is over."""
        self.session = self.subscribed = False
        self.remembered.clear()

    def lose(self) -> None:
        """The connection is over."""
        self.talk = None
        self.commands.clear()
        self.due.clear()
        self.released.clear()
        if not self.kept:
            self.forget()


class Sessions(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.clients = {name: Client(name) for name in "ab"}
        self.open: dict[uuid.UUID, int] = {}
        self.allowed: Counter[bytes] = Counter()
        """How often each message may have been committed at most."""
        self.holding = False
        self.count = 0

    # What happens

    @initialize()
    def start(self) -> None:
        """A listener, and nobody at its door."""
        self.do(self._start())

    @rule(name=CLIENTS, version=st.sampled_from([MQTT311, MQTT5]), clean=st.booleans())
    def connect(self, name: str, version: int, clean: bool) -> None:
        """Connect anew; a connection that this client has already ends."""
        self.do(self._connect(self.clients[name], version, clean))

    @rule(name=CLIENTS, qos=st.sampled_from([0, 1, 2, 2]), count=st.integers(1, 3))
    def publish(self, name: str, qos: int, count: int) -> None:
        """Some messages at once."""
        self.do(self._publish_new(self.clients[name], qos, count))

    @rule(name=CLIENTS)
    def publish_again(self, name: str) -> None:
        """A message of QoS 2 whose PUBREC has come, and which was not released: the PUBREC may have been lost."""
        self.do(self._publish_again(self.clients[name]))

    @rule(name=CLIENTS)
    def release(self, name: str) -> None:
        """PUBREL for what was received."""
        self.do(self._release(self.clients[name]))

    @rule(name=CLIENTS, on=st.sampled_from([True, True, False]))
    def subscribe(self, name: str, on: bool) -> None:
        """Subscribe to commands, or to none any more."""
        self.do(self._subscribe(self.clients[name], on))

    @rule()
    def command(self) -> None:
        """A customer queues a command."""
        self.do(self._queue())

    @rule(name=CLIENTS)
    def acknowledge(self, name: str) -> None:
        """The device has carried out the oldest command that it was sent."""
        self.do(self._acknowledge(self.clients[name]))

    @rule(name=CLIENTS, politely=st.booleans())
    def leave(self, name: str, politely: bool) -> None:
        """Say good-bye, or just go."""
        self.do(self._leave(self.clients[name], politely))

    @rule(name=CLIENTS, qos=st.integers(1, 2), batches=st.integers(0, 3))
    def hold(self, name: str, qos: int, batches: int) -> None:
        """Commits take their time from now on."""
        self.holding = True
        self.intake.hold()
        for _ in range(batches):
            self.do(self._publish_new(self.clients[name], qos, 1))

    @rule(in_turn=st.booleans())
    def commit(self, in_turn: bool) -> None:
        """What was held up is committed, each in its turn or the other way round."""
        self.do(self._commit(in_turn))

    @rule(first_commit=st.booleans())
    def kill(self, first_commit: bool) -> None:
        """Kill -9, before or after the commit of what is under way; then a new listener."""
        self.do(self._kill(first_commit))

    def teardown(self) -> None:
        """All that is owed comes in the end."""
        with self.runner:
            self.do(self._end())

    # How

    def do(self, work: Coroutine[Any, Any, None]) -> None:
        """Run it to its end."""
        self.runner.run(asyncio.wait_for(work, _WITHIN_S))

    async def _start(self) -> None:
        self.intake = FakeIntake([known_device("tenant-a", "device-1", TOKEN)])
        self.listener = Listener(self.intake)
        self.port = await self.listener.port()

    async def _connect(self, client: Client, version: int, clean: bool) -> None:
        before = client.talk
        if before is not None:
            self._break(client)
        if clean:
            client.forget()
        frames = client.frames = Frames(version)
        talk = Talk(*await asyncio.open_connection("127.0.0.1", self.port))
        expiry_s = 0 if clean or version == MQTT311 else SESSION_S
        talk.say(frames.connect(ALIAS, TOKEN, client.name, clean=clean, expiry_s=expiry_s))
        answer = await talk.hear()
        assert (answer.kind, answer.body[1]) == ("CONNACK", 0)
        assert answer.body[0] == client.session, "session present"
        if before is not None:
            await before.closed()
            before.abort()
        client.talk, client.kept, client.session = talk, not clean, not clean
        if client.flows:
            await self._resume(client)
        if client.unsettled and self.holding:  # it is not read before it is known what the server has
            client.unsettled = False
            with suppress(TimeoutError):
                while True:
                    self._take(client, await talk.hear(_A_MOMENT_S))
            await self._commit(in_turn=True)
        await self._settle()

    async def _connected(self, client: Client) -> Talk:
        if client.talk is None:
            await self._connect(client, client.frames.version, clean=False)
        assert client.talk is not None
        return client.talk

    async def _resume(self, client: Client) -> None:
        """4.4: what has no answer is said again. A client whose session is over says it anew."""
        for one in list(client.flows.values()):
            if one.received:
                await self._say_release(client, one)
            else:
                await self._say(client, one, dup=True)

    def _message(self, client: Client, qos: int) -> Message:
        self.count += 1
        packet_id = next(one for one in range(1, 100) if one not in client.flows)
        one = Message(self.count, qos, packet_id)
        if qos:
            client.flows[packet_id] = one
        return one

    async def _publish_new(self, client: Client, qos: int, count: int) -> None:
        await self._connected(client)
        if len(client.flows) < MOST_FLOWS:
            await self._publish(client, [self._message(client, qos) for _ in range(count)])

    async def _publish_again(self, client: Client) -> None:
        if not client.unreleased:
            await self._publish_new(client, 2, 1)
        await self._connected(client)
        await self._publish(client, client.unreleased[:1], dup=True)

    async def _publish(self, client: Client, messages: list[Message], *, dup: bool = False) -> None:
        for one in messages:
            await self._say(client, one, dup=dup)
        await self._settle()

    async def _say(self, client: Client, one: Message, *, dup: bool) -> None:
        assert client.talk is not None
        client.talk.say(client.frames.publish(TOPIC, one.payload, one.qos, one.packet_id, dup=dup))
        if one.qos:
            client.due.append(("PUBACK" if one.qos == 1 else "PUBREC", one.packet_id))
        if one.packet_id not in client.remembered or one.qos < 2:
            self.allowed[one.payload] += 1
        if one.qos == 2:
            client.remembered.add(one.packet_id)

    async def _say_release(self, client: Client, one: Message) -> None:
        assert client.talk is not None
        client.talk.say(packet(0x62, one.packet_id.to_bytes(2, "big")))
        client.released.append(one.packet_id)
        client.remembered.discard(one.packet_id)

    async def _release(self, client: Client) -> None:
        await self._connected(client)
        for one in client.unreleased:
            await self._say_release(client, one)
        await self._settle()

    async def _subscribe(self, client: Client, on: bool) -> None:
        talk, frames = await self._connected(client), client.frames
        talk.say(frames.subscribe(9, (COMMANDS, 1)) if on else frames.unsubscribe(9, COMMANDS))
        while (answer := await talk.hear()).kind not in ("SUBACK", "UNSUBACK"):
            self._take(client, answer)
        client.subscribed = on
        await self._settle()

    async def _queue(self) -> None:
        if len(self.open) < MOST_OPEN:
            command_id = self.intake.command_store.queue(DEVICE)
            self.open[command_id] = self.intake.command_store.queued[command_id].command.number
        await self._settle()

    async def _acknowledge(self, client: Client) -> None:
        talk = await self._connected(client)
        command_id = next((one for one, number in self.open.items() if number in client.commands), None)
        if command_id is None:
            return
        talk.say(packet(0x40, self.open.pop(command_id).to_bytes(2, "big")))
        status = self.intake.command_store.status
        await until(lambda: status(command_id) is CommandStatus.ACKNOWLEDGED, every_s=0.001)
        await self._settle()

    async def _leave(self, client: Client, politely: bool) -> None:
        talk = client.talk
        if talk is None:
            return
        if politely:
            talk.say(client.frames.disconnect())
            if not self.holding:
                await talk.closed()
        talk.abort()
        self._break(client)
        await self._settle()

    def _break(self, client: Client) -> None:
        """A connection breaks, with some messages undecided while commits are held up."""
        client.unsettled = self.holding and any(kind == "PUBREC" for kind, _ in client.due)
        client.lose()

    async def _commit(self, in_turn: bool) -> None:
        self.holding = False
        for pending in [] if in_turn else list(reversed(self.intake.pending)):
            self.intake.decide(pending)
        self.intake.release()
        await self._settle()

    async def _kill(self, first_commit: bool) -> None:
        if first_commit:
            for pending in list(self.intake.pending):
                self.intake.decide(pending)
        self.intake.pending.clear()
        killed, self.listener = self.listener, Listener(self.intake)
        self.port = await self.listener.port()
        for client in self.clients.values():
            if client.talk is not None:
                client.talk.abort()
            kept = client.kept
            client.lose()
            client.session = kept and client.session
            client.remembered.clear()
        await killed.kill()

    async def _end(self) -> None:
        try:
            await self._commit(in_turn=True)
        finally:
            for client in self.clients.values():
                if client.talk is not None:
                    client.talk.abort()
            await self.listener.kill()
            for task in self.intake._following:
                task.cancel()
            await asyncio.gather(*self.intake._following, return_exceptions=True)

    # What must be true

    async def _settle(self) -> None:
        """Let everything that is owed come, and look at it."""
        for client in self.clients.values():
            await self._hear_out(client)
        for payload, times in Counter(one.payload for one in self.intake.committed).items():
            assert times <= self.allowed[payload], f"{payload!r} was committed {times} times"

    async def _hear_out(self, client: Client) -> None:
        talk = client.talk
        if talk is None:
            return
        while True:
            talk.say(PINGREQ)
            while (answer := await talk.hear()).kind != "PINGRESP":
                self._take(client, answer)
            owed = bool(client.released) or (bool(client.due) and not self.holding)
            if not owed and (not client.subscribed or client.commands >= set(self.open.values())):
                return
            await asyncio.sleep(0.001)

    def _take(self, client: Client, answer: Packet) -> None:
        kind = answer.kind
        if kind == "PUBLISH":
            assert client.subscribed, "a command for one that has not subscribed"
            at = 2 + int.from_bytes(answer.body[:2], "big")
            client.commands.add(int.from_bytes(answer.body[at : at + 2], "big"))
            return
        if kind == "PUBCOMP":
            assert answer.packet_id == client.released.popleft()
            client.flows.pop(answer.packet_id, None)
            return
        assert (kind, answer.packet_id) == client.due.popleft(), "acknowledgements come in order"
        one = client.flows[answer.packet_id]
        assert one.payload in {message.payload for message in self.intake.committed}, "acknowledged, not committed"
        if kind == "PUBACK":
            del client.flows[answer.packet_id]
        else:
            one.received = True


TestSessions = Sessions.TestCase
TestSessions.settings = settings(
    max_examples=80, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
