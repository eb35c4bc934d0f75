"""Forms of any schema, with any value: nothing is lost, nothing runs, and strange schemas still make a form."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulse_core.masking import MASK
from pulse_server.web.forms import Form, changes
from support.drawing import drawn, page, untouched

_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_key = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6)
_int = st.integers(-(2**63), 2**63)
_number = st.floats(allow_nan=False, allow_infinity=False)
_json = st.recursive(
    st.none() | st.booleans() | _int | _number | _text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_key, inner, max_size=3),
    max_leaves=6,
)

Pair = tuple[dict[str, Any], st.SearchStrategy[Any]]
"""A schema, and values that fit it."""


def _enum(values: list[Any]) -> Pair:
    return {"enum": values}, st.sampled_from(values)


_leaf: st.SearchStrategy[Pair] = st.one_of(
    st.just(({"type": "string"}, _text)),
    st.just(({"type": "string", "maxLength": 5000}, _text)),
    st.sampled_from(["email", "uri", "date"]).map(lambda each: ({"type": "string", "format": each}, _text)),
    st.just(({"type": "string", "writeOnly": True, "format": "password"}, st.sampled_from([MASK, ""]))),
    st.just(({"type": "integer"}, _int)),
    st.just(({"type": "number"}, _number | _int)),
    st.just(({"type": "boolean"}, st.booleans())),
    st.just(({}, _json)),
    st.lists(_text, min_size=1, max_size=4, unique=True).map(_enum),
    st.just(_enum([1, 2, 3, 10])),
    st.just(_enum(["1", 1, True])),
    st.just(({"enum": [4, None, 5], "enumNames": ["MAJOR", "none", "MAJOR"]}, st.sampled_from([4, 5]))),
    _text.map(lambda text: ({"const": text}, st.just(text))),
)


def _compound(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    return st.one_of(
        inner.map(lambda pair: ({"type": "array", "items": pair[0]}, st.lists(pair[1], max_size=3))),
        inner.map(
            lambda pair: (
                {"type": "array", "items": pair[0], "uniqueItems": True},
                st.lists(pair[1], max_size=3, unique_by=repr),
            )
        ),
        inner.map(
            lambda pair: (
                {"type": "object", "additionalProperties": pair[0]},
                st.dictionaries(_key, pair[1], max_size=3),
            )
        ),
        inner.map(lambda pair: ({"anyOf": [pair[0], {"type": "null"}], "default": None}, st.none() | pair[1])),
        st.lists(inner, min_size=2, max_size=3).map(
            lambda pairs: ({"anyOf": [pair[0] for pair in pairs]}, st.one_of(*(pair[1] for pair in pairs)))
        ),
        _object(inner),
    )


def _object(inner: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    return st.dictionaries(_key, inner, min_size=1, max_size=3).map(
        lambda fields: (
            {
                "type": "object",
                "properties": {key: pair[0] for key, pair in fields.items()},
                "required": list(fields)[::2],
                "additionalProperties": False,
            },
            st.fixed_dictionaries({key: pair[1] for key, pair in fields.items()}),
        )
    )


schemas = _object(st.recursive(_leaf, _compound, max_leaves=5))


@settings(max_examples=120)
@given(pair=schemas, data=st.data())
def test_what_nobody_touched_comes_back_as_it_was(pair: Pair, data: st.DataObject) -> None:
    schema, values = pair
    value = data.draw(values)
    taken = untouched(Form(schema, "config"), value)
    assert _told(taken.value) == _told(value)
    assert taken.faults == []


@given(pair=schemas)
def test_an_untouched_empty_form_is_steady(pair: Pair) -> None:
    """Shown again with what came back, it comes back the same."""
    form = Form(pair[0])
    first = untouched(form)
    assert first.faults == []
    assert _told(untouched(form, first.value).value) == _told(first.value)


@given(before=st.dictionaries(_key, _json, max_size=4), after=st.dictionaries(_key, _json, max_size=4))
def test_changes_are_a_merge_patch(before: dict[str, Any], after: dict[str, Any]) -> None:
    after = _without_nulls(after)  # which a merge patch cannot say
    assert _told(_merged(before, changes(before, after))) == _told(after)


def _told(value: Any) -> str:
    """What is the same, and nothing else, tells the same: true is not 1, nor is 1.0."""
    return json.dumps(value, sort_keys=True)


def _without_nulls(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _without_nulls(each) for key, each in value.items() if each is not None}


def _merged(whole: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(whole) if isinstance(whole, dict) else {}
    for key, each in patch.items():
        if each is None:
            result.pop(key, None)
        else:
            result[key] = _merged(result.get(key), each)
    return result


EVIL = [
    "<script>document.title='owned'</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "</textarea><script>alert(1)</script>",
    "</title></style></select></option><svg onload=alert(1)>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% raw %}",
    "`<b>`*<i>*``<u>``",
    "&lt;script&gt;&#x3c;",
    "\u2028</script><!--",
    " onmouseover=alert(1) ",
]
TAGS = {"div", "h2", "ul", "li", "a", "p", "code", "em", "label", "input", "textarea", "select", "option", "fieldset",
        "legend", "span", "button"}  # fmt: skip
ATTRIBUTES = {"id", "name", "value", "type", "class", "for", "href", "role", "tabindex", "rows", "min", "max", "step",
              "minlength", "maxlength", "checked", "selected", "required", "readonly", "hidden", "formnovalidate",
              "autocomplete", "spellcheck", "aria-describedby", "aria-invalid", "aria-labelledby"}  # fmt: skip


def hostile(evil: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A schema with a hostile text wherever one can stand, and a value."""
    about = {"title": evil, "description": evil}
    parts: dict[str, Any] = {
        "text": {"type": "string", "format": evil, "default": evil},
        "secret": {"type": "string", "writeOnly": True},
        "integer": {"type": "integer", "minimum": evil, "maximum": evil, "multipleOf": evil},
        "choice": {"enum": [evil, "other"]},
        "list": {"enum": [evil, "b", "c", "d", "e"]},
        "named": {"enum": [1, 2], "enumNames": [evil, evil]},
        "flag": {"type": "boolean", "default": evil},
        "lines": {"type": "array", "items": {"type": "string"}, "maxItems": evil},
        "rows": {"type": "array", "items": {"type": "object", "properties": {evil: {"type": "string", **about}}}},
        "map": {"type": "object", "additionalProperties": {"type": "string", **about}},
        "secrets": {"type": "object", "additionalProperties": {"type": "string", "writeOnly": True}},
        "union": {"anyOf": [{"$ref": f"#/$defs/{evil}"}, {"type": evil}, {"const": evil, **about}]},
        "json": {"type": evil, "pattern": evil},
        "checks": {"type": "array", "uniqueItems": True, "items": {"enum": [evil, "b"]}},
        evil: {"type": "string"},
    }
    schema = {
        "type": "object",
        **about,
        "properties": {key: {**about, **part} for key, part in parts.items()},
        "required": [evil],
        "$defs": {
            evil: {"type": "object", **about, "properties": {evil: {"type": "string", "maxLength": evil, **about}}}
        },
    }
    value = {
        "text": evil, "secret": MASK, "integer": evil, "choice": evil, "list": f"unknown {evil}", "named": 2,
        "flag": evil, "lines": [evil, "b"], "rows": [{evil: evil}], "map": {evil: evil}, "secrets": {evil: MASK},
        "union": {evil: evil}, "json": {evil: [evil]}, "checks": [evil], evil: evil,
    }  # fmt: skip
    return schema, value


