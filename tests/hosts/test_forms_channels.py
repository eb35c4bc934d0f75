"""The form of every bundled channel, of any configuration: what nobody touched comes back as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse_core.masking import MASK, join_secrets, masked, split_secrets, still_masked
from pulse_core.plugins import channel_schema
from pulse_server.web.forms import Form, changes
from support.browser_forms import Page
from support.channel_configs import CHANNELS, CONFIGS
from support.drawing import drawn, page, untouched


def form_of(name: str) -> Form:
    return Form(channel_schema(CHANNELS[name]), "config")


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=40)
@given(data=st.data())
def test_what_nobody_touched_comes_back_as_it_was(name: str, data: st.DataObject) -> None:
    model_type = CHANNELS[name].integration_type
    model = model_type.model_validate(data.draw(CONFIGS[name]))
    public, secrets = split_secrets(model)
    shown = masked(model_type, public)
    taken = untouched(form_of(name), shown)
    assert taken.faults == []
    assert taken.value == shown
    assert changes(shown, taken.value) == {}
    assert join_secrets(model_type, taken.value, still_masked(taken.value, secrets)) == model


@pytest.mark.parametrize("name", CONFIGS)
@settings(max_examples=40)
@given(data=st.data())
def test_what_is_typed_into_an_empty_form_makes_the_same_configuration(name: str, data: st.DataObject) -> None:
    """Typed as one would type it: field by field, from the JSON."""
    config = data.draw(CONFIGS[name].filter(_typeable))
    form = form_of(name)
    model_type = CHANNELS[name].integration_type
    engine = {"engine_id": "8000000001020304"} if name == "snmp" else {}
    blank = form.show(more=frozenset({"config.headers"}))
    empty = Page(drawn(blank))
    boxes = {box.name for box in empty.boxes}
    typed: dict[str, str | None] = {}
    for key, value in {**config, **engine}.items():
        typed.update(_typed(f"config.{key}", value, boxes))
    taken = form.take(empty.sent(typed))
    assert taken.faults == []
    assert model_type.model_validate(taken.value) == model_type.model_validate({**config, **engine})


def _typeable(config: dict[str, Any]) -> bool:
    """Without what no keyboard makes: line ends of other systems, an empty text where there may be none."""
    texts = {key: value for key, value in config.items() if isinstance(value, str)}
    return not any(
        "\r" in value or (value == "" and key not in {"from_name", "mention"}) for key, value in texts.items()
    )


def _typed(name: str, value: Any, boxes: set[str]) -> dict[str, str | None]:
    if isinstance(value, bool):
        return {name: "true" if value else None}
    if isinstance(value, list):
        return {f"{name}~lines": "\n".join(value)}
    if isinstance(value, dict):
        rows = [(f"{name}.{at}", key, each) for at, (key, each) in enumerate(value.items())]
        return {box: text for where, key, each in rows for box, text in ((f"{where}~key", key), (where, each))}
    if isinstance(value, str) and "\n" in value:
        return {name: value} if name in boxes else {}
    return {} if value is None else {name: str(value)}


@pytest.mark.parametrize("name", CONFIGS)
def test_no_secret_is_on_the_page(name: str) -> None:
    schema = channel_schema(CHANNELS[name])
    secret = "hidden-0123456789"
    value: dict[str, Any] = {
        key: secret if "'writeOnly': True" in str(each) else "x" for key, each in schema["properties"].items()
    }
    value["headers"] = {"X-Key": secret}
    assert secret not in drawn(Form(schema, "config").show(value))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_box_has_a_label_and_what_describes_it_is_there(name: str) -> None:
    found = page(form_of(name), {"headers": {"X-Key": MASK}} if name == "webhook" else {})
    ids = [attrs["id"] for _, attrs in found.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    labels = {attrs["for"] for tag, attrs in found.elements if tag == "label" and "for" in attrs}
    for box in found.boxes:
        if box.kind not in {"hidden", "radio", "checkbox"}:
            assert box.attrs["id"] in labels, box
    named = [each for _, attrs in found.elements for each in (attrs.get("aria-describedby") or "").split()]
    assert named
    assert set(named) <= set(ids)
    assert labels <= set(ids)
