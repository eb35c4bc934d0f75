"""The email channel keeps the rules of a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import LoginPassword

from pulse_core.testing.channels import ChannelContract
from pulse_email.channel import EmailChannel
from support.mail_server import mail_server, shown

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from support.mail_server import MailServer

PASSWORD = "s3cr3t-of-the-mail-server"


class TestEmailContract(ChannelContract):
    channel = EmailChannel

    def receiver(self) -> AbstractAsyncContextManager[MailServer]:
        return mail_server(account=LoginPassword(b"pulse", PASSWORD.encode()))

    def integration(self, receiver: MailServer) -> dict[str, Any]:
        return {
            "host": "127.0.0.1",
            "port": receiver.port,
            "tls": "none",
            "user": "pulse",
            "password": PASSWORD,
            "from_address": "alerts@example.com",
            "to": ["ops@example.com"],
            "format": "text",
        }

    def seen(self, body: bytes) -> str:
        return shown(body)


class TestEmailContractInHtml(TestEmailContract):
    def integration(self, receiver: MailServer) -> dict[str, Any]:
        return {**super().integration(receiver), "format": "both"}

    def seen(self, body: bytes) -> str:
        return shown(body, "html")
