"""Commands to devices that are connected: fetched as they come, sent as the device takes them, kept until it has them.

A command is a PUBLISH of QoS 1 to ``tenant/{t}/device/{d}/cmd/{name}``; its packet id is the command's number, which is
the same after a reconnect and after a restart of ours. The device's PUBACK acknowledges it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any, Protocol

from pulse_core.api import StoreUnavailable
from pulse_mqtt.codes import FAILURE
from pulse_mqtt.packets import Order
from pulse_mqtt.subscriptions import command_names, matching
from pulse_mqtt.topics import prefix_of

if TYPE_CHECKING:
    import uuid
    from collections.abc import Callable, Coroutine, Iterable, Sequence

    from pulse_core.api import Command, DeviceKey, Intake
    from pulse_mqtt.dialects import Dialect
    from pulse_mqtt.session import Session

MOST_IN_FLIGHT = 20
"""Commands that a device is sent before it must acknowledge one."""
_REMEMBERED = 256
_RETRY_S = 0.5
_US = 1_000_000


class Recipient(Protocol):
    """A conversation in which commands may be subscribed to."""

    session: Session
    dialect: Dialect
    outbox: Outbox | None

    @property
    def closed(self) -> bool:
        """Whether nothing can be said any more."""

    def send(self, data: bytes) -> None:
        """Write to it."""


class Outbox:
    """The commands of one connection: sent and not acknowledged, or waiting for their turn."""

    __slots__ = ("_catching_up", "_connection", "_limit", "_new", "_seen", "_waiting", "in_flight")

    def __init__(self, connection: Recipient, receive_maximum: int) -> None:
        self._connection = connection
        self._limit = min(receive_maximum, MOST_IN_FLIGHT)
        self._waiting: deque[Command] = deque()
        self.in_flight: dict[int, uuid.UUID] = {}
        self._seen: dict[uuid.UUID, None] = {}
        """The last commands that this connection had or is to have: none comes twice on one connection (4.4)."""
        self._catching_up = 0
        self._new: list[Command] = []
        """Commands that came while older ones are being fetched."""

    def catch_up(self) -> None:
        """All that is open is being fetched: until :meth:`caught_up`, what is new waits, or it would overtake it."""
        self._catching_up += 1

    def caught_up(self, commands: Sequence[Command]) -> None:
        """This is what is open, oldest first; what is new is part of it, or comes after it."""
        self._catching_up -= 1
        new = {one.command_id: one for one in self._new}
        self._new = []
        self._take([*(new.pop(one.command_id, one) for one in commands), *new.values()])

    def offer(self, commands: Sequence[Command]) -> None:
        """Send these new ones, in order, as far as the device's receive maximum allows it; the rest later."""
        if self._catching_up:
            self._new += commands
        else:
            self._take(commands)

    def _take(self, commands: Sequence[Command]) -> None:
        for one in commands:
            if one.command_id not in self._seen:
                self._seen[one.command_id] = None
                self._waiting.append(one)
        while len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        self._send()

    def acknowledged(self, number: int) -> uuid.UUID | None:
        """A PUBACK came: which command was it for? None: for none that is under way."""
        found = self.in_flight.pop(number, None)
        self._send()
        return found

    def _send(self) -> None:
        session = self._connection.session
        while self._waiting and len(self.in_flight) < self._limit and not self._connection.closed:
            command = self._waiting.popleft()
            written = self._written(command, session)
            if written is not None:
                self._connection.send(written)

    def _written(self, command: Command, session: Session) -> bytes | None:
        """The packet; None: it has expired, is not subscribed to, or is longer than the device takes."""
        prefix = prefix_of(session.key.device)
        expires_in_s = (command.expires_us - time.time_ns() // 1000) // _US
        found = matching(prefix, session.subscriptions, command.name)
        if found is None or expires_in_s < 0:
            self._seen.pop(command.command_id, None)
            return None
        qos, identifiers = found
        if not qos and command.sent:
            return None  # at most once
        order = Order(
            f"{prefix}cmd/{command.name}",
            command.payload.encode(),
            qos,
            command.number,
            bool(qos and command.sent and session.present),
            str(command.command_id),
            expires_in_s,
            identifiers,
        )
        written = self._connection.dialect.order(order)
        if qos and written is not None:
            self.in_flight[command.number] = command.command_id
        return written


class Courier:
    """Carries commands to connections. ``connections_of``: those of a device."""

    def __init__(self, intake: Intake, connections_of: Callable[[DeviceKey], Iterable[Recipient]], log: Any) -> None:
        self._intake = intake
        self._connections_of = connections_of
        self._log = log
        self._fetching: dict[DeviceKey, bool] = {}
        """Devices whose commands are being fetched, and whether more came meanwhile."""
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Follow what comes; runs until cancelled."""
        while True:
            try:
                async for key in self._intake.command_arrivals():
                    self._fetch(key)
            except StoreUnavailable as error:
                self._log.warning("mqtt.commands_unavailable", error=str(error))
            await asyncio.sleep(_RETRY_S)

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def subscribed(self, connection: Recipient, receive_maximum: int) -> None:
        """A connection has its subscriptions, or new ones: it gets all that is open for it, sent before or not."""
        if connection.outbox is None:
            connection.outbox = Outbox(connection, receive_maximum)
        connection.outbox.catch_up()
        self._start(self._catch_up(connection, connection.outbox))

    def acknowledged(self, connection: Recipient, number: int, code: int) -> None:
        """A device has acknowledged a command. One that it refuses is acknowledged, too: it must not come again."""
        outbox = connection.outbox
        command_id = outbox.acknowledged(number) if outbox is not None else None
        if command_id is None:
            return
        if code >= FAILURE:
            self._log.info("mqtt.command_refused", command=str(command_id), code=code)
        self._start(self._acknowledge(connection, command_id))

    def _fetch(self, key: DeviceKey) -> None:
        if key in self._fetching:
            self._fetching[key] = True
        elif self._recipients(key):
            self._fetching[key] = False
            self._start(self._deliver(key))

    def _recipients(self, key: DeviceKey) -> list[Recipient]:
        return [one for one in self._connections_of(key) if one.outbox is not None and not one.closed]

    async def _deliver(self, key: DeviceKey) -> None:
        """Give new commands to every connection of the device that wants them."""
        try:
            while recipients := self._recipients(key):
                self._fetching[key] = False
                try:
                    names = _wanted(recipients)
                    found = await self._intake.commands(key, again=False, names=names) if names != frozenset() else ()
                except StoreUnavailable:
                    await asyncio.sleep(_RETRY_S)
                    continue
                for each in self._recipients(key):
                    if each.outbox is not None:
                        each.outbox.offer(found)
                if not self._fetching[key]:
                    return
        finally:
            del self._fetching[key]

    async def _catch_up(self, connection: Recipient, outbox: Outbox) -> None:
        key = connection.session.key.device
        found: Sequence[Command] | None = None
        try:
            while found is None and not connection.closed and (names := _wanted([connection])) != frozenset():
                try:
                    found = await self._intake.commands(key, again=True, names=names)
                except StoreUnavailable:
                    await asyncio.sleep(_RETRY_S)
        finally:
            outbox.caught_up(found or ())

    async def _acknowledge(self, connection: Recipient, command_id: uuid.UUID) -> None:
        """Committed, or told again: without a commit the device gets the command again when it comes back."""
        while True:
            try:
                await self._intake.acknowledge_command(connection.session.key.device, command_id)
            except StoreUnavailable:
                if connection.closed:
                    return
                await asyncio.sleep(_RETRY_S)
            else:
                return

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _wanted(recipients: Sequence[Recipient]) -> frozenset[str] | None:
    """The names of the commands that these have subscribed to; None: all."""
    names: frozenset[str] = frozenset()
    for each in recipients:
        more = command_names(prefix_of(each.session.key.device), each.session.subscriptions)
        if more is None:
            return None
        names |= more
    return names