@pytest.mark.parametrize("evil", EVIL)
def test_nothing_hostile_becomes_part_of_the_page(evil: str) -> None:
    from pulse_server.web.forms import Fault

    schema, value = hostile(evil)
    form = Form(schema, "config")
    for shown in (value, dict.fromkeys(value, evil), {}):
        faults = [Fault(f"config.{key}", evil) for key in value] + [Fault(evil, evil)]
        found = page(form, shown, faults)
        assert {tag for tag, _ in found.elements} <= TAGS
        assert {name for _, attrs in found.elements for name in attrs} <= ATTRIBUTES
        hrefs = [attrs["href"] for tag, attrs in found.elements if tag == "a"]
        assert hrefs
        assert all(href is not None and href.startswith("#f-") for href in hrefs)
        assert " ".join(evil.replace("`", "").replace("*", "").split()) in " ".join(
            "".join(found.texts).replace("`", "").replace("*", "").split()
        )
    fitting = {**value, "integer": 1, "flag": False}
    assert untouched(form, fitting).value == fitting


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "object"},
        {"type": "object", "properties": []},
        {"type": "object", "properties": {"a": None, "b": True, "c": [], "d": {"type": ["string", "integer"]}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/none"}, "b": {"$ref": 7}}},
        {"$defs": {"N": {"type": "object", "properties": {"n": {"$ref": "#/$defs/N"}}}}, "$ref": "#/$defs/N"},
        {"$defs": {"N": {"$ref": "#/$defs/N"}}, "$ref": "#/$defs/N"},
        {"$defs": [], "type": "object", "properties": {"a": {"allOf": [{"type": "string"}]}}},
        {"type": "object", "properties": {"a": {"enum": []}, "b": {"anyOf": []}, "c": {"oneOf": [7]}}},
        {"type": "object", "properties": {"a": {"enum": ["x", "y"], "enumNames": ["one"]}}},
        {"type": "object", "properties": {"a": {"enum": ["x", "y"], "enumNames": {"x": "one"}}}},
        {"type": "object", "properties": {"a": {"type": "array"}, "b": {"type": "array", "prefixItems": []}}},
    ],
)
def test_a_strange_schema_makes_a_form_all_the_same(schema: dict[str, Any]) -> None:
    form = Form(schema)
    assert drawn(form.show())
    value: dict[str, Any] = {"a": "x", "b": 1.5, "n": {"n": {"n": [None, "x"]}}}
    if schema.get("properties"):
        value = {key: value[key] for key in schema["properties"] if key in value}
    assert untouched(form, value).value == value
