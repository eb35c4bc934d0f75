"""Every normative statement of MQTT has a verdict; every one that we support has a test that bears its number."""

from __future__ import annotations

import re

import pytest

from support.mqtt_table import PAGE, page
from support.statements import STANDARDS, Verdict, proofs, standard

both = pytest.mark.parametrize("decorator", STANDARDS)


@both
def test_a_supported_statement_has_a_test(decorator: str) -> None:
    supported = {n for n, one in standard(decorator).statements.items() if one.verdict is Verdict.SUPPORTED}
    assert supported - set(proofs(decorator)) == set()


@both
def test_a_test_bears_numbers_that_there_are(decorator: str) -> None:
    assert set(proofs(decorator)) - set(standard(decorator).statements) == set()


@both
def test_what_is_not_supported_says_why(decorator: str) -> None:
    for number, one in standard(decorator).statements.items():
        assert re.fullmatch(r"MQTT-\d+\.\d+\.\d+-\d+", number)
        assert one.why or one.verdict is Verdict.SUPPORTED, number


@pytest.mark.parametrize(("decorator", "count"), [("statement311", 141), ("statement5", 251)])
def test_no_statement_is_missing(decorator: str, count: int) -> None:
    """As many as appendix B of the standard has, and no gap in the numbers, but that MQTT 5 has no 2.2.1-1."""
    numbers = [number.rsplit("-", 1) for number in standard(decorator).statements]
    assert len(numbers) == count
    for chapter in {chapter for chapter, _ in numbers}:
        counts = [int(count) for each, count in numbers if each == chapter]
        first = 2 if decorator == "statement5" and chapter == "MQTT-2.2.1" else 1
        assert counts == list(range(first, first + len(counts))), chapter


def test_the_page_is_what_the_tests_say() -> None:
    assert PAGE.read_text() == page(), "run `make docs`"
