"""What core needs of the world, as Protocols: the SQL behind them is in ``db/``, their test doubles in ``tests/``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import uuid
    from collections.abc import AsyncIterator, Collection, Mapping, Sequence

    from pulse_core.api import ReadingKey
    from pulse_core.commands import Command
    from pulse_core.device_connections import DeviceConnection
    from pulse_core.device_sessions import SessionDeed, SessionId
    from pulse_core.outbox import Attempt, BreakerChanges, Claim, ClaimedDelivery, ClaimRoom, OpenBreaker
    from pulse_core.records import Device, DeviceKey, DeviceState, Route, WriteSet
    from pulse_core.settings import Settings


class Clock(Protocol):
    """The time, injected."""

    def now_us(self) -> int:
        """Microseconds since the epoch, UTC."""


class DeviceRegistry(Protocol):
    """The registry's read side: what the device directory caches."""

    async def load(self) -> list[Device]:
        """Every device of every tenant."""

    async def find(self, key: DeviceKey) -> Device | None:
        """One device, now."""

    async def of_tenant(self, tenant_id: str) -> list[Device]:
        """Every device of one tenant."""

    def changes(self) -> AsyncIterator[DeviceKey | str | None]:
        """Names of what changed: a device's key, or a tenant's id (all its devices).

        None comes first and after every lost connection: resync everything. Raises StoreUnavailable when the
        connection is lost; iterate again to reconnect.
        """


class LaneStore(Protocol):
    """One lane's own connection. Holding it means that no other process judges the lane's devices."""

    async def load(self) -> list[DeviceState]:
        """The committed state of the lane's devices, their open alerts included."""

    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        """Which of these readings (by index) are stored already. No keys: only see whether the database answers."""

    async def commit(self, writes: WriteSet) -> None:
        """Write all of it in one transaction. Idempotent, so an unknown outcome is simply tried again.

        Raises StoreUnavailable when the database does not answer (OwnershipLost when another process took the devices
        over meanwhile, for good), and ReadingsRefused when some of the readings can never be stored: nothing was
        committed, and those that can may be stored already. Any other error is the data's.
        """

    async def close(self) -> None:
        """Give the connection and the partitions back."""


class LaneStores(Protocol):
    """Opens lanes."""

    @property
    def readings_first(self) -> bool:
        """Whether readings are stored before the transaction, not in it."""

    async def open(self, shard: int, partitions: Sequence[int]) -> LaneStore:
        """Take ownership of ``partitions``, waiting for a former owner's connection to end."""


class RouteStore(Protocol):
    """Routes of all tenants, for the pipeline."""

    async def load(self) -> list[Route]:
        """Every route, the disabled ones too: why nobody was told is worth knowing."""

    def changes(self) -> AsyncIterator[None]:
        """Yields at once, and whenever routes may have changed. Raises StoreUnavailable when the connection is lost."""


class SettingsStore(Protocol):
    """The operator's live settings."""

    async def load(self) -> Settings:
        """The settings now."""

    def changes(self) -> AsyncIterator[None]:
        """As :meth:`RouteStore.changes`."""


class CommandStore(Protocol):
    """Commands on their way to devices. Every method raises StoreUnavailable when nobody answers.

    A command whose time is over, by the store's own clock, is neither given nor acknowledged any more.
    """

    async def waiting(self) -> list[DeviceKey]:
        """Every device that has open commands."""

    async def take(
        self, device: DeviceKey, way: str, *, limit: int, again: bool, names: frozenset[str] | None = None
    ) -> list[Command]:
        """The oldest open commands of a device, in order; they are SENT, by ``way``, and committed when this returns.

        :param again: those that were SENT before, too; without it, each command is given to one caller only.
        :param names: only those with one of these names; None for all.
        """

    async def acknowledge(self, device: DeviceKey, command_id: uuid.UUID) -> bool:
        """Make a SENT command ACKNOWLEDGED, and say whether it is: committed when this returns. Again changes nothing.

        False: the device has no such command, it was never SENT, or its time is over.
        """

    def arrivals(self) -> AsyncIterator[DeviceKey | None]:
        """Devices for which a command was queued. As of :meth:`DeviceRegistry.changes`, None comes first."""


