"""Answers, held against the OpenAPI document: whatever a route says must be what the document says of it."""

from __future__ import annotations

import json
import pathlib
import re
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import jsonschema_rs

from pulse_core.config import load_config
from pulse_core.plugins import load_plugins
from pulse_core.secrets import SecretBox
from pulse_server.web import create_app
from pulse_server.web.described import description_of
from pulse_server.web.openapi.document import document_of
from pulse_server.web.services import Services

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quart import Quart

_BUILT: dict[tuple[str, ...], Contract] = {}
_UUID = "[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
_PLAIN = {"HEAD", "OPTIONS", "TRACE", "CONNECT"}


class Path(NamedTuple):
    template: str
    pattern: re.Pattern[str]
    loosely: re.Pattern[str]


class Contract:
    """The document, compiled: which path is meant, and what each status of it must look like."""

    def __init__(self, document: dict[str, Any], pages: Iterable[tuple[str, str]] = ()) -> None:
        self.document = document
        self._pages = [(method, re.compile(_of_rule(rule))) for method, rule in pages]
        self.checked = 0
        self._paths = sorted((_path(*each) for each in document["paths"].items()), key=_parameters)
        self._validators: dict[tuple[str, str, int, str], Any] = {}

    def operation(self, method: str, path: str) -> tuple[str, dict[str, Any]] | None:
        """The template and the operation that a request is for; None for what the document does not tell of."""
        if any(method == each and pattern.fullmatch(path) for each, pattern in self._pages):
            return None
        for exactly in (True, False):
            for each in self._paths:
                if (each.pattern if exactly else each.loosely).fullmatch(path):
                    found = self.document["paths"][each.template].get(method.lower())
                    return (each.template, found) if found is not None else None
        return None

    def check(self, method: str, path: str, status: int, kind: str, raw: bytes) -> None:
        """Fail unless the document allows this answer."""
        asked = self.operation(method, path)
        if method in _PLAIN or asked is None:
            return
        where = f"{method} {asked[0]} answered {status}"
        said = asked[1]["responses"].get(str(status))
        assert said is not None, f"{where}: not in the document, which has {list(asked[1]['responses'])}; {raw[:300]!r}"
        content = _resolved(said, self.document).get("content")
        if content is None:
            assert raw == b"", f"{where}: the document knows no body, but there is one: {raw[:300]!r}"
            return
        kind = kind.partition(";")[0]
        assert kind in content, f"{where}: {kind!r} is not in the document, which has {list(content)}"
        if kind.endswith("json"):
            self._validate((method, asked[0], status, kind), content[kind]["schema"], json.loads(raw), where)

    def _validate(self, key: tuple[str, str, int, str], schema: dict[str, Any], body: Any, where: str) -> None:
        if key not in self._validators:
            whole = {**schema, "components": self.document["components"]}
            self._validators[key] = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        wrong = [f"{each.instance_path}: {each.message}" for each in self._validators[key].iter_errors(body)]
        assert wrong == [], f"{where} with a body that the document does not allow"
        self.checked += 1


@cache
def contract() -> Contract:
    """The document of a product as it is installed: for what is answered beside the web application, too."""
    return contract_of(an_app())


def an_app(*plugins: str) -> Quart:
    """The web application, with these plugins beside the usual ones; closed, so it answers nothing that needs data."""
    config = load_config(None, mode="dev", data_dir=pathlib.Path("nowhere"))
    enabled = [*config.plugins.enabled, *plugins]
    config = config.model_copy(update={"plugins": config.plugins.model_copy(update={"enabled": enabled})})
    return create_app(Services(config, SecretBox(bytes(32).hex()), load_plugins(config)))


def contract_of(app: Quart) -> Contract:
    """The document of an application; built once for all that have the same channels."""
    channels = tuple(sorted(app.extensions["services"].plugins.channels))
    if channels not in _BUILT:
        _BUILT[channels] = Contract(document_of(app), _pages_of(app))
    return _BUILT[channels]


def _pages_of(app: Quart) -> list[tuple[str, str]]:
    """The routes that are for people alone: method and rule."""
    rules = [rule for rule in app.url_map.iter_rules() if description_of(app.view_functions[rule.endpoint]) is None]
    return [(method, rule.rule) for rule in rules for method in rule.methods or ()]


def _of_rule(rule: str) -> str:
    """A rule of the URL map as a pattern."""
    parts = re.split(r"<((?:\w+:)?\w+)>", rule)
    kinds = {"uuid": _UUID, "channel": "[a-z][a-z0-9_]{0,62}", "path": ".*"}
    return "".join(
        kinds.get(part.partition(":")[0], "[^/]+") if at % 2 else re.escape(part) for at, part in enumerate(parts)
    )


def _path(template: str, operations: dict[str, Any]) -> Path:
    schemas = {
        each["name"]: each["schema"]
        for method, operation in operations.items()
        if method != "servers"
        for each in operation["parameters"]
        if each["in"] == "path"
    }
    parts = re.split(r"{(\w+)}", template)
    exact = [_of_schema(schemas[part]) if at % 2 else re.escape(part) for at, part in enumerate(parts)]
    loose = ["[^/]*" if at % 2 else re.escape(part) for at, part in enumerate(parts)]
    return Path(template, re.compile("".join(exact)), re.compile("".join(loose)))


def _of_schema(schema: dict[str, Any]) -> str:
    if schema.get("format") == "uuid":
        return _UUID
    return f"(?:{schema['pattern'].strip('^$')})" if "pattern" in schema else "[^/]+"


def _parameters(path: Path) -> tuple[int, str]:
    return path.template.count("{"), path.template


def _resolved(part: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in part:
        return part
    found: Any = document
    for step in part["$ref"].removeprefix("#/").split("/"):
        found = found[step]
    return dict(found)
