"""What was found out lately is bounded: what nobody asks for goes first."""

from __future__ import annotations

from pulse_core.remembered import Remembered


def test_what_nobody_asked_for_longest_goes_first() -> None:
    known: Remembered[str, int] = Remembered(2)
    known.put("a", 1)
    known.put("b", 2)
    assert known.get("a") == 1
    known.put("c", 3)
    assert [known.get(key) for key in "abc"] == [1, None, 3]


def test_what_is_put_again_is_new_and_what_is_forgotten_gone() -> None:
    known: Remembered[str, int] = Remembered(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        known.put(key, value)
    assert [known.get(key) for key in "abc"] == [3, None, 4]
    known.forget("a")
    known.forget("nothing")
    assert known.get("a") is None
