"""What extends the ways in: the base of every ingester, and the way from it to a commit."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from msgspec import Struct

from pulse_core.plugin_base import Contribution, PluginConfig
from pulse_core.records import Device, DeviceKey, Outcome, RawMessage

if TYPE_CHECKING:
    import asyncio
    import uuid

    from pulse_core.channel import Services
    from pulse_core.commands import Command
    from pulse_core.device_connections import ConnectionEvent, Ending


AsgiApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
"""An ASGI 3 application: ``await app(scope, receive, send)``."""


class Credentials(Struct, frozen=True):
    """What a device shows at login.

    ``proven``: the ingester has seen by itself who it is (by its certificate); the token is not looked at.
    """

    key: DeviceKey
    token: str
    proven: bool = False


class Intake(Protocol):
    """What an ingester is given: the way from a device's message to a commit. One per ingester, bound to its name."""

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the platform shuts down: stop accepting, wait for your outcomes, acknowledge, return from run."""

    @property
    def max_payload_bytes(self) -> int:
        """The live setting MAX_PAYLOAD_BYTES; a larger payload is PAYLOAD_TOO_LARGE."""

    async def authenticate(self, credentials: Credentials) -> Device:
        """Log a device in. Raises :class:`Rejected` with its reason, :class:`StoreUnavailable` when we cannot know."""

    def submit(self, messages: Sequence[RawMessage]) -> Awaitable[list[Outcome]]:
        """Hand messages over, in order. The outcomes (one each) come after the commit: acknowledge then, not before.

        Never blocks and never raises for a bad message. When there is no room, or the database is down, every outcome
        is RETRY_LATER at once: stop reading, await :meth:`room`, submit again.
        """

    async def room(self) -> None:
        """Return when :meth:`submit` has room again."""

    def pace(self, key: DeviceKey, count: int) -> float:
        """Charge ``count`` messages of a logged-in device that may wait; return how long (s) to stop reading it."""

    def charge(self, key: DeviceKey) -> float:
        """Charge a logged-in device for one request, as for a message; 0, or how long (s) until it may ask again."""

    def receiving(self, up: bool) -> None:
        """Say whether the source is up. While it is down, the staleness clocks of its devices stand still."""

    def revocations(self) -> AsyncIterator[DeviceKey]:
        """Devices whose live connections must end now (revoked, token replaced, tenant suspended)."""

    async def open_session(
        self, key: DeviceKey, client_id: str, *, clean: bool, expiry_s: int
    ) -> dict[str, int] | None:
        """A client of a logged-in device begins: return its session's subscriptions, None for a new session.

        ``clean``: what there was is forgotten. ``expiry_s``: for so long the session outlives its connection; with 0
        it is not kept at all. Committed when this returns, but where it is clean and not kept: then nothing waits for
        the database. Raises :class:`StoreUnavailable` when that is not sure.

        Bounds are in :mod:`pulse_core.device_sessions`; beyond them, ValueError, as for all that follows.
        """

    async def save_session(self, key: DeviceKey, client_id: str, subscriptions: Mapping[str, int]) -> None:
        """The subscriptions of an open session are these now: filter → a number of yours. Committed when this returns.

        Of a session that is not kept nothing is saved. Raises :class:`StoreUnavailable`.
        """

    def leave_session(self, key: DeviceKey, client_id: str, expiry_s: int) -> None:
        """The connection of an open session has ended: from now on ``expiry_s`` count; with 0 it is forgotten.

        Written beside the data path: nothing waits for it, but a later :meth:`open_session` comes after it. Whoever
        takes a session over opens it after this, or this is not called for the connection that lost it.
        """

    async def commands(
        self, key: DeviceKey, *, limit: int = 100, again: bool = True, names: frozenset[str] | None = None
    ) -> list[Command]:
        """The oldest commands of a logged-in device, in order; that they are SENT is committed when this returns.

        ``again``: those that were sent before and are not acknowledged, too. Ask so whenever the device comes back: it
        may have missed them. Without it each command comes once, so ask so while its connection lasts. ``names``: only
        those with one of these names, and the others stay as they are.

        Raises :class:`StoreUnavailable` when we cannot know, or too many ask at once. Ingestion never waits for this.
        """

    async def acknowledge_command(self, key: DeviceKey, command_id: uuid.UUID) -> bool:
        """A logged-in device has carried a command out. True means committed; again changes nothing.

        False: it has no such command, or the command's time is over. Raises :class:`StoreUnavailable`.
        """

    async def command_comes(self, key: DeviceKey, within_s: float) -> None:
        """Return once a device may have commands, after ``within_s``, or when the platform stops.

        One call a device waits: a later one ends the earlier one.
        """

    def command_arrivals(self) -> AsyncIterator[DeviceKey]:
        """Devices that may have new commands, whatever carries them; those with open ones when it may have missed some.

        Look whether the device is yours before you ask for its commands.
        """

    def connected(
        self, key: DeviceKey, *, protocol: str = "", address: str = "", client_id: str = ""
    ) -> Callable[[Ending], None]:
        """Say that a logged-in device has opened a connection that lasts; call what this returns when that has ended.

        People see it in the device's connection history, written beside the data path: nothing waits for it.
        ``protocol`` as ``mqtts/5``; ``address`` as people write the peer's; ``client_id``: what its client calls
        itself. Submit what the device sent before you tell of the end: its tenant may want it STALE at once.
        """

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
        """Note what happened to a device besides a connection's beginning and end; ``detail`` as the event says.

        People see it in the device's connection history, written beside the data path: nothing waits for it. It never
        fails, and may be called as often as anybody tries to log in: devices that do not exist leave no trace, and many
        refusals of one device for one reason are noted as one, with their number.
        """


class Ingester(Contribution):
    """A way in for devices. ``name`` is the source that readings carry."""

    def __init__(self, config: PluginConfig, services: Services) -> None:
        self.config = config
        self.services = services

    @abstractmethod
    async def run(self, intake: Intake) -> None:
        """Serve until ``intake.stopping`` is set and everything submitted has been answered."""

    def asgi(self, intake: Intake) -> tuple[str, AsgiApp] | None:  # noqa: ARG002 - for those that override
        """Hand back a mount path (``/ingest``) and an ASGI app for the device HTTP port; None for no HTTP.

        An app with the attribute ``takes_websockets = True`` is given WebSockets, too, and ends them itself when the
        platform stops. Accepted with ``"pulse.pieces": True``, a WebSocket hands messages over in the pieces in which
        they come; ``scope["extensions"]["pulse.abort"]()`` ends it, whatever is still to be sent.
        """
        return None

    def mounts(self, intake: Intake) -> Mapping[str, AsgiApp]:
        """Everything that is served on the device HTTP port, by mount path: what :meth:`asgi` hands back.

        Override this instead when there are several. Among all ingesters the longest mount path wins.
        """
        mount = self.asgi(intake)
        return {} if mount is None else dict([mount])

    def addresses(self) -> Mapping[str, str]:
        """Where it listens, for people: ``{"mqtt": "mqtt://127.0.0.1:1883"}``. Known once :meth:`run` listens."""
        return {}