class ConnectionStore(Protocol):
    """The history of devices' connections. Every method raises StoreUnavailable when nobody answers."""

    async def record(self, connections: Sequence[DeviceConnection]) -> None:
        """Write connections that began or ended. Again changes nothing, and what has ended stays ended.

        Of each of their devices only the newest are kept.
        """

    async def end_all_but(self, connection_ids: Sequence[uuid.UUID]) -> None:
        """End every open connection that is none of these: their process is gone."""


class SessionStore(Protocol):
    """The sessions of devices. Every method raises StoreUnavailable when nobody answers.

    Its clock is the caller's: a session is over once a deed's ``at_us`` has reached its end.
    """

    async def carry(self, deeds: Sequence[SessionDeed]) -> list[dict[str, int] | None]:
        """Do all of it in one transaction, and say what became of each; committed when this returns.

        No two are of the same session. For an Opening: the subscriptions of the session that goes on, None when a new
        one begins; None for all else. Saving or leaving what is not kept changes nothing, and nothing is kept of a
        device that is gone or revoked. At last, of each device that a session was opened of, at most MOST_A_DEVICE are
        kept.
        """

    async def leave_all_but(self, sessions: Collection[SessionId], at_us: int) -> None:
        """Leave, with its own expiry, each session that is taken for connected and is none of these."""


class DeliveryStore(Protocol):
    """The outbox, as the delivery engine works it. Every method raises StoreUnavailable when nobody answers.

    ``worker`` names one engine; two engines may work the same outbox. A claimed delivery is SENDING and leased;
    its attempt counts from the claim on, so that an attempt whose worker died is not forgotten.

    Order: notifications of one alert to one integration go out one after the other, OPEN before ACKNOWLEDGED before
    CLOSED. A later one waits until every earlier one is finished; but when a CLOSED is due and an earlier primary
    delivery was never attempted, the CLOSED tells both and the earlier one is CANCELLED (``last_error`` says by which).

    Fallback: a primary delivery whose route names a second integration is handed to it (a delivery with the cause
    ``fallback``) when it is DEAD, or when the breaker of the first one has been open for as long as the route says.
    What the first integration was told already it is told the end of, too: OPEN and CLOSED never part.
    """

    async def claim(
        self,
        worker: str,
        *,
        now_us: int,
        lease_until_us: int,
        limit: int,
        per_endpoint: int,
        rooms: Sequence[ClaimRoom] = (),
        running: Mapping[str, int] | None = None,
    ) -> Claim:
        """Take at most ``limit`` due deliveries.

        At most ``per_endpoint`` for an integration, or what ``rooms`` says of its endpoint. Tenants take turns;
        ``running`` counts what each has under way already. Tests go first, whatever the rooms: somebody is waiting.
        What follows an earlier notification to a fallback is handed over instead.
        """

    async def take_over(self, worker: str, *, now_us: int, lease_until_us: int, limit: int) -> list[ClaimedDelivery]:
        """Take deliveries whose lease ran out in another worker's hands: each with its *lost* attempt, to record."""

    async def record(
        self, worker: str, attempts: Sequence[Attempt], *, now_us: int, breakers: BreakerChanges | None = None
    ) -> None:
        """Write attempts, what becomes of their deliveries, and how breakers stand, in one transaction.

        An attempt whose lease was lost meanwhile changes its delivery only if it delivered and nobody else has it.
        Finished deliveries make those that waited for them due; dead ones go to their route's fallback.
        """

    async def breakers(self) -> list[OpenBreaker]:
        """Every breaker that is open."""

    async def hand_over(self, *, now_us: int) -> int:
        """Hand deliveries over to their fallback whose breaker has been open for long enough; return how many.

        But what may be the next probe is left: it finds out whether the first integration works again.
        """

    async def give_back(self, worker: str, *, keep: Sequence[uuid.UUID]) -> int:
        """Undo the claims of ``worker``, but for ``keep``: not attempted, due as before. Return how many."""

    async def next_due_us(self, worker: str, *, now_us: int) -> int | None:
        """When something becomes due, or another worker's lease runs out: the earliest moment after now."""

    def wakeups(self) -> AsyncIterator[tuple[str, uuid.UUID] | None]:
        """As :meth:`RouteStore.changes`: yields at once, and whenever deliveries were made.

        A tenant and an integration instead of None: it was edited, so it may well work now.
        """
