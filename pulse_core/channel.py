"""What extends the ways to tell somebody: the base of every channel, and what it is lent."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import BaseModel, ConfigDict

from pulse_core.masking import fingerprint
from pulse_core.plugin_base import Contribution, PluginConfig

if TYPE_CHECKING:
    from pulse_core.outbound import HttpClient, Outbound
    from pulse_core.records import Notification


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
