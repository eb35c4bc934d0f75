"""The one error tree: what may work later, and what will not.

::

    PulseError
    ├── TemporaryFailure            may work later (retry_after_s, if the peer said when)
    │   ├── StoreUnavailable        the database does not answer; nothing was acknowledged
    │   │   ├── OwnershipLost       another process took our devices over: start again
    │   │   └── ReadingsAway        a telemetry store beside the database does not answer
    │   ├── NameUnresolved          DNS gave no answer: fail closed now, try again later
    │   └── TooMany                 the caller asked more often than is allowed (retry_after_s)
    └── PermanentFailure            the same attempt will fail again
        ├── EndpointGone            the receiver said never again (410): the integration is disabled
        ├── OutboundRefused         the guard: not a public address
        ├── Rejected                a device's message or login is refused (reason)
        ├── ReadingsRefused         a telemetry store cannot keep some readings of a batch
        ├── ConfigError             the configuration is wrong; the text says what to do
        ├── SchemaError             the database's schema is half-migrated, too old or too new
        ├── PluginError             a plugin cannot be loaded, or breaks the rules of the door
        ├── NotFound                no such object, or it is another tenant's
        ├── Conflict                the object exists already, or the name is ambiguous
        ├── Stale                   the object is another than the caller saw
        └── SecretUnreadable        no key we hold decrypts a stored secret
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pulse_core.records import Reason


class PulseError(Exception):
    """Root of everything that the platform raises on purpose."""


class TemporaryFailure(PulseError):  # noqa: N818 - a channel author raises a failure, not an error
    """It may work later.

    :param retry_after_s: when the peer said to come back (seconds from now), or None.
    """

    def __init__(self, message: str = "", *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class StoreUnavailable(TemporaryFailure):
    """The database does not answer. Nothing was acknowledged; the work is tried again."""


class OwnershipLost(StoreUnavailable):
    """Another process judged our devices while we had no connection: what we remember of them is stale.

    Trying again does not help; the process has to start again.
    """


class ReadingsAway(StoreUnavailable):
    """A telemetry store beside the database does not answer. What needs no readings goes on."""


class NameUnresolved(TemporaryFailure):
    """A host name did not resolve. The guard fails closed; a later attempt may succeed."""


class TooMany(TemporaryFailure):
    """The caller asked more often than is allowed."""


class PermanentFailure(PulseError):  # noqa: N818 - see TemporaryFailure
    """The same attempt will fail again: do not retry."""


class EndpointGone(PermanentFailure):
    """The receiver asked never to be called again (HTTP 410): the integration is disabled, visibly."""


class OutboundRefused(PermanentFailure):
    """The outbound guard refused an address: not public, and not allowed by the operator."""


class ReadingsRefused(PermanentFailure):
    """A telemetry store can never keep some readings of a batch (a value of another type than earlier, say).

    :param refused: why, by the index of the reading in the batch. Everything else of the batch is stored.
    """

    def __init__(self, refused: Mapping[int, str]) -> None:
        super().__init__(f"{len(refused)} readings cannot be stored: {next(iter(refused.values()), '')}")
        self.refused = dict(refused)


class Rejected(PermanentFailure):
    """A message or a login of a device is refused.

    :param reason: one of the quarantine reasons of CONTRACTS.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class ConfigError(PermanentFailure):
    """The configuration is wrong. The message names the key and says what to do."""


class SchemaError(PermanentFailure):
    """The database's schema does not fit this program. The message says what to run."""


class PluginError(PermanentFailure):
    """A plugin cannot be loaded, or breaks a rule of the plugin door."""


class NotFound(PermanentFailure):
    """There is no such object for this caller."""


class Conflict(PermanentFailure):
    """The object exists already, or a name is ambiguous."""


class Stale(PermanentFailure):
    """The object was changed since the caller looked at it: an edit on condition is not made."""


class SecretUnreadable(PermanentFailure):
    """No key we hold decrypts a stored secret."""
