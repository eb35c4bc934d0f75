"""Forms as people fill them in: what is kept, removed, added, chosen, wrong, and told."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field as Limits
from pydantic import SecretStr, ValidationError

from pulse_core.api import IntegrationConfig
from pulse_core.masking import MASK
from pulse_core.plugins import channel_schema
from pulse_server.problems import field_errors
from pulse_server.web.forms import Fault, Form, changes
from support.channel_configs import CHANNELS
from support.drawing import drawn, filled, page, untouched


class Basic(IntegrationConfig):
    """With a password."""

    kind: Literal["basic"] = "basic"
    user: str
    password: SecretStr


class Bearer(IntegrationConfig):
    """With a token."""

    kind: Literal["bearer"] = "bearer"
    token: SecretStr
    password: str = ""


class Step(IntegrationConfig):
    after_s: int = Limits(ge=0, le=600)
    key: SecretStr | None = None


class Everything(IntegrationConfig):
    """What a third party may ask for."""

    auth: Annotated[Basic | Bearer, Limits(discriminator="kind")] | None = None
    size: int | str = 3
    steps: list[Step] = Limits([], max_length=3)
    weights: list[float] = Limits([])
    days: set[Literal["mon", "tue", "wed"]] = Limits(set())
    labels: dict[str, str] = Limits({})
    ratio: float | None = Limits(None, gt=0, le=1)
    sure: bool | None = None
    tls: Basic | None = None
    extra: dict[str, Any] = Limits({})
    keys: list[SecretStr] = Limits([])


EVERYTHING = Form(Everything.model_json_schema(by_alias=True), "config")
STORED: dict[str, Any] = {
    "auth": {"kind": "basic", "user": "u", "password": MASK},
    "size": "big",
    "steps": [{"after_s": 5, "key": MASK}, {"after_s": 10, "key": None}],
    "weights": [1.0, 2.5],
    "days": ["tue", "mon"],
    "labels": {"a": "b"},
    "ratio": 0.5,
    "sure": True,
    "tls": None,
    "extra": {"deep": [1, {"x": None}]},
    "keys": [MASK, MASK],
}
WEBHOOK = Form(channel_schema(CHANNELS["webhook"]), "config")
HOOK = {"url": "https://x.example", "secret": MASK, "previous_secret": MASK, "headers": {"A.b": MASK, "C": MASK}}


def test_everything_comes_back() -> None:
    assert untouched(EVERYTHING, STORED).value == STORED
    blank = untouched(EVERYTHING).value
    assert Everything.model_validate(blank) == Everything()


def test_a_secret_stays_is_replaced_or_is_removed() -> None:
    assert filled(WEBHOOK, HOOK, config__secret="new").value == {**HOOK, "secret": "new"}
    removed = filled(WEBHOOK, HOOK, **{"config.previous_secret~remove": "1"}).value
    assert changes(HOOK, removed) == {"previous_secret": None}
    assert "config.secret~remove" not in {box.name for box in page(WEBHOOK, HOOK).boxes}


def test_headers_are_added_changed_and_removed() -> None:
    more = filled(WEBHOOK, HOOK, **{"config.headers.2~key": " New ", "config.headers.2": "v"}).value
    assert changes(HOOK, more) == {"headers": {"New": "v"}}
    fewer = filled(WEBHOOK, HOOK, **{"config.headers.0~remove": "1", "config.headers.1": "other"}).value
    assert changes(HOOK, fewer) == {"headers": {"A.b": None, "C": "other"}}
    twice = filled(WEBHOOK, HOOK, **{"config.headers.2~key": "C", "config.headers.2": "v"})
    assert [fault.field for fault in twice.faults] == ["config.headers"]
    nameless = filled(WEBHOOK, HOOK, **{"config.headers.2": "v"})
    assert [fault.field for fault in nameless.faults] == ["config.headers"]


def test_more_rows_are_asked_for_and_given() -> None:
    sent = page(WEBHOOK, HOOK).sent({"config.headers.2~key": "X", "config.headers.2": "v"})
    sent.add("~more", "config.headers")
    taken = WEBHOOK.take(sent, HOOK)
    assert taken.more == {"config.headers"}
    boxes = {box.name for box in page(WEBHOOK, taken.value, more=taken.more).boxes}
    assert {"config.headers.8~key", "config.headers.2~key"} <= boxes
    assert "config.headers.9~key" not in boxes


def test_one_of_several_kinds_is_chosen() -> None:
    bearer = {"config.auth~kind": "1", "config.auth~v1.token": "t"}
    assert filled(EVERYTHING, STORED, **bearer).value["auth"] == {"kind": "bearer", "token": "t", "password": ""}
    none = filled(EVERYTHING, STORED, **{"config.auth~kind": "none"}).value
    assert changes(STORED, none) == {"auth": None}
    assert filled(EVERYTHING, STORED, **{"config.size~kind": "0", "config.size~v0": "7"}).value["size"] == 7
    added = filled(EVERYTHING, STORED, **{"config.tls~kind": "0", "config.tls~v0.user": "u"}).value["tls"]
    assert added == {"kind": "basic", "user": "u"}


def test_of_an_alternative_that_is_not_chosen_nothing_must_be_filled_in() -> None:
    boxes = {box.name: box for box in page(EVERYTHING).boxes}
    assert "required" not in boxes["config.auth~v0.user"].attrs
    assert "required" not in boxes["config.steps.0.after_s"].attrs
    assert "required" in {box.name: box for box in page(WEBHOOK).boxes}["config.url"].attrs


def test_rows_are_added_and_removed() -> None:
    added = filled(EVERYTHING, STORED, **{"config.steps.2.after_s": "60"}).value["steps"]
    assert added == [*STORED["steps"], {"after_s": 60}]
    assert "config.steps.3.after_s" not in {box.name for box in page(EVERYTHING, {**STORED, "steps": added}).boxes}
    last = filled(EVERYTHING, STORED, **{"config.steps.1~remove": "1"})
    assert (last.value["steps"], last.faults) == (STORED["steps"][:1], [])


def test_a_stored_secret_never_moves_to_another_row() -> None:
    """The API keeps secrets by their place: the second one would become what the first one was."""
    stored = {**STORED, "steps": [{"after_s": 1, "key": None}, {"after_s": 2, "key": MASK}]}
    taken = filled(EVERYTHING, stored, **{"config.steps.0~remove": "1"})
    assert [fault.field for fault in taken.faults] == ["config.steps.0"]
    assert taken.value["steps"] == [{"after_s": 2}]
    again = EVERYTHING.take(page(EVERYTHING, taken.value).sent(), {**STORED, "steps": [{"after_s": 1, "key": MASK}]})
    assert again.value["steps"] == [{"after_s": 2}]
    moved = filled(EVERYTHING, STORED, **{"config.keys.0~remove": "1"})
    assert [fault.field for fault in moved.faults] == ["config.keys.0"]
    assert MASK not in moved.value["keys"]


def test_lists_boxes_and_json() -> None:
    typed = {
        "config.weights~lines": " 3 \n\n0.25\nmany",
        "config.extra~json": '{"a": [1]}',
        "config.sure": "false",
        "config.days": None,
        "config.ratio": "",
    }
    value = filled(EVERYTHING, STORED, **typed).value
    assert value["weights"] == [3, 0.25, "many"]
    assert (value["extra"], value["sure"], value["days"]) == ({"a": [1]}, False, [])
    assert changes(STORED, value)["ratio"] is None


@pytest.mark.parametrize("text", ["{", "NaN", '{"a": 1} x', "[" * 5000, "\ud800"])
def test_what_is_no_json_is_told_and_shown_again(text: str) -> None:
    taken = filled(EVERYTHING, STORED, **{"config.extra~json": text})
    assert [fault.field for fault in taken.faults] == ["config.extra"]
    if text.isprintable():
        boxes = {box.name: box.value for box in page(EVERYTHING, taken.value, taken.faults).boxes}
        assert boxes["config.extra~json"] == text


def test_the_complaints_of_the_api_stand_beside_their_fields() -> None:
    wrong = {
        "auth": {"kind": "basic", "user": 3},
        "steps": [{"after_s": 1}, {"after_s": 7000}],
        "weights": [1.0, "x"],
        "ratio": 5,
        "labels": {"a.b": 4},
        "more": 1,
    }
    with pytest.raises(ValidationError) as raised:
        Everything.model_validate(wrong)
    faults = [Fault(each["field"], each["message"]) for each in field_errors(raised.value, ["config"])]
    shown = EVERYTHING.show(wrong, [*faults, Fault("name", "too long"), Fault("config", "not so")])
    told = [(each.id, each.label) for each in shown.faults]
    assert told == [
        ("f-config.auth~v0.user", "Auth: User"),
        ("f-config.auth~v0.password", "Auth: Password"),
        ("f-config.steps.1.after_s", "Steps: Item 2: After (seconds)"),
        ("f-config.weights", "Weights"),
        ("f-config.labels.0", "Labels: Value of a.b"),
        ("f-config.ratio", "Ratio"),
        ("", ""),
        ("", ""),
        ("", ""),
    ]
    messages = [each.message for each in shown.faults]
    assert messages[3].startswith("line 2: ")
    assert messages[-3:] == ["config.more: Extra inputs are not permitted", "name: too long", "not so"]
    html = drawn(shown)
    assert html.index('role="alert"') < html.index("<fieldset")
    found = page(EVERYTHING, wrong, faults)
    marked = {attrs["id"] for _, attrs in found.elements if attrs.get("aria-invalid") == "true"}
    assert marked == {place for place, _ in told if place}
    links = {(attrs["href"] or "").removeprefix("#") for tag, attrs in found.elements if tag == "a"}
    assert links == marked
    for _, attrs in found.elements:
        if attrs.get("aria-invalid"):
            assert f"{attrs['id']}:fault" in str(attrs["aria-describedby"]).split()


def test_limits_become_those_of_the_boxes() -> None:
    boxes = {box.name: box.attrs for box in page(EVERYTHING, STORED).boxes}
    after = boxes["config.steps.0.after_s"]
    assert (after["type"], after["min"], after["max"], after["step"]) == ("number", "0", "600", "1")
    assert (boxes["config.ratio"]["min"], boxes["config.ratio"]["max"]) == ("0", "1")
    assert boxes["config.ratio"]["step"] == "any"
    email = {box.name: box.attrs for box in page(Form(channel_schema(CHANNELS["email"]), "config")).boxes}
    assert (email["config.from_address"]["type"], email["config.from_address"]["maxlength"]) == ("email", "254")
    assert email["config.html_template"]["maxlength"] == "20000"
    snmp = page(Form(channel_schema(CHANNELS["snmp"]), "config"))
    assert {"Engine ID", "Timeout (seconds)", "OID prefix"} <= {text.strip() for text in snmp.texts}


def test_a_form_that_is_cut_short_changes_nothing() -> None:
    """Fields that were not sent at all are as they were."""
    from werkzeug.datastructures import MultiDict

    assert EVERYTHING.take(MultiDict({"config.ratio": "0.25"}), STORED).value == {**STORED, "ratio": 0.25}
