"""An intake in memory, for tests of ingesters: it judges as the platform does, and does what the test tells it to."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import structlog

from pulse_core import ingest
from pulse_core.api import (
    COMMITTED,
    RETRY_LATER,
    Command,
    ConnectionEvent,
    Credentials,
    Device,
    DeviceKey,
    Ending,
    Outcome,
    RawMessage,
    Rejected,
    StoreUnavailable,
    Verdict,
)
from pulse_core.device_sessions import Leaving, Opening, Saving, SessionDeed, check_session
from pulse_core.intake.mailboxes import Mailboxes
from pulse_core.records import partition_of
from pulse_core.settings import Settings
from pulse_core.testing.commands import MemoryCommands
from pulse_core.testing.sessions import MemorySessions

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence


def known_device(tenant_id: str, device_id: str, token: str | None, *, site_id: str = "site-1") -> Device:
    """Make a registered device; without a token it is not activated yet."""
    return Device(
        key=DeviceKey(tenant_id, device_id),
        site_id=site_id,
        revoked=False,
        token_hash=None if token is None else ingest.hash_token(token),
        partition=partition_of(tenant_id, device_id),
    )


class LogOnly:
    """The services of an ingester under test: it may log, and has no business outside."""

    @property
    def log(self) -> Any:
        """A structlog logger."""
        return structlog.get_logger("pulse.testing")

    @property
    def http(self) -> Any:
        """Refused."""
        raise AssertionError("an ingester under test called out")

    outbound = http


class Pending:
    """Messages that were handed over in one call and await their outcomes."""

    def __init__(self, messages: list[RawMessage], future: asyncio.Future[list[Outcome]]) -> None:
        self.messages = messages
        self.future = future


class FakeIntake:
    """Implements :class:`pulse_core.api.Intake`.

    By itself it commits every admissible message in the next turn of the event loop. :meth:`hold` keeps outcomes
    back, :meth:`fill` leaves no room, ``script`` dictates outcomes, ``delay_s`` makes commits slow. What happened is
    in ``committed``, ``refused``, ``submissions``, ``logins``, ``charged``, ``connections`` and ``receiving_log``.
    Commands are queued in ``command_store``; the devices' sessions are ``sessions``.
    in ``committed``, ``refused``, ``submissions``, ``logins``, ``charged``, ``connections``, ``connection_events`` and
    ``receiving_log``. Commands are queued in ``command_store``.
    """

    def __init__(self, devices: Iterable[Device] = (), settings: Settings | None = None) -> None:
        self.devices = {device.key: device for device in devices}
        self.settings = settings or Settings()
        self.stopping = asyncio.Event()
        self.script: deque[Outcome] = deque()
        """Outcomes for the next messages, instead of a judgement."""
        self.delay_s = 0.0
        """From submit to outcome."""
        self.pace_s: Callable[[DeviceKey, int], float] = lambda _key, _count: 0.0
        """What :meth:`pace` answers, and with a count of 0 :meth:`charge`."""
        self.room_for: int | None = None
        """How many more messages there is room for; None for any number."""
        self.store_down = False
        """Logins cannot be judged, and sessions neither opened nor saved."""
        self.pending: list[Pending] = []
        self.committed: list[RawMessage] = []
        self.refused: list[tuple[RawMessage, Outcome]] = []
        self.turned_away = 0
        """How often a message was answered RETRY_LATER."""
        self.submissions: list[list[RawMessage]] = []
        self.logins: list[Credentials] = []
        self.charged: list[tuple[DeviceKey, int]] = []
        self.receiving_log: list[bool] = []
        self.connections: list[tuple[DeviceKey, dict[str, str], list[Ending]]] = []
        """What :meth:`connected` was told: the device, the rest, and how it ended."""
        self.connection_events: list[tuple[DeviceKey, ConnectionEvent, dict[str, str]]] = []
        """What :meth:`connection_event` was told: the device, the event, and the rest."""
        self.command_store = MemoryCommands()
        self._session_store = MemorySessions()
        self.sessions = self._session_store.held
        """By device and client id, those that are kept; age one by its ``expires_us``."""
        self.session_log: list[SessionDeed] = []
        """What was done to sessions, oldest first."""
        self._mailboxes = Mailboxes(self.command_store)
        self._following: list[asyncio.Task[None]] = []
        self._holding = False
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._revoked: asyncio.Queue[DeviceKey] = asyncio.Queue()

    # What a test says

    def hold(self) -> None:
        """Keep outcomes back from now on."""
        self._holding = True

    def release(self) -> None:
        """Decide all that was held back, oldest first, and hold no more."""
        self._holding = False
        for pending in list(self.pending):
            self.decide(pending)

    def decide(self, pending: Pending) -> None:
        """Decide one submission now, out of turn if need be."""
        self.pending.remove(pending)
        outcomes = [self._decide(message) for message in pending.messages]
        if not pending.future.done():
            pending.future.set_result(outcomes)

    def fill(self, room_for: int = 0) -> None:
        """Leave room for so many messages and no more."""
        self.room_for = room_for
        if not room_for:
            self._has_room.clear()

    def make_room(self) -> None:
        """There is room again."""
        self.room_for = None
        self._has_room.set()

    def revoke(self, key: DeviceKey) -> None:
        """The operator revokes a device."""
        device = self.devices.get(key)
        if device is not None:
            self.devices[key] = Device(key, device.site_id, True, device.token_hash, device.partition)
        self._revoked.put_nowait(key)

    # What an ingester asks

    @property
    def max_payload_bytes(self) -> int:
        """As the settings say."""
        return self.settings.MAX_PAYLOAD_BYTES

    async def authenticate(self, credentials: Credentials) -> Device:
        """Check as the platform does."""
        self.logins.append(credentials)
        await asyncio.sleep(self.delay_s)
        if self.store_down:
            raise StoreUnavailable("the test says so")
        return ingest.check_login(self.devices.get(credentials.key), credentials, 0)

    def submit(self, messages: Sequence[RawMessage]) -> asyncio.Future[list[Outcome]]:
        """Take messages as far as there is room; the rest must come again."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Outcome]] = loop.create_future()
        taken = list(messages)
        self.submissions.append(taken)
        if self.room_for is not None and self.room_for < len(taken):
            future.set_result(self._squeeze(taken, self.room_for))
            return future
        if self.room_for is not None:
            self.room_for -= len(taken)
        pending = Pending(taken, future)
        self.pending.append(pending)
        if not self._holding:
            loop.call_later(self.delay_s, self._decide_later, pending)
        return future

    async def room(self) -> None:
        """Wait for :meth:`make_room`."""
        await self._has_room.wait()

    def pace(self, key: DeviceKey, count: int) -> float:
        """Charge, and answer what the test wants."""
        self.charged.append((key, count))
        return self.pace_s(key, count)

    def charge(self, key: DeviceKey) -> float:
        """Charge, and answer what the test wants."""
        self.charged.append((key, 1))
        return self.pace_s(key, 0)

    def receiving(self, up: bool) -> None:
        """Note it."""
        self.receiving_log.append(up)

    async def revocations(self) -> AsyncIterator[DeviceKey]:
        """Those of :meth:`revoke`."""
        while True:
            yield await self._revoked.get()

    async def open_session(
        self, key: DeviceKey, client_id: str, *, clean: bool, expiry_s: int
    ) -> dict[str, int] | None:
        """One of ``sessions`` goes on, or a new one begins."""
        check_session(client_id, expiry_s=expiry_s)
        return await self._carry(Opening(key, client_id, self._now_us(), clean, expiry_s))

    async def save_session(self, key: DeviceKey, client_id: str, subscriptions: Mapping[str, int]) -> None:
        """Into one of ``sessions``."""
        check_session(client_id, subscriptions=subscriptions)
        await self._carry(Saving(key, client_id, self._now_us(), dict(subscriptions)))

    def leave_session(self, key: DeviceKey, client_id: str, expiry_s: int) -> None:
        """At once, also while the store is down: what waits would be written before anything else."""
        check_session(client_id, expiry_s=expiry_s)
        deed = Leaving(key, client_id, self._now_us(), expiry_s)
        self.session_log.append(deed)
        self._session_store.do(deed)

    async def commands(
        self, key: DeviceKey, *, limit: int = 100, again: bool = True, names: frozenset[str] | None = None
    ) -> list[Command]:
        """Those of ``command_store``; they came by the way ``test``."""
        return await self._follow_commands().take(key, "test", limit=limit, again=again, names=names)

    async def acknowledge_command(self, key: DeviceKey, command_id: uuid.UUID) -> bool:
        """One of ``command_store``."""
        return await self._follow_commands().acknowledge(key, command_id)

    async def command_comes(self, key: DeviceKey, within_s: float) -> None:
        """Wait as the platform does."""
        await self._follow_commands().wait(key, within_s)

    def command_arrivals(self) -> AsyncIterator[DeviceKey]:
        """Those of ``command_store``."""
        return self._follow_commands().arrivals()

    def connected(
        self, key: DeviceKey, *, protocol: str = "", address: str = "", client_id: str = ""
    ) -> Callable[[Ending], None]:
        """Note it."""
        endings: list[Ending] = []
        self.connections.append((key, {"protocol": protocol, "address": address, "client_id": client_id}, endings))
        return endings.append

    async def _carry(self, deed: SessionDeed) -> dict[str, int] | None:
        await asyncio.sleep(self.delay_s)
        if self.store_down:
            raise StoreUnavailable("the test says so")
        self.session_log.append(deed)
        [found] = await self._session_store.carry([deed])
        return found

    @staticmethod
    def _now_us() -> int:
        return time.time_ns() // 1000

    def connection_event(
        self,
        key: DeviceKey,
        event: ConnectionEvent,
        *,
        protocol: str = "",
        address: str = "",
        client_id: str = "",
        detail: str = "",
    ) -> None:
        """Note it."""
        about = {"protocol": protocol, "address": address, "client_id": client_id, "detail": detail}
        self.connection_events.append((key, event, about))

    def _follow_commands(self) -> Mailboxes:
        if not self._following:
            start = asyncio.get_running_loop().create_task
            self._following = [start(self._mailboxes.follow()), start(self._mailboxes.let_go(self.stopping))]
        return self._mailboxes

    def _decide_later(self, pending: Pending) -> None:
        if pending in self.pending and not self._holding:
            self.decide(pending)

    def _squeeze(self, messages: list[RawMessage], room_for: int) -> list[Outcome]:
        self.room_for = 0
        self._has_room.clear()
        self.turned_away += len(messages) - room_for
        return [self._decide(message) for message in messages[:room_for]] + [RETRY_LATER] * (len(messages) - room_for)

    def _decide(self, message: RawMessage) -> Outcome:
        outcome = self.script.popleft() if self.script else self._judge(message)
        if outcome.verdict is Verdict.COMMITTED:
            self.committed.append(message)
        elif outcome.verdict is Verdict.REJECTED:
            self.refused.append((message, outcome))
        else:
            self.turned_away += 1
        return outcome

    def _judge(self, message: RawMessage) -> Outcome:
        device = self.devices.get(DeviceKey(message.tenant_id, message.device_id))
        try:
            if not message.authenticated and message.refused is None:
                ingest.check_token(device, ingest.token_of(message), message.received_us)
            ingest.admit(message, device, self.settings, message.received_us)
        except Rejected as error:
            return Outcome(Verdict.REJECTED, error.reason, error.detail)
        return COMMITTED
