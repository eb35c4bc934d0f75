"""The models of bodies and answers as the document's components."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic import BaseModel

_PAGE = re.compile(r"PageOf\[(?:\w+\.)*(\w+)[^\]]*\]")
TEMPLATE = "#/components/schemas/{model}"


class _Plain(GenerateJsonSchema):
    """Without a title for each field: it would only repeat the field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 - whatever it is
        return False

    def normalize_name(self, name: str) -> str:
        return super().normalize_name(_PAGE.sub(r"\1List", name))


class Schemas:
    """JSON Schemas that refer to each other as components. A model of which both sides differ becomes two.

    :param taken: models of bodies.
    :param answered: models of answers.
    """

    def __init__(self, taken: Iterable[type[BaseModel]], answered: Iterable[type[BaseModel]]) -> None:
        bodies = [(model, "validation") for model in _each(taken)]
        answers = [(model, "serialization") for model in _each(answered)]
        made, definitions = models_json_schema(
            [*bodies, *answers],  # type: ignore[list-item]
            ref_template=TEMPLATE,
            schema_generator=_Plain,
        )
        self.components: dict[str, Any] = dict(sorted(definitions.get("$defs", {}).items()))
        self._made = made

    def taken(self, model: type[BaseModel]) -> dict[str, Any]:
        """What a body must be."""
        return self._made[(model, "validation")]

    def answered(self, model: type[BaseModel]) -> dict[str, Any]:
        """What an answer is."""
        return self._made[(model, "serialization")]

    def parameters(self, model: type[BaseModel]) -> list[dict[str, Any]]:
        """Each field of a query model as a parameter of its own."""
        schema = model.model_json_schema(ref_template=TEMPLATE, schema_generator=_Plain)
        self.components.update(schema.pop("$defs", {}))
        required = schema.get("required", ())
        return [_parameter(name, field, required=name in required) for name, field in schema["properties"].items()]


def _each(models: Iterable[type[BaseModel]]) -> list[type[BaseModel]]:
    return list(dict.fromkeys(models))


def _parameter(name: str, field: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """A query parameter: it is there or not, but never null."""
    description = field.pop("description", "")
    if field.get("default", ...) is None:
        del field["default"]
    options = [each for each in field.pop("anyOf", ()) if each != {"type": "null"}]
    schema = {**field, **(options[0] if len(options) == 1 else {"anyOf": options} if options else {})}
    return {
        "name": name,
        "in": "query",
        "required": required,
        "schema": schema,
        **({"description": description} if description else {}),
    }
