"""All that a plugin may import: what to extend, what to raise, what flows, and how to register.

A plugin is a module named by an entry point in the group ``pulse.plugins``. It registers classes with the hooks of
:mod:`pulse_core.hookspecs`; the platform builds the objects, awaits them, and looks after configuration, masking,
retries, time-outs, order, metrics and the outbound guard, so that a plugin holds only what is its own.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import pluggy
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from pulse_core.errors import (
    ConfigError,
    Conflict,
    EndpointGone,
    NotFound,
    OutboundRefused,
    PermanentFailure,
    PulseError,
    Rejected,
    SecretUnreadable,
    StoreUnavailable,
    TemporaryFailure,
    TooMany,
)
from pulse_core.identity import (
    AUDIENCE,
    Account,
    AuthProvider,
    AuthServices,
    Login,
    Session,
    Sessions,
    SigningKeys,
    StoredKey,
    Tokens,
    UserDirectory,
)
from pulse_core.masking import fingerprint
from pulse_core.plugin_base import Contribution, PluginConfig
from pulse_core.principal import Principal, Role
from pulse_core.records import (
    COMMITTED,
    RETRY_LATER,
    Device,
    DeviceKey,
    DeviceStatus,
    Finding,
    Judgement,
    MsgType,
    Notification,
    Outcome,
    RawMessage,
    Reading,
    Reason,
    Severity,
    Verdict,
)
from pulse_core.secrets import SecretBox
from pulse_core.trust import check_tls_trust
from pulse_core.urls import SecretUrl, WebUrl, origin

if TYPE_CHECKING:
    import asyncio

    from pulse_core.outbound import HttpClient, Outbound

__all__ = [
    "AUDIENCE",
    "COMMITTED",
    "RETRY_LATER",
    "Account",
    "AsgiApp",
    "AuthProvider",
    "AuthServices",
    "Channel",
    "ConfigError",
    "Conflict",
    "Contribution",
    "Credentials",
    "Device",
    "DeviceKey",
    "DeviceStatus",
    "EndpointGone",
    "Evaluator",
    "Field",
    "Finding",
    "Ingester",
    "Intake",
    "IntegrationConfig",
    "Judgement",
    "Listening",
    "Login",
    "MsgType",
    "NotFound",
    "Notification",
    "OutboundRefused",
    "Outcome",
    "PermanentFailure",
    "PluginConfig",
    "Principal",
    "PulseError",
    "RawMessage",
    "Reading",
    "ReadingKey",
    "Reason",
    "Rejected",
    "Role",
    "SecretBox",
    "SecretStr",
    "SecretUnreadable",
    "SecretUrl",
    "Services",
    "Session",
    "Sessions",
    "Severity",
    "SigningKeys",
    "StoreUnavailable",
    "StoredKey",
    "StoredReading",
    "TelemetryStore",
    "TemporaryFailure",
    "Tokens",
    "TooMany",
    "UserDirectory",
    "Verdict",
    "WebUrl",
    "check_tls_trust",
    "field_validator",
    "hookimpl",
    "model_validator",
    "origin",
]

hookimpl = pluggy.HookimplMarker("pulse")
"""Marks a function of a plugin as the implementation of the hook it is named after."""

AsgiApp = Callable[
    [
        MutableMapping[str, Any],
        Callable[[], Awaitable[MutableMapping[str, Any]]],
        Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ],
    Awaitable[None],
]
"""An ASGI 3 application: ``await app(scope, receive, send)``."""


class IntegrationConfig(BaseModel):
    """Base of what a customer fills in for one integration of a channel.

    This one model feeds validation, the JSON Schema, the form in the UI, masking (every ``SecretStr`` is encrypted at
    rest and never shown again) and the reference page. A field's docstring is its help text.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        str_strip_whitespace=True,
        hide_input_in_errors=True,  # the input may be a secret
    )


class Services(Protocol):
    """What the platform lends to a plugin's objects."""

    @property
    def http(self) -> HttpClient:
        """An HTTP client behind the outbound guard."""

    @property
    def outbound(self) -> Outbound:
        """Guarded connections: ``await services.outbound.connect(host, port, tls=True)``."""

    @property
    def log(self) -> Any:
        """A structlog logger that names the plugin in every line."""


IntegrationT = TypeVar("IntegrationT", bound=IntegrationConfig)
MemoryT = TypeVar("MemoryT")


class Channel(Contribution, Generic[IntegrationT]):
    """A way to tell somebody. One object serves one integration of one tenant; it is kept and reused.

    Only :meth:`send` must be written. Raise :class:`TemporaryFailure` to be tried again, :class:`PermanentFailure`
    not to be. Time-outs, retries, order, rate and concurrency are the engine's: a channel never sleeps or loops.
    """

    integration_type: ClassVar[type[IntegrationConfig]]
    """The model of one integration's configuration."""

    def __init__(self, integration: IntegrationT, services: Services, config: PluginConfig) -> None:
        self.integration = integration
        self.services = services
        self.config = config

    @classmethod
    def endpoint(cls, integration: IntegrationT) -> str:
        """Name whom an integration talks to (``host:port``, say): deliveries to one endpoint share a limit.

        The default keeps each configuration by itself.
        """
        return f"{cls.name}:{fingerprint(integration)}"

    async def open(self) -> None:
        """Prepare before the first :meth:`send`."""
        return

    @abstractmethod
    async def send(self, notification: Notification) -> str | None:
        """Deliver one notification and return, or raise.

        Returning means that the receiver has it. The text returned, if any, is kept as the receipt (1 KB).
        ``notification.delivery_id`` is the same at every attempt: pass it on as the idempotency key.
        """

    async def close(self) -> None:
        """Give back what :meth:`open` or :meth:`send` took."""
        return


