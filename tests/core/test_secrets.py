"""Secrets of integrations: apart, encrypted, together again, and never seen."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, Secret, SecretBytes, SecretStr, ValidationError

from pulse_core.api import Channel, IntegrationConfig
from pulse_core.errors import PluginError, SecretUnreadable
from pulse_core.masking import secret_texts
from pulse_core.secrets import MASK, SecretBox, fingerprint, join_secrets, masked, redacted, split_secrets

KEY, NEW_KEY = "k" * 32, "n" * 32


class Login(BaseModel):
    user: str
    password: SecretStr


class Everything(IntegrationConfig):
    host: str = "mail.example"
    token: SecretStr
    maybe: SecretStr | None = None
    login: Login | None = None
    logins: tuple[Login, ...] = ()
    keys: tuple[SecretStr, ...] = ()
    pair: tuple[str, SecretStr] | None = None
    headers: dict[str, SecretStr] = Field({})
    nested: dict[str, dict[str, Login | SecretStr]] = Field({})
    renamed: SecretStr | None = Field(None, alias="re-named")


FULL = Everything.model_validate(
    {
        "token": "s3cret-0",
        "maybe": "s3cret-1",
        "login": {"user": "me", "password": "s3cret-2"},
        "logins": [{"user": "a", "password": "s3cret-3"}, {"user": "b", "password": ""}],
        "keys": ["s3cret-4", "s3cret-5"],
        "pair": ["open", "s3cret-6"],
        "headers": {"a/b~c": "s3cret-7", "": "s3cret-8", "0": "s3cret-9"},
        "nested": {"x": {"y": {"user": "u", "password": "s3cret-10"}, "z": "s3cret-11"}},
        "re-named": "s3cret-12",
    }
)


def test_every_secret_is_taken_out_and_put_back() -> None:
    public, secret = split_secrets(FULL)
    assert "s3cret" not in json.dumps(public)
    assert sorted(value for value in secret.values() if value) == sorted(f"s3cret-{n}" for n in range(13))
    assert public["headers"] == {"a/b~c": MASK, "": MASK, "0": MASK}
    assert public["logins"][1]["password"] == "", "nothing is masked where nothing is set"
    assert public["pair"] == ["open", MASK]
    stored = json.loads(json.dumps(public)), json.loads(json.dumps(secret))
    assert join_secrets(Everything, *stored) == FULL


_TEXTS = st.text().map(str.strip)  # as validation leaves them


@given(
    st.builds(
        Everything,
        token=_TEXTS.map(SecretStr),
        maybe=st.none() | st.just(SecretStr(MASK)),
        headers=st.dictionaries(st.text(), _TEXTS.map(SecretStr), max_size=4),
        keys=st.lists(_TEXTS.map(SecretStr), max_size=3).map(tuple),
        logins=st.just(()),
        nested=st.just({}),
        login=st.none(),
        pair=st.none(),
        host=st.just("x"),
    )
)
def test_any_configuration_survives_storage(config: Everything) -> None:
    public, secret = split_secrets(config)
    box = SecretBox(KEY)
    assert join_secrets(Everything, public, box.open(box.seal(secret))) == config


def test_a_mask_without_its_secret_is_no_secret() -> None:
    public, secret = split_secrets(FULL)
    del secret["/token"]
    with pytest.raises(SecretUnreadable, match="/token"):
        join_secrets(Everything, public, secret)


@pytest.mark.parametrize("pointer", ["/nowhere/else", "/keys/7", "/keys/x", "/host/deeper", "/logins/0/password/x"])
def test_a_secret_without_a_place_is_an_error_that_tells_nothing(pointer: str) -> None:
    public, _ = split_secrets(FULL)
    with pytest.raises(SecretUnreadable) as caught:
        join_secrets(Everything, public, {pointer: "s3cret"})
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("kind", [SecretBytes, Secret[int]])
def test_secrets_that_json_cannot_hold_are_refused_at_once(kind: Any) -> None:
    class Wrong(BaseModel):
        token: kind

    with pytest.raises(PluginError, match="SecretStr"):
        split_secrets(Wrong(token=kind(b"1" if kind is SecretBytes else 1)))


def test_masking_covers_a_field_that_became_secret_later() -> None:
    old = {
        "token": "s3cret",
        "maybe": None,
        "login": {"user": "me", "password": "s3cret"},
        "logins": [{"user": "a", "password": "s3cret"}],
        "keys": ["s3cret", ""],
        "pair": ["open", "s3cret"],
        "headers": {"A": "s3cret"},
        "nested": {"x": {"y": {"user": "u", "password": "s3cret"}, "z": "s3cret"}},
        "re-named": "s3cret",
        "unknown": 1,
    }
    before = json.dumps(old)
    shown = masked(Everything, old)
    assert "s3cret" not in json.dumps(shown)
    assert json.dumps(old) == before, "the caller's copy was changed"
    assert shown["maybe"] is None
    assert shown["keys"] == [MASK, ""]
    assert shown["pair"] == ["open", MASK]
    assert shown["login"] == {"user": "me", "password": MASK}


def test_masking_needs_no_plugin() -> None:
    public, _ = split_secrets(FULL)
    assert masked(None, public) == masked(Everything, public) == public


def test_a_box_knows_what_its_first_key_sealed() -> None:
    old, new = SecretBox(KEY), SecretBox(NEW_KEY, KEY)
    blob = old.seal({"/token": "s3cret"})
    assert (old.is_current(blob), new.is_current(blob)) == (True, False)
    again = new.reseal(blob)
    assert (old.is_current(again), new.is_current(again)) == (False, True)
    assert new.open(again) == {"/token": "s3cret"}
    assert not new.is_current(b"anything else")


def test_redaction_covers_what_a_receiver_echoes() -> None:
    text = redacted("no such token s3cret-12, s3cret-1 or s3cret-0", secret_texts(FULL))
    assert text == f"no such token {MASK}, {MASK} or {MASK}"
    short = Everything(token=SecretStr("ab"))
    assert redacted("abba", secret_texts(short)) == "abba"


# Encryption


def test_sealed_is_unreadable_and_never_twice_the_same() -> None:
    box = SecretBox(KEY)
    sealed = {box.seal({"token": "s3cret"}) for _ in range(3)}
    assert len(sealed) == 3
    assert not [blob for blob in sealed if b"s3cret" in blob]
    assert {json.dumps(box.open(blob)) for blob in sealed} == {'{"token": "s3cret"}'}


def test_a_key_is_rotated_without_losing_what_is_stored() -> None:
    old = SecretBox(KEY).seal({"a": "1"})
    both = SecretBox(NEW_KEY, KEY)
    assert both.open(old) == {"a": "1"}
    renewed = both.reseal(old)
    assert SecretBox(NEW_KEY).open(renewed) == {"a": "1"}
    with pytest.raises(SecretUnreadable):
        SecretBox(KEY).open(renewed)


@pytest.mark.parametrize("blob", [b"", b"x", b"gAAAA", b"\0" * 100])
def test_what_we_did_not_seal_is_unreadable(blob: bytes) -> None:
    with pytest.raises(SecretUnreadable):
        SecretBox(KEY).open(blob)


def test_a_tampered_secret_is_unreadable() -> None:
    sealed = bytearray(SecretBox(KEY).seal({"token": "s3cret"}))
    sealed[40] ^= 1
    with pytest.raises(SecretUnreadable):
        SecretBox(KEY).open(bytes(sealed))


# Names for configurations


class _Ring(Channel[Everything]):
    name = "ring"
    integration_type = Everything

    async def send(self, notification: Any) -> None:
        pytest.fail("only its name is asked for")


def test_configurations_that_differ_in_a_secret_only_are_different_endpoints() -> None:
    one, same, other = (Everything(token=SecretStr(text)) for text in ("s3cret-a", "s3cret-a", "s3cret-b"))
    assert _Ring.endpoint(one) == _Ring.endpoint(same) != _Ring.endpoint(other)
    assert "s3cret" not in _Ring.endpoint(one)
    assert fingerprint(one) != fingerprint(Everything(token=SecretStr("s3cret-a"), host="x"))


@pytest.mark.parametrize("fields", [{"token": ["s3cret"]}, {"token": "x", "s3cret": "s3cret"}, {"headers": "s3cret"}])
def test_a_refused_configuration_does_not_repeat_its_input(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as caught:
        Everything.model_validate(fields)
    assert "'s3cret'" not in str(caught.value)
