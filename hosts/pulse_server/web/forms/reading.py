"""JSON Schemas, as pydantic writes them, become fields. What is not understood becomes JSON to type."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from pulse_server.web.forms.basics import ABSENT, Field, among
from pulse_server.web.forms.lists import Checks, Lines, Map, Rows
from pulse_server.web.forms.raw import Raw
from pulse_server.web.forms.scalars import Choice, Constant, Flag, Number, Secret, Text
from pulse_server.web.forms.structures import Group, Variants

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_DEEPEST = 8
_UNITS = {"s": "seconds", "ms": "milliseconds", "bytes": "bytes", "days": "days"}
_NAMES: Final = {
    name.lower(): name for name in ("API", "BCC", "CC", "HTML", "HTTP", "ID", "IP", "MQTT", "OID", "QoS", "SNMP",
                                    "TLS", "URL")
}  # fmt: skip


def field_of(schema: Any, name: str = "", *, required: bool = False) -> Field:
    """The field for a schema, whose ``$defs`` are beside it."""
    defs = schema.get("$defs", {}) if isinstance(schema, dict) else {}
    return _Reader(defs if isinstance(defs, dict) else {}).read(schema, name, required=required)


class _Reader:
    """Knows the definitions, and how deep it is."""

    def __init__(self, defs: Mapping[str, Any], within: tuple[str, ...] = ()) -> None:
        self._defs = defs
        self.within = within

    def read(self, schema: Any, name: str, *, required: bool = False) -> Field:
        """Any schema."""
        if not isinstance(schema, dict):
            return Raw(label=label_of(name, ""), required=required)
        reader, whole = self.resolved(schema)
        whole, nullable = _without_null(whole)
        reader, whole = reader.resolved(whole)
        about = {
            "label": label_of(name, _text(schema.get("title"))),
            "help": _text(whole.get("description")),
            "required": required,
            "nullable": nullable,
            "default": whole.get("default", ABSENT),
        }
        if len(reader.within) > _DEEPEST or "$ref" in whole:
            return Raw(**about)
        for make in (_alternatives, _fixed, _simple, _listed, _keyed):
            if found := make(reader, whole, about):
                return found
        return Raw(**about)

    def resolved(self, schema: dict[str, Any]) -> tuple[_Reader, dict[str, Any]]:
        """Follow references; one that leads back into itself stays."""
        reader = self
        while isinstance(ref := schema.get("$ref"), str) or _single(schema):
            if not isinstance(ref, str):
                (inner,) = schema["allOf"]
                schema = {**inner, **{key: each for key, each in schema.items() if key != "allOf"}}
                continue
            found = self._defs.get(ref.removeprefix("#/$defs/"))
            if ref in reader.within or not isinstance(found, dict):
                break
            reader = _Reader(self._defs, (*reader.within, ref))
            schema = {**found, **{key: each for key, each in schema.items() if key != "$ref"}}
        return reader, schema


def _single(schema: dict[str, Any]) -> bool:
    inner = schema.get("allOf")
    return isinstance(inner, list) and len(inner) == 1 and isinstance(inner[0], dict)


def _without_null(schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """A schema without its null, and whether it had one."""
    for key in ("anyOf", "oneOf"):
        branches = schema.get(key)
        if not isinstance(branches, list):
            continue
        others = [each for each in branches if each != {"type": "null"}]
        rest = {name: each for name, each in schema.items() if name != key}
        if len(others) == 1 and isinstance(others[0], dict):
            own = {name: each for name, each in rest.items() if name in {"title", "description", "default"}}
            return {**others[0], **own}, len(others) < len(branches)
        return {**rest, key: others}, len(others) < len(branches)
    kinds = schema.get("type")
    if isinstance(kinds, list) and "null" in kinds:
        left = [kind for kind in kinds if kind != "null"]
        return {**schema, "type": left[0] if len(left) == 1 else left}, True
    return schema, False


def _alternatives(reader: _Reader, schema: dict[str, Any], about: dict[str, Any]) -> Field | None:
    branches = schema.get("oneOf") or schema.get("anyOf")
    if not isinstance(branches, list) or not branches:
        return None
    return Variants(variants=tuple(reader.read(each, _kind_name(each)) for each in branches), **about)


def _fixed(_: _Reader, schema: dict[str, Any], about: dict[str, Any]) -> Field | None:
    values = schema.get("enum")
    if "const" in schema and not about["nullable"]:
        return Constant(value=schema["const"], **about)
    values = [schema["const"]] if "const" in schema else values
    if not isinstance(values, list) or not values:
        return None
    nullable = about["nullable"] or None in values
    names = schema.get("enumNames")
    named = isinstance(names, list) and len(names) == len(values) and all(isinstance(each, str) for each in names)
    chosen = [at for at, each in enumerate(values) if each is not None]
    return Choice(
        values=tuple(values[at] for at in chosen),
        labels=tuple(names[at] for at in chosen) if names and named else (),
        **{**about, "nullable": nullable},
    )


def _simple(_: _Reader, schema: dict[str, Any], about: dict[str, Any]) -> Field | None:
    kind = schema.get("type")
    if kind == "string":
        longest = _count(schema.get("maxLength"))
        if schema.get("writeOnly") or schema.get("format") == "password":
            return Secret(longest=longest, **about)
        return Text(
            format=_text(schema.get("format")), shortest=_count(schema.get("minLength")), longest=longest, **about
        )
    if kind in ("integer", "number"):
        return _number(schema, about, whole=kind == "integer")
    if kind == "boolean":
        if about["nullable"]:
            return Choice(values=(True, False), labels=("yes", "no"), **about)
        return Flag(**about)
    return None


def _number(schema: dict[str, Any], about: dict[str, Any], *, whole: bool) -> Number:
    least, most = _bound(schema.get("minimum")), _bound(schema.get("maximum"))
    above, below = _bound(schema.get("exclusiveMinimum")), _bound(schema.get("exclusiveMaximum"))
    by = int(whole)
    if above is not None:
        least = above + by
    if below is not None:
        most = below - by
    return Number(whole=whole, least=least, most=most, step=_bound(schema.get("multipleOf")), **about)


def _listed(reader: _Reader, schema: dict[str, Any], about: dict[str, Any]) -> Field | None:
    items = schema.get("items")
    if schema.get("type") != "array" or not isinstance(items, dict) or "prefixItems" in schema:
        return None
    item = reader.read(items, "item", required=True)
    most = _count(schema.get("maxItems"))
    if isinstance(item, Choice) and not item.nullable:
        # Boxes to tick cannot hold a value twice, which a list may.
        return Checks(item=item, **about) if schema.get("uniqueItems") else Lines(item=item, most=most, **about)
    if isinstance(item, Text | Number) and not item.nullable:
        return Lines(item=item, most=most, **about)
    return Rows(item=item, most=most, **about)


def _keyed(reader: _Reader, schema: dict[str, Any], about: dict[str, Any]) -> Field | None:
    if schema.get("type") != "object":
        return None
    properties, others = schema.get("properties"), schema.get("additionalProperties")
    if isinstance(properties, dict) and properties and not isinstance(others, dict):
        needed = schema.get("required") if isinstance(schema.get("required"), list) else []
        fields = {key: reader.read(each, key, required=among(key, needed or [])) for key, each in properties.items()}
        group: Callable[..., Field] = Group
        if not about["nullable"]:
            return group(fields=fields, closed=others is False, **about)
        plain = {**about, "nullable": False, "default": ABSENT, "help": "", "required": True}
        return Variants(variants=(group(fields=fields, closed=others is False, **plain),), **about)
    if isinstance(others, dict) and not properties:
        item = reader.read(others, "value", required=True)
        if isinstance(item, Text | Secret | Number | Flag | Choice):
            return Map(item=item, most=_count(schema.get("maxProperties")), **about)
    return None


def label_of(name: str, title: str) -> str:
    """What people call a field: its own title, or its name in words (``timeout_s``: Timeout (seconds))."""
    words = name.split("_")
    if title and title.lower() != " ".join(words).lower():
        return title
    unit = _UNITS.get(words[-1]) if len(words) > 1 else None
    words = [_NAMES.get(word.lower(), word) for word in (words[:-1] if unit else words)]
    text = " ".join(words)
    return text[:1].upper() + text[1:] + (f" ({unit})" if unit else "")


def _kind_name(schema: Any) -> str:
    """What to call one of several kinds of value."""
    if not isinstance(schema, dict):
        return "anything"
    name = schema.get("$ref") or schema.get("format") or schema.get("type") or schema.get("const") or "anything"
    words = {"string": "text", "integer": "number", "boolean": "yes or no", "array": "list", "password": "secret"}
    return words.get(str(name), re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name).rpartition("/")[2]))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 2**31 - 1 else None


def _bound(value: Any) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
