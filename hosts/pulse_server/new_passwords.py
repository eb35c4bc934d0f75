"""Passwords that administrators give: chosen by them, or made up here and shown once."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from msgspec import Struct

from pulse_core.errors import Conflict

if TYPE_CHECKING:
    from pydantic import SecretStr

    from pulse_core.config import Config

_AT_ONCE = 2
"""Each takes 64 MB and 100 ms of a core."""
_WORDS, _LETTERS = 5, 5
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""No i, l, o, 0, 1: it may have to be read aloud."""


class NewPassword(Struct, frozen=True):
    """What is kept of a password, and, if we made it up, the password itself: shown once, kept nowhere."""

    hashed: str
    initial: str | None


class NewPasswords:
    """Makes hashes in threads, a few at a time."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def make(self, username: str, given: SecretStr | None) -> NewPassword:
        """The password that was given, or one that nobody guesses.

        :raises PermanentFailure: it is not good enough; the text says why.
        :raises Conflict: passwords are not kept here: the plugin ``accounts`` is not enabled.
        """
        if "accounts" not in self._config.plugins.enabled:
            raise Conflict("people log in elsewhere here, and passwords are given there")
        from pulse_accounts.passwords import Passwords, demand_good  # noqa: PLC0415 - only where it is enabled

        initial = None if given is not None else _made_up()
        password = given.get_secret_value() if given is not None else str(initial)
        demand_good(password, username)
        async with self._turns:
            return NewPassword(await asyncio.to_thread(Passwords().hash, password), initial)


def _made_up() -> str:
    """25 random letters in five groups: 123 bits."""
    groups = ("".join(secrets.choice(_ALPHABET) for _ in range(_LETTERS)) for _ in range(_WORDS))
    return "-".join(groups)
