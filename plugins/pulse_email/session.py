"""One SMTP session: a guarded connection, TLS, a login, and mails one after the other."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

from aiosmtplib import SMTP, SMTPException, SMTPRecipientRefused, SMTPResponseException
from msgspec import Struct

from pulse_core.api import PermanentFailure
from pulse_email.answers import UNAVAILABLE, Answer, answer_of, failure

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Sequence

    from pulse_core.api import Services
    from pulse_email.config import EmailConfig, EmailOptions

_PATIENCE_S = 10.0
"""For one answer of the server. The engine limits the whole attempt."""
_GOODBYE_S = 1.0
_CHECK_S = 3.0
_SURE_FOR_S = 5.0
"""A connection that worked so recently is used without asking first."""
_MOST_MAILS = 100
"""Servers limit how many mails one connection may bring, often to a hundred."""


class StaleSessionError(Exception):
    """The server had ended a kept connection: nothing was said yet, and a new connection will do."""


class Outcome(Struct, frozen=True):
    """What came of one mail: the answer to its content (None if nobody may have it), and who was refused."""

    taken: Answer | None
    refused: Mapping[str, Answer]
    where: str


class _Smtp(SMTP):
    """A client that waits for nobody when it closes: TLS would wait for the server's last word."""

    def close(self) -> None:
        transport = self.transport
        super().close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()


class Session:
    """A connection that is logged in. Ended by :meth:`leave` or, at any time, by :meth:`abort`."""

    def __init__(self, smtp: _Smtp, integration: EmailConfig, services: Services) -> None:
        self.where = ""
        self._services = services
        self._smtp = smtp
        self._integration = integration
        self._mails = 0
        self._used_s = 0.0

    @classmethod
    async def open(cls, integration: EmailConfig, services: Services, options: EmailOptions) -> Session:
        """Connect through the guard, secure the connection and log in.

        :raises TemporaryFailure: no connection, no trustworthy one, or not now. :raises PermanentFailure: refused.
        """
        host, port = integration.server
        sock = await services.outbound.open_socket(host, port)
        smtp = _Smtp(
            hostname=host.rstrip("."),  # the name that the certificate must have
            sock=sock,
            use_tls=integration.tls == "implicit",
            start_tls=False,
            tls_context=services.outbound.tls,
            local_hostname=options.ehlo_name or _literal(sock),
            timeout=_PATIENCE_S,
        )
        session = cls(smtp, integration, services)
        try:
            await session._prepare(f"{host} port {port}")
        except BaseException:
            session.abort()
            raise
        return session

    async def _prepare(self, server: str) -> None:
        await self._step(f"{server}, connecting", self._smtp.connect())
        await self._step(f"{server}, EHLO", self._smtp.ehlo())
        if self._integration.tls == "starttls":
            if not self._smtp.supports_extension("starttls"):
                raise PermanentFailure(
                    f"{server} does not offer STARTTLS: set tls to implicit or none, or ask its people"
                )
            await self._step(f"{server}, STARTTLS", self._smtp.starttls())
            await self._step(f"{server}, EHLO", self._smtp.ehlo())
        if self._integration.user is not None and self._integration.password is not None:
            if not self._smtp.supported_auth_methods:
                raise PermanentFailure(f"{server} offers no login that we know ({', '.join(SMTP.AUTH_METHODS)})")
            password = self._integration.password.get_secret_value()
            await self._step(f"{server}, login", self._smtp.login(self._integration.user, password))
        self.where = self._described(server)

    async def _step(self, doing: str, work: Awaitable[object]) -> None:
        try:
            await _heeding(work)
        except (SMTPException, OSError, ValueError) as error:
            raise failure(error, doing, self._integration) from None  # the original may hold what was said

    def _described(self, server: str) -> str:
        peer, tls = self._smtp.get_transport_info("peername"), self._smtp.get_transport_info("ssl_object")
        address = f"{server} ({peer[0]})" if peer else server
        return f"{address}, {tls.version() if tls is not None else 'no TLS'}"

    @property
    def usable(self) -> bool:
        """Whether another mail may go this way."""
        return self._smtp.is_connected and self._mails < _MOST_MAILS

    @property
    def idle_s(self) -> float:
        """For how long nothing was said."""
        return asyncio.get_running_loop().time() - self._used_s

    async def check(self) -> bool:
        """Tell whether a kept connection still works; ask the server if it has been silent for a while."""
        if not self.usable:
            return False
        if self.idle_s < _SURE_FOR_S:
            return True
        try:
            await self._smtp.noop(timeout=_CHECK_S)
        except (SMTPException, OSError):
            return False
        return True

    async def deliver(self, sender: str, recipients: Sequence[str], content: bytes) -> Outcome:
        """Send one mail to those of ``recipients`` whom the server takes.

        :raises StaleSessionError: a kept connection had ended. :raises PulseError: nobody got it.
        """
        kept, self._mails = self._mails > 0, self._mails + 1
        if self._smtp.transport is not None:
            self._services.outbound.uses(self._smtp.transport)
        doing = f"{self.where}, MAIL FROM"
        try:
            await _heeding(self._smtp.mail(sender, options=self._options(content)))
            doing = f"{self.where}, RCPT TO"
            refused = await self._name(recipients)
            if len(refused) == len(recipients):
                await self._smtp.rset()
                return Outcome(None, refused, self.where)
            doing = f"{self.where}, DATA"
            response = await self._smtp.data(content)
        except (SMTPException, OSError, ValueError) as error:
            if kept and doing.endswith("MAIL FROM") and _ended(error):
                raise StaleSessionError from None
            raise failure(error, doing, self._integration) from None
        self._used_s = asyncio.get_running_loop().time()
        return Outcome(answer_of(SMTPResponseException(response.code, response.message)), refused, self.where)

    def _options(self, content: bytes) -> list[str]:
        return [f"SIZE={len(content)}"] if self._smtp.supports_extension("size") else []

    async def _name(self, recipients: Sequence[str]) -> dict[str, Answer]:
        refused = {}
        for recipient in recipients:
            try:
                await _heeding(self._smtp.rcpt(recipient))
            except SMTPRecipientRefused as error:
                if error.code == UNAVAILABLE:
                    raise
                refused[recipient] = answer_of(error)
        return refused

    async def leave(self) -> None:
        """Say goodbye and close."""
        with contextlib.suppress(SMTPException, OSError):
            await self._smtp.quit(timeout=_GOODBYE_S)
        self.abort()

    def abort(self) -> None:
        """Close at once. The socket is closed when the event loop has come round."""
        self._smtp.close()


def _ended(error: Exception) -> bool:
    """Whether an error says no more than that the connection has ended."""
    return error.code == UNAVAILABLE if isinstance(error, SMTPResponseException) else isinstance(error, OSError)


async def _heeding(work: Awaitable[object]) -> None:
    """Await, and end if that was asked for meanwhile.

    The client's ``asyncio.wait_for`` forgets a cancellation that comes at the same time as its answer (Python 3.11).
    """
    await work
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _literal(sock: socket.socket) -> str:
    """Return our end's address as EHLO takes it (RFC 5321, 4.1.3)."""
    address = str(sock.getsockname()[0])
    return f"[IPv6:{address}]" if ":" in address else f"[{address}]"
