"""What callers send, checked: JSON bodies and query parameters become frozen models, or a 4xx that says why not."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError
from quart import request
from werkzeug.exceptions import HTTPException

from pulse_server.problems import field_errors

ModelT = TypeVar("ModelT", bound=BaseModel)


class Problem(HTTPException):
    """An answer of ours with a status, a detail, and perhaps the wrong fields or extra headers."""

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        errors: list[dict[str, str]] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.code = status
        self.errors = errors
        self.headers = headers or {}


class LoginNeeded(Problem):
    """Nobody has logged in: a browser is sent to do so."""


async def body_as(model: type[ModelT], *, optional: bool = False) -> ModelT:
    """The request's JSON body as ``model``.

    :param optional: an empty body counts as ``{}``.
    :raises Problem: 415 (not JSON by its content type), 400 (not JSON by its bytes), 422 (wrong fields).
    """
    raw = await _raw_body()
    if not raw and optional:
        raw = b"{}"
    elif not request.is_json:
        raise Problem(415, "send Content-Type: application/json")
    return parse_as(model, raw)


async def _raw_body() -> bytes:
    raw = await request.get_data(cache=False, as_text=False)
    return raw.encode() if isinstance(raw, str) else raw


def parse_as(model: type[ModelT], raw: bytes) -> ModelT:
    """JSON bytes as ``model``; strict JSON first (no NaN, no lone surrogates), then the model's own rules."""
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise Problem(400, "the body is nested too deeply") from error
    if bad := _unstorable(value):
        raise Problem(422, "a field cannot be stored", errors=[{"field": bad, "message": "no NUL characters"}])
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise Problem(422, "some fields are wrong", errors=field_errors(error)) from error


def json_of(value: Any) -> bytes:
    """What a form says, as the body of a program that says the same, for :func:`parse_as`."""
    return json.dumps(value).encode()


def query_as(model: type[ModelT], *, blank: bool = False) -> ModelT:
    """The query parameters as ``model``; unknown, repeated and wrong ones are 422.

    :param blank: empty ones are not given: a browser sends every field of a form.
    """
    repeated = [name for name, values in request.args.lists() if len(values) > 1]
    if repeated:
        raise Problem(422, "given more than once", errors=[{"field": n, "message": "once only"} for n in repeated])
    try:
        given = request.args.to_dict()
        return model.model_validate({name: each for name, each in given.items() if each or not blank})
    except ValidationError as error:
        raise Problem(422, "some parameters are wrong", errors=field_errors(error)) from error


def _unstorable(value: Any, path: str = "") -> str | None:
    """The path of the first text or key with a NUL character, which PostgreSQL refuses; None when all is well."""
    pending = [(path, value)]
    while pending:
        where, item = pending.pop()
        if isinstance(item, str) and "\0" in item:
            return where or "body"
        if isinstance(item, dict):
            if any("\0" in key for key in item):
                return where or "body"
            pending += [(f"{where}.{key}" if where else str(key), inner) for key, inner in item.items()]
        elif isinstance(item, list):
            pending += [(f"{where}.{index}", inner) for index, inner in enumerate(item)]
    return None
