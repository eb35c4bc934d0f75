"""A mail server on loopback (aiosmtpd) that records what it takes and refuses on request."""

from __future__ import annotations

import asyncio
import email
import email.policy
import re
from contextlib import asynccontextmanager
from html import unescape
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from msgspec import Struct

from pulse_core.testing.receivers import Mood, Received

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator
    from email.message import EmailMessage


class Mail(Struct, frozen=True):
    """One mail that was taken."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    user: str | None
    encrypted: bool

    @property
    def parsed(self) -> EmailMessage:
        return parsed(self.content)


def parsed(content: bytes) -> EmailMessage:
    """Read a mail as a mail program does."""
    message = email.message_from_bytes(content, policy=email.policy.default)
    assert not message.defects
    return message


def shown(content: bytes, subtype: str = "plain") -> str:
    """Return what a person sees: the subject and the body, in the alternative of that kind."""
    message = parsed(content)
    body = next(part for part in message.walk() if part.get_content_type() == f"text/{subtype}").get_content()
    text = unescape(re.sub(r"<[^>]*>", " ", body)) if subtype == "html" else body
    return f"{message['Subject']}\n{text}"


class MailServer:
    """What happens to a mail: ``mood``; or ``answers`` by recipient, ``sender_answer``, ``data_answer``."""

    def __init__(
        self, *, tls: ssl.SSLContext | None = None, implicit: bool = False, account: LoginPassword | None = None
    ) -> None:
        self.mood: Mood = "ok"
        self.answers: dict[str, str] = {}
        self.sender_answer = "250 OK"
        self.data_answer = "250 2.0.0 taken as 4711"
        self.received: list[Received] = []
        self.mails: list[Mail] = []
        self.logins = 0
        self.connections: list[SMTP] = []
        self.port = 0
        self._tls, self._implicit, self._account = tls, implicit, account
        self._server: asyncio.Server | None = None
        self._ended = asyncio.Event()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        context = self._tls if self._implicit else None
        self._server = await loop.create_server(self._accept, "127.0.0.1", 0, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._ended.set()
        self.drop()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def drop(self) -> None:
        """Cut every connection."""
        for connection in self.connections:
            if isinstance(connection.transport, asyncio.WriteTransport):
                connection.transport.abort()
        self.connections.clear()

    def _accept(self) -> SMTP:
        connection = SMTP(
            self,
            loop=asyncio.get_running_loop(),
            hostname="mail.test",
            tls_context=None if self._implicit else self._tls,
            authenticator=self._authenticate if self._account else None,
            auth_require_tls=self._tls is not None and not self._implicit,
        )
        self.connections.append(connection)
        return connection

    def _authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins += 1
        good = isinstance(data, LoginPassword) and data == self._account
        return AuthResult(success=good, handled=False, auth_data=data.login.decode() if good else None)

    async def handle_MAIL(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        if self._account is not None and not session.authenticated:
            return "530 5.7.0 log in first"
        if self.sender_answer.startswith("250"):
            envelope.mail_from = address
        return self.sender_answer

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        by_mood = {"temporary": "450 4.2.1 mailbox busy", "permanent": "550 5.1.1 no such user"}
        answer = self.answers.get(address) or by_mood.get(self.mood, "250 OK")
        if answer.startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(  # noqa: N802 - aiosmtpd's name
        self, server: Any, session: Any, envelope: Any
    ) -> str:
        content = envelope.original_content or b""
        names = {name.lower(): str(value) for name, value in parsed(content).items()}
        self.received.append(Received(body=content, headers=names))
        if self.mood == "silent":
            await self._ended.wait()
        if self.data_answer.startswith("250"):
            encrypted = server.transport.get_extra_info("ssl_object") is not None
            recipients = tuple(envelope.rcpt_tos)
            self.mails.append(Mail(envelope.mail_from, recipients, content, session.auth_data, encrypted))
        return self.data_answer


@asynccontextmanager
async def mail_server(**options: Any) -> AsyncIterator[MailServer]:
    """Run a :class:`MailServer`."""
    server = MailServer(**options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
