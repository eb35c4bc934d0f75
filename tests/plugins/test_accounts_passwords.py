"""Passwords: hashes that are hard to guess from, a few at a time, and the same work for nobody."""

from __future__ import annotations

import asyncio

import pytest
from argon2 import extract_parameters
from argon2.low_level import Type

from pulse_accounts.passwords import NOBODYS, Passwords, WeakPassword, demand_good
from pulse_core.api import TooMany


def test_hashes_are_argon2id_with_the_parameters_of_rfc_9106() -> None:
    found = extract_parameters(Passwords().hash("x"))
    assert (found.type, found.time_cost, found.memory_cost, found.parallelism) == (Type.ID, 3, 65536, 4)
    assert (found.hash_len, found.salt_len) == (32, 16)


def test_nobodys_hash_costs_what_everybodys_does() -> None:
    assert extract_parameters(NOBODYS) == extract_parameters(Passwords().hash("x"))


async def test_a_password_matches_its_hash_alone() -> None:
    passwords = Passwords()
    stored = passwords.hash("correct horse")
    assert await passwords.matches("correct horse", stored)
    for wrong in ("correct horse ", "Correct horse", "", "\ud800", "\0"):
        assert not await passwords.matches(wrong, stored)
    for broken in ("", "x", stored[:-1], stored.replace("argon2id", "argon2x"), None):
        assert not await passwords.matches("correct horse", broken)


async def test_so_many_wait_and_no_more() -> None:
    passwords = Passwords()
    answers = await asyncio.gather(*(passwords.matches("x", None) for _ in range(60)), return_exceptions=True)
    assert [answer for answer in answers if answer is not False and not isinstance(answer, TooMany)] == []
    assert sum(isinstance(answer, TooMany) for answer in answers) == 10
    assert not await passwords.matches("x", None), "and then there is room again"


@pytest.mark.parametrize("good", ["correct horse", "x" * 1023 + "y", "é" * 511 + "z", "🔑🔒" * 6])
def test_a_good_password_is_taken(good: str) -> None:
    demand_good(good, "ada")


@pytest.mark.parametrize(
    "bad", ["", "x" * 11, "y" * 500, "x" * 1024 + "y", "ada-lovelace", "ADA-Lovelace ", "é\ud800" * 9]
)
def test_a_bad_password_is_refused_without_repeating_it(bad: str) -> None:
    with pytest.raises(WeakPassword) as caught:
        demand_good(bad, "ada-lovelace")
    assert not bad or bad not in str(caught.value)
