"""A question to an auth provider that may answer anything, or never."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

import structlog

from pulse_core.errors import TemporaryFailure
from pulse_core.identity import AuthProvider

if TYPE_CHECKING:
    from collections.abc import Awaitable

log = structlog.get_logger(__name__)

WITHIN_S = 20.0

AnswerT = TypeVar("AnswerT")


class Faulty(TemporaryFailure):
    """A provider raised what it may not: what it would have said is not known."""


async def ask(provider: AuthProvider, answer: Awaitable[AnswerT]) -> AnswerT:
    """Await what a provider answers.

    :raises TemporaryFailure: it cannot know at present, or says nothing for 20 s.
    :raises Faulty: it has a fault.
    """
    try:
        async with asyncio.timeout(WITHIN_S):
            return await answer
    except TemporaryFailure:
        raise
    except TimeoutError:
        raise TemporaryFailure(f"{provider.name} has not answered for {WITHIN_S:g} s") from None
    except Exception as error:  # noqa: BLE001 - a plugin may raise anything
        # Its text, and a traceback's, may hold a token.
        log.error("provider.failed", provider=provider.name, error=type(error).__name__)  # noqa: TRY400 - see above
        raise Faulty(f"{provider.name} failed") from None


def issues(provider: AuthProvider) -> bool:
    """Whether a provider begins and ends sessions of its own, and so writes them into the audit log itself."""
    return type(provider).issue is not AuthProvider.issue


def knows_passwords(provider: AuthProvider) -> bool:
    """Whether people can log in at a provider with a name and a password."""
    return type(provider).verify_password is not AuthProvider.verify_password


def changes_passwords(provider: AuthProvider) -> bool:
    """Whether people can give themselves another password at a provider."""
    return type(provider).change_password is not AuthProvider.change_password


def leads_away(provider: AuthProvider) -> bool:
    """Whether people log in elsewhere, and a provider sends them there."""
    return type(provider).begin is not AuthProvider.begin
