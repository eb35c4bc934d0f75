"""What pages and their scripts are told of a browser's session."""

from __future__ import annotations

from pydantic import AwareDatetime

from pulse_server.outputs.answers import Answer


class SessionFacts(Answer):
    """What a page's script needs to know."""

    csrf_token: str
    """For the header X-CSRF-Token of whatever changes something."""
    provider: str
    """With which one has logged in."""
    expires_at: AwareDatetime
    """The session is over then, and sooner when nothing is asked with it."""


class LoggedOut(Answer):
    """The session has ended."""

    logout_url: str | None
    """Where the browser must go to log out there as well."""
