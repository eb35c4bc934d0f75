"""Where an answer leads: what has been made can be looked at, changed, tried and removed by the ids in the answer."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_PARAMETER = re.compile(r"{(\w+)}")


def add(paths: Mapping[str, Mapping[str, Any]], schemas: Mapping[str, Any]) -> None:
    """Add ``links`` to what makes something, and to lists, for what can be done with what is made, or listed first."""
    for path, operations in paths.items():
        for method, status in (("post", "201"), ("get", "200")):
            answer = operations.get(method, {}).get("responses", {}).get(status, {})
            if "application/json" not in answer.get("content", {}):
                continue
            names, place = _ids(answer["content"]["application/json"]["schema"], schemas)
            if method == "post" or "items" in place:
                found = dict(_leading_on(path, names, place, paths))
                if method == "post":
                    found |= dict(_wanting(path, names, paths, schemas))
                answer.update({"links": found} if found else {})


def _ids(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> tuple[set[str], str]:
    """The names in an answer, or in the first of its items, and where they are."""
    names = _resolved(schema, schemas).get("properties", {})
    if "items" not in names:
        return set(names), "$response.body#/"
    items = _resolved(names["items"].get("items", {}), schemas)
    return set(items.get("properties", ())), "$response.body#/items/0/"


def _leading_on(
    path: str, names: set[str], place: str, paths: Mapping[str, Mapping[str, Any]]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation of the same collection that wants ids, and has them here."""
    collection = path.partition("{")[0].rstrip("/") + "/"
    for other, operations in paths.items():
        wanted = _PARAMETER.findall(other)
        if other == path or not other.startswith(collection) or not names >= set(wanted):
            continue
        if any(name.endswith("_id") for name in wanted):
            for operation in (each for method, each in operations.items() if method != "servers"):
                given = {name: f"{place}{name}" for name in wanted}
                if any(parameter["name"] == "confirm" for parameter in operation["parameters"]):
                    given["confirm"] = f"{place}{wanted[-1]}"
                name = operation["operationId"]
                yield name, {"operationId": name, "parameters": given}


def _wanting(
    path: str, names: set[str], paths: Mapping[str, Mapping[str, Any]], schemas: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each operation of the same caller that makes something else, and wants the ids of what was made in its body."""
    for other, operations in paths.items():
        operation = operations.get("post", {})
        if other == path or "{" in other or _caller(other) != _caller(path) or "requestBody" not in operation:
            continue
        body = _resolved(operation["requestBody"]["content"]["application/json"]["schema"], schemas)
        wanted = [name for name in body.get("required", ()) if name.endswith("_id")]
        if wanted and names >= set(wanted):
            name, given = operation["operationId"], {each: f"$response.body#/{each}" for each in wanted}
            yield name, {"operationId": name, "requestBody": given}


def _caller(path: str) -> str:
    return path.removeprefix("/api").split("/")[1]


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = schemas[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    return found
