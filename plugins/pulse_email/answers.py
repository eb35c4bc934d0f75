"""What a mail server answered, and what that means."""

from __future__ import annotations

import base64
import ssl
from typing import TYPE_CHECKING

from aiosmtplib import SMTPConnectError, SMTPException, SMTPResponseException, SMTPTimeoutError
from msgspec import Struct

from pulse_core.api import PermanentFailure, PulseError, TemporaryFailure

if TYPE_CHECKING:
    from pulse_email.config import EmailConfig

_LONGEST_TEXT = 4096
"""More than is kept, which is cut after the password is taken out: half of one is not recognised."""
_MASK = "********"
UNAVAILABLE = 421
"""The server ends the connection (RFC 5321, 3.8)."""


class Answer(Struct, frozen=True):
    """A reply: its code and its text (RFC 5321, 4.2)."""

    code: int
    text: str

    @property
    def permanent(self) -> bool:
        """5xx: do not repeat. Anything else that is no success may change, nonsense included."""
        return 500 <= self.code <= 599  # noqa: PLR2004 - 5xx

    def __str__(self) -> str:
        return f"{self.code} {self.text}".strip()


def answer_of(error: SMTPResponseException) -> Answer:
    """Return what the server said, as one line of printable characters."""
    text = "".join(character if character.isprintable() else " " for character in str(error.message))
    return Answer(int(error.code), " ".join(text.split())[:_LONGEST_TEXT])


def refusal(answer: Answer, doing: str, integration: EmailConfig) -> PulseError:
    """Make the failure that fits a reply."""
    kind = PermanentFailure if answer.permanent else TemporaryFailure
    return kind(scrubbed(f"{doing}: {answer}", integration))


def failure(error: Exception, doing: str, integration: EmailConfig) -> PulseError:
    """Say in our words what went wrong with a server. ``doing`` says with what, and where."""
    if isinstance(error, SMTPResponseException):
        return refusal(answer_of(error), doing, integration)
    cause = error.__cause__ if isinstance(error, SMTPConnectError) else error
    return TemporaryFailure(scrubbed(f"{doing}: {_why(cause or error)}", integration))


def scrubbed(text: str, integration: EmailConfig) -> str:
    """Take the password out of ``text``, also in the forms in which a login says it: servers may echo commands."""
    if integration.password is None:
        return text
    user, password = (integration.user or "").encode(), integration.password.get_secret_value()
    said = (
        password.encode(),
        b"\0" + user + b"\0" + password.encode(),
        user + b"\0" + user + b"\0" + password.encode(),
    )
    for form in (*(base64.b64encode(each).decode() for each in said), password):
        if len(form) >= 4:  # noqa: PLR2004 - masking shorter ones would garble the text and tell them
            text = text.replace(form, _MASK)
    return text


def _why(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {error.reason or 'the connection broke off'} (does this port want another kind of tls?)"
    if isinstance(error, SMTPTimeoutError | TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError | SMTPException):
        return "the server ended the connection"
    return f"the client gave up: {type(error).__name__}"
