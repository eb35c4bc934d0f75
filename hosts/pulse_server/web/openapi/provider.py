"""From the URL map and what is said of each route to the document's paths."""

from __future__ import annotations

import inspect
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from quart_schema import OpenAPIProvider
from werkzeug.routing import UUIDConverter

from pulse_core.principal import Role
from pulse_server.inputs import LONG_ID, SMALL_ID
from pulse_server.outputs.answers import ProblemDetails
from pulse_server.web.demands import demands_of
from pulse_server.web.described import Description, description_of
from pulse_server.web.openapi import access, fragments, headers, names, refusals
from pulse_server.web.openapi.schemas import Schemas

if TYPE_CHECKING:
    from collections.abc import Iterator

    from quart import Quart
    from quart_schema import QuartSchema
    from werkzeug.routing import BaseConverter, Rule

_PARAMETER = re.compile(r"<(?:[^:>]*:)?([^>]+?)_?>")
_PATTERNS = {"tenant_id": SMALL_ID, "device_id": LONG_ID}
_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class Undescribed(Exception):  # noqa: N818 - a programmer's mistake, found by the tests
    """A route does not say what it answers."""


class Provider(OpenAPIProvider):
    """quart-schema's provider, told of problems and roles, and with every model made one component."""

    def __init__(self, app: Quart, extension: QuartSchema, device_port: int) -> None:
        super().__init__(app, extension)
        self._device_port = device_port

    def schema(self) -> dict[str, Any]:
        """The document, but for what depends on the installed plugins."""
        described = [self._described(rule) for rule in self.generate_rules()]
        answers = [model for said in described for model in said.answers.values() if model is not None]
        self._schemas = Schemas(
            [*fragments.TAKEN, *(said.body for said in described if said.body is not None)],
            [ProblemDetails, *fragments.ANSWERED, *answers],
        )
        paths: dict[str, Any] = defaultdict(dict, fragments.paths(self._schemas, self._device_port))
        for rule in self.generate_rules():
            for path, operations in self.build_paths(rule)[0].items():
                paths[path].update(operations)
        return {
            "openapi": "3.1.1",
            "info": self._extension.info.schema(camelize=True) if self._extension.info else {},
            "servers": [{"url": "/", "description": "Where this document came from."}],
            "paths": dict(sorted(paths.items())),
            "components": {
                "schemas": dict(sorted(self._schemas.components.items())),
                "responses": refusals.components(),
                "securitySchemes": access.SCHEMES,
            },
        }

    def generate_rules(self) -> Iterator[Rule]:
        """Every route but pages, and the files that they are made of."""
        return (rule for rule in super().generate_rules() if rule.endpoint.split(".")[-1] != "static")

    def build_paths(self, rule: Rule) -> tuple[dict[str, Any], dict[str, Any]]:
        """What a route's methods take and answer, by path."""
        path, said = _PARAMETER.sub(r"{\1}", rule.rule), self._described(rule)
        methods = [method for method in _METHODS if method in (rule.methods or ())]
        return {path: {method.lower(): self._operation(rule, method, path, said) for method in methods}}, {}

    def build_path_parameter(self, name: str, converter: BaseConverter) -> dict[str, Any]:
        """An id, or the name of a channel."""
        if isinstance(converter, UUIDConverter):
            schema = {"type": "string", "format": "uuid"}
        else:
            schema = {"type": "string", "pattern": _PATTERNS.get(name) or f"^{converter.regex}$"}
        return {"name": name.rstrip("_"), "in": "path", "required": True, "schema": schema}

    def _described(self, rule: Rule) -> Description:
        found = description_of(self._app.view_functions[rule.endpoint])
        if found is None:
            raise Undescribed(f"{rule.rule}: say what it answers with @described, or that it is a @page")
        return found

    def _operation(self, rule: Rule, method: str, path: str, said: Description) -> dict[str, Any]:
        demands = demands_of(self._app.before_request_funcs, rule.endpoint)
        key, roles = any(demand.admin_key for demand in demands), access.roles_of(demands, method)
        if said.known:
            roles = tuple(Role)
        summary, _, more = (inspect.getdoc(self._app.view_functions[rule.endpoint]) or "").partition("\n")
        secured = bool(key or roles)
        partial = len(roles) < len(Role) and bool(roles)
        words = any(not isinstance(each, UUIDConverter) for each in rule._converters.values())  # noqa: SLF001 - as quart-schema itself
        problems = sorted(refusals.of_operation(method, path, said, key=secured, roles=partial, words=words))
        answers = {str(status): self._answer(model) for status, model in said.answers.items()}
        if said.on_condition and method == "GET":
            answers["304"] = {"description": "It is still what ``If-None-Match`` names.", "headers": headers.ETAG}
        return {
            "operationId": f"{method.lower()}_{said.name}" if said.name else names.operation_id(method, path),
            "summary": summary.rstrip("."),
            "description": "\n\n".join(filter(None, [more.strip(), access.in_words(roles, key=key)])),
            "tags": [names.tag_of(path)],
            **access.of_operation(method, roles, key=key),
            "parameters": [*self._parameters(rule, said), *headers.taken(method, said, secured=secured)],
            **({"requestBody": self._body(said)} if said.body is not None else {}),
            "responses": {**answers, **{str(status): refusals.reference(status) for status in problems}},
        }

    def _parameters(self, rule: Rule, said: Description) -> list[dict[str, Any]]:
        path = [self.build_path_parameter(name, converter) for name, converter in rule._converters.items()]  # noqa: SLF001 - as quart-schema itself
        query = self._schemas.parameters(said.query) if said.query is not None else []
        return [*path, *query]

    def _body(self, said: Description) -> dict[str, Any]:
        assert said.body is not None  # noqa: S101 - for the type checker
        content = {"application/json": {"schema": self._schemas.taken(said.body)}}
        return {"required": not said.body_optional, "content": content}

    def _answer(self, model: Any) -> dict[str, Any]:
        if model is None:
            return {"description": "Done."}
        content = {getattr(model, "media_type", "application/json"): {"schema": self._schemas.answered(model)}}
        content |= {kind: {"schema": {"type": "string"}} for kind in getattr(model, "also_as", ())}
        told = {"headers": headers.ETAG} if getattr(model, "versioned", False) else {}
        return {"description": (inspect.getdoc(model) or "").split("\n")[0], "content": content, **told}