class Listening(Struct, frozen=True):
    """Since when we could hear a device without a gap; None while its way in is down.

    The platform's own outages are none of a device's fault: an evaluator counts silence from ``since_us`` at the
    earliest.
    """

    since_us: int | None


class Evaluator(Contribution, Generic[MemoryT]):
    """Decides what readings mean. Pure: no clock, no network, no storage; the time is passed in.

    ``memory`` is whatever immutable value of ``memory_type`` the last call returned for this device (None at first);
    it is stored with the batch and comes back after a restart.
    """

    memory_type: ClassVar[type[Any]]
    """A frozen ``msgspec.Struct`` (or any type that msgspec converts to and from JSON)."""
    sees_repeats: ClassVar[bool] = False
    """True: redelivered readings are observed too (they prove that the device lives, nothing more)."""

    def __init__(self, config: PluginConfig) -> None:
        self.config = config

    @abstractmethod
    def observe(
        self, device: Device, memory: MemoryT | None, reading: Reading, listening: Listening, now_us: int
    ) -> Judgement:
        """Take in one reading."""

    @abstractmethod
    def wake(self, device: Device, memory: MemoryT, listening: Listening, now_us: int) -> Judgement:
        """The time that an earlier :class:`Judgement` asked for has come.

        Not called while the device's way in is down; called on recovery with ``listening.since_us`` moved forward.
        """


class Credentials(Struct, frozen=True):
    """What a device shows at login."""

    key: DeviceKey
    token: str


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

    def receiving(self, up: bool) -> None:
        """Say whether the source is up. While it is down, the staleness clocks of its devices stand still."""

    def revocations(self) -> AsyncIterator[DeviceKey]:
        """Devices whose live connections must end now (revoked, token replaced, tenant suspended)."""


class Ingester(Contribution):
    """A way in for devices. ``name`` is the source that readings carry."""

    def __init__(self, config: PluginConfig, services: Services) -> None:
        self.config = config
        self.services = services

    @abstractmethod
    async def run(self, intake: Intake) -> None:
        """Serve until ``intake.stopping`` is set and everything submitted has been answered."""

    def asgi(self, intake: Intake) -> tuple[str, AsgiApp] | None:  # noqa: ARG002 - for those that override
        """Hand back a mount path (``/ingest``) and an ASGI app for the device HTTP port; None for no HTTP."""
        return None

    def addresses(self) -> Mapping[str, str]:
        """Where it listens, for people: ``{"mqtt": "mqtt://127.0.0.1:1883"}``. Known once :meth:`run` listens."""
        return {}


class ReadingKey(Struct, frozen=True):
    """By what a redelivery is recognised. With ``since_us``, any reading of the device with this hash from then on
    counts (the device gave no ``ts``); without, only the very ``ts_us``.
    """

    device: DeviceKey
    ts_us: int
    key_hash: int
    since_us: int | None = None


class StoredReading(Struct, frozen=True):
    """A reading as a telemetry store gives it back."""

    ts_us: int
    received_us: int
    msg_type: str
    site_id: str
    seq: int | None
    metrics: dict[str, Any]


class TelemetryStore(Contribution):
    """Where readings are kept. Exactly one is active."""

    transactional: ClassVar[bool]
    """True: :meth:`write` takes part in the batch's own PostgreSQL transaction. False: it is called before it."""

    def __init__(self, config: PluginConfig) -> None:
        self.config = config

    async def open(self, database: Any) -> None:  # noqa: ARG002 - for those that override
        """Get ready. ``database`` is the host's pool for the current role."""
        return

    async def close(self) -> None:
        """Give back what :meth:`open` took."""
        return

    async def prepare(self, readings: Sequence[Reading]) -> None:  # noqa: ARG002 - for those that override
        """Make room for these readings (partitions, say). Called before the batch's transaction begins."""
        return

    @abstractmethod
    async def write(self, readings: Sequence[Reading], transaction: Any) -> None:
        """Store readings. Idempotent: the same reading (device, ts_us, key_hash) again changes nothing."""

    @abstractmethod
    async def known(self, keys: Sequence[ReadingKey]) -> set[int]:
        """Which of ``keys`` (by index) are stored already."""

    @abstractmethod
    async def history(
        self, device: DeviceKey, *, start_us: int, end_us: int, limit: int, before_us: int | None = None
    ) -> list[StoredReading]:
        """Readings of one device in [start, end), newest first, before ``before_us`` if given."""

    @abstractmethod
    async def drop_before(self, cutoff_us: int) -> int:
        """Retention: forget readings older than ``cutoff_us``; return how many units (partitions, rows) went."""
