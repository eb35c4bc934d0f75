"""Tokens and JSON from outside: one reading, or none."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_core.api import KnownTokens, json_object, taken_apart

HEADER, CLAIMS = {"alg": "EdDSA", "kid": "k"}, {"iss": "x", "deep": {"a": [1]}}


def segment(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def token(header: Any = HEADER, claims: Any = CLAIMS, signature: bytes = b"sig") -> str:
    parts = [each if isinstance(each, bytes) else json.dumps(each).encode() for each in (header, claims)]
    return ".".join(map(segment, [*parts, signature]))


def test_a_token_is_taken_apart() -> None:
    whole = token()
    parts = taken_apart(whole, longest=len(whole))
    assert parts is not None
    assert (parts.header, parts.claims, parts.signature) == (HEADER, CLAIMS, b"sig")
    assert parts.signing_input == whole.rpartition(".")[0].encode()
    assert taken_apart(whole, longest=len(whole) - 1) is None


WRONG = {
    "nothing": "",
    "one segment": segment(b"{}"),
    "two": token().rpartition(".")[0],
    "four": token() + ".AA",
    "no signature": token(signature=b""),
    "a space": token() + " ",
    "a line break": token() + "\n",
    "padding": token(signature=b"a") + "==",
    "other base64": token(signature=b"\xff\xff\xff").replace("____", "////"),
    "bits left over": token(signature=b"a")[:-1] + "R",
    "a segment of impossible length": token(signature=b"abc") + "A",
    "no JSON": token(b"{"),
    "a list": token([1]),
    "a name twice": token(b'{"alg": 1, "alg": 2}'),
    "a name twice, deep": token(claims=b'{"a": [{"b": 1, "b": 1}]}'),
    "NaN": token(claims=b'{"a": NaN}'),
    "Infinity": token(claims=b'{"a": -Infinity}'),
    "nested": token(claims=b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "a number of 5000 digits": token(claims=b'{"a":' + b"1" * 5000 + b"}"),
    "UTF-16": token(claims='{"a": 1}'.encode("utf-16")),
    "no text": token(claims=b'{"a": "\xff"}'),
    "a byte order mark": token(claims=b'\xef\xbb\xbf{"a": 1}'),
    "not ASCII": "é" + token(),
    "a lone surrogate": "\ud800" + token(),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_what_has_another_form_is_none(wrong: str) -> None:
    assert taken_apart(wrong, longest=100_000) is None


@given(st.text(max_size=200))
def test_any_text_is_read_or_not(text: str) -> None:
    taken_apart(text, longest=100)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_not(raw: bytes) -> None:
    found = json_object(raw)
    assert found is None or found == json.loads(raw)


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists)))
def test_every_object_is_read(value: dict[str, Any]) -> None:
    assert json_object(json.dumps(value).encode()) == value


def test_tokens_are_remembered_until_others_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pulse_core.signed_tokens._REMEMBERED", 2)
    known: KnownTokens[int] = KnownTokens()
    for number, text in enumerate(("a", "b", "\ud800")):
        if number == 2:
            assert known.get("a") == 0, "asked for, and so younger than b"
        known.put(text, number)
    assert [known.get(text) for text in ("a", "b", "\ud800")] == [0, None, 2]
    known.put("a", None)
    assert known.get("a") is None
    assert "\ud800" not in str(vars(known))
