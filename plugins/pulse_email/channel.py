"""Sending: one mail a notification."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, cast

from pulse_core.api import Channel, PulseError, TemporaryFailure, check_tls_trust
from pulse_email.answers import scrubbed
from pulse_email.composing import Composer
from pulse_email.config import EmailConfig, EmailOptions
from pulse_email.pool import Pool
from pulse_email.progress import Memory
from pulse_email.selfcheck import check_templates
from pulse_email.session import Session

if TYPE_CHECKING:
    from pulse_core.api import Notification, PluginConfig, Services
    from pulse_email.session import Outcome


class EmailChannel(Channel[EmailConfig]):
    """Mails through a customer's SMTP server, over kept connections.

    Delivered means that the server took the mail for one addressee in To at least, and that nobody is left who might
    still take it. Who has it is remembered while the others are tried again, so that nobody gets it twice, unless
    the process ends in between; then the Message-ID is still the same.
    """

    name = "email"
    summary = "A mail through an SMTP server of yours"
    integration_type = EmailConfig
    config_type = EmailOptions

    def __init__(self, integration: EmailConfig, services: Services, config: PluginConfig) -> None:
        super().__init__(integration, services, config)
        self._composer = Composer(integration)
        self._memory = Memory()
        self._pool = Pool(self._connect)

    @classmethod
    def endpoint(cls, integration: EmailConfig) -> str:
        """Deliveries to one server share a limit."""
        host, port = integration.server
        return f"{host.lower().rstrip('.')}:{port}"

    @classmethod
    async def check(cls, config: PluginConfig) -> None:  # noqa: ARG003 - a name for EHLO, which its pattern checks
        """See that this machine trusts authorities, and that our templates work with its Jinja."""
        check_tls_trust()
        check_templates()

    async def send(self, notification: Notification) -> str:
        """Send to all who have not got it yet."""
        started_s = time.perf_counter()
        mail = self._composer.compose(notification)
        progress = self._memory.of(notification.delivery_id)
        tried = progress.open_ones(self.integration.recipients)
        outcome = await self._pool.deliver(self.integration.from_address, tried, mail.content)
        later = progress.settle(tried, outcome.refused)
        try:
            progress.raise_for_failure(self.integration.to, later, outcome.where)
        except TemporaryFailure as error:
            self._memory.keep(notification.delivery_id, progress)
            raise TemporaryFailure(self._clean(str(error))) from None
        except PulseError as error:
            self._memory.forget(notification.delivery_id)
            raise type(error)(self._clean(str(error))) from None
        self._memory.forget(notification.delivery_id)
        spent_ms = round((time.perf_counter() - started_s) * 1000)
        return self._receipt(outcome, spent_ms, (*mail.remarks, progress.told(later)))

    async def close(self) -> None:
        """Say goodbye to the server."""
        await self._pool.close()

    async def _connect(self) -> Session:
        return await Session.open(self.integration, self.services, cast("EmailOptions", self.config))

    def _receipt(self, outcome: Outcome, spent_ms: int, remarks: tuple[str, ...]) -> str:
        said = f"{outcome.taken or 'nothing left to send'} from {outcome.where} in {spent_ms} ms"
        return self._clean("; ".join((said, *filter(None, remarks))))

    def _clean(self, text: str) -> str:
        return scrubbed(text, self.integration)
