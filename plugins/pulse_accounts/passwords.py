"""Passwords: which are good enough, and their hashes (argon2id, RFC 9106)."""

from __future__ import annotations

import asyncio

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.profiles import RFC_9106_LOW_MEMORY

from pulse_core.api import PermanentFailure, TooMany

SHORTEST = 12
"""In characters."""
LONGEST_BYTES = 1024

NOBODYS = "$argon2id$v=19$m=65536,t=3,p=4$NlUwfUJkE/+ajXuMRCnnyg$dA2hHQ2BFJu87KFJ0pyvrXnADaeZExspuU22LGN5uI4"
"""The hash of a password that is lost: compared with when there is no such user."""

_AT_ONCE = 2
"""Each takes 64 MB and 100 ms of a core."""
_WAITING_AT_MOST = 50


class WeakPassword(PermanentFailure):
    """This password is not taken; the text says why, and never holds it."""


def demand_good(password: str, username: str) -> None:
    """Return if ``password`` may be chosen. Raises WeakPassword."""
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise WeakPassword("a password is text; this one holds characters that are none") from None
    if len(password) < SHORTEST:
        raise WeakPassword(f"at least {SHORTEST} characters, please: a few words that only you put together")
    if size > LONGEST_BYTES:
        raise WeakPassword(f"at most {LONGEST_BYTES} bytes, please")
    if len(set(password)) == 1:
        raise WeakPassword("one character over and over can be guessed")
    if password.strip().lower() == username.lower():
        raise WeakPassword("the password must not be the user's name")


class Passwords:
    """Hashes and checks in threads, a few at a time: logins must not take the machine from everybody else."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher.from_parameters(RFC_9106_LOW_MEMORY)
        self._turns = asyncio.Semaphore(_AT_ONCE)
        self._waiting = 0

    def hash(self, password: str) -> str:
        """What is kept of a password. Takes a tenth of a second."""
        return self._hasher.hash(password)

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether this is the password; for None (there is no such user) the same work, and no.

        :raises TooMany: so many wait for their turn that it is better to come back.
        """
        if self._waiting >= _WAITING_AT_MOST:
            raise TooMany("too many logins at once", retry_after_s=1)
        self._waiting += 1
        try:
            async with self._turns:
                return await asyncio.to_thread(self._matches, password, password_hash)
        finally:
            self._waiting -= 1

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it was made with other parameters than new ones are."""
        return self._hasher.check_needs_rehash(password_hash)

    def _matches(self, password: str, password_hash: str | None) -> bool:
        try:
            found = self._hasher.verify(password_hash or NOBODYS, password)
        except (VerificationError, InvalidHashError, UnicodeEncodeError):
            return False
        return found and password_hash is not None
