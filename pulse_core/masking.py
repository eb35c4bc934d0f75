"""Secrets of integrations: taken out of a configuration, put back, masked for people.

A configuration is stored in two parts: the public part is JSON in which every secret reads ``********``; the
secret part maps a JSON pointer (RFC 6901) to each secret's value, and is stored encrypted
(:mod:`pulse_core.secrets`).
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, TypeVar

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from pulse_core.errors import PluginError, SecretUnreadable

MASK = "********"
"""How a secret that is set reads."""

ModelT = TypeVar("ModelT", bound=BaseModel)

_SHORTEST, _SHORTEST_WORD = 4, 8
"""Masking shorter secrets, or shorter words of one, would garble texts, and tell them."""

_PROCESS_KEY = os.urandom(32)


def split_secrets(model: BaseModel) -> tuple[dict[str, Any], dict[str, Any]]:
    """Take a configuration apart: its public part, secrets masked, and its secrets by JSON pointer.

    :raises PluginError: for a secret type that JSON cannot hold; use ``SecretStr``.
    """
    public = model.model_dump(mode="json", by_alias=True)
    secrets = {"".join(f"/{_escaped(step)}" for step in path): value for path, value in _secrets(model, ())}
    for pointer, value in secrets.items():
        _put(public, pointer, MASK if value else "")
    return public, secrets


def join_secrets(
    model_type: type[ModelT], public: Mapping[str, Any], secret: Mapping[str, Any], *, context: Any = None
) -> ModelT:
    """Put a configuration together again.

    :param context: for the model's validators.
    :raises SecretUnreadable: a mask has no secret, or a secret no place.
    :raises pydantic.ValidationError: the stored configuration does not fit ``model_type`` (any more).
    """
    whole = copy.deepcopy(dict(public))
    for pointer, value in secret.items():
        _put(whole, pointer, value)
    model = model_type.model_validate(whole, context=context)
    for path, value in _secrets(model, ()):
        pointer = "".join(f"/{_escaped(step)}" for step in path)
        if value == MASK and pointer not in secret:
            raise SecretUnreadable(f"the secret at {pointer} is not stored")
    return model


def still_masked(public: Mapping[str, Any], secret: Mapping[str, Any]) -> dict[str, Any]:
    """Return the secrets whose place in an edited configuration still reads ``********``: they are to be kept."""
    return {pointer: value for pointer, value in secret.items() if _at(public, pointer) == MASK}


def masked(model_type: type[BaseModel] | None, public: Mapping[str, Any]) -> dict[str, Any]:
    """Return the public part as people may see it.

    It holds no secrets already, except where a field became secret since it was stored; those are masked
    here. ``model_type`` is None while the plugin is not there.
    """
    whole = copy.deepcopy(dict(public))
    if model_type is None:
        return whole
    schema = model_type.model_json_schema(by_alias=True)
    result: dict[str, Any] = _masked(whole, schema, schema.get("$defs", {}))
    return result


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Mask each of ``secrets`` (see :func:`secret_texts`) that stands in ``text``: a receiver may have echoed it."""
    for secret in secrets:
        text = text.replace(secret, MASK)
    return text


def secret_texts(model: BaseModel) -> list[str]:
    """List what is to be masked in texts about ``model``: its secrets, and their long words (of ``Bearer …``).

    The longest first, so that none hides a part of another.
    """
    values = [value for _, value in _secrets(model, ()) if len(value) >= _SHORTEST]
    words = [word for value in values for word in value.split() if len(word) >= _SHORTEST_WORD]
    return sorted({*values, *words}, key=len, reverse=True)


def fingerprint(model: BaseModel) -> str:
    """Name a configuration, secrets included, without telling them. Within one process only."""
    public, secret = split_secrets(model)
    text = json.dumps([public, secret], sort_keys=True)
    return hashlib.blake2b(text.encode(), key=_PROCESS_KEY, digest_size=12).hexdigest()


def _secrets(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield where each secret is and what it is, empty ones too."""
    if isinstance(value, SecretStr):
        yield path, value.get_secret_value()
    elif isinstance(value, SecretBytes | Secret):
        raise PluginError(f"/{'/'.join(path)}: use SecretStr for secrets, not {type(value).__name__}")
    elif isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from _secrets(getattr(value, name), (*path, field.serialization_alias or name))
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _secrets(item, (*path, str(key)))
    elif isinstance(value, Sequence | AbstractSet) and not isinstance(value, str | bytes):
        for index, item in enumerate(value):
            yield from _secrets(item, (*path, str(index)))


def _at(whole: Any, pointer: str) -> Any:
    """What stands at ``pointer``; None when there is no such place."""
    for step in _steps(pointer):
        try:
            whole = whole[int(step)] if isinstance(whole, list) else whole[step]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    return whole


def _steps(pointer: str) -> list[str]:
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def _put(whole: dict[str, Any], pointer: str, value: Any) -> None:
    *steps, last = _steps(pointer)
    place: Any = whole
    try:
        for step in steps:
            place = place[int(step)] if isinstance(place, list) else place[step]
        place[int(last) if isinstance(place, list) else last] = value
    except (KeyError, IndexError, TypeError, ValueError):
        raise SecretUnreadable(f"the secret at {pointer} has no place in the configuration") from None


def _escaped(step: str) -> str:
    return step.replace("~", "~0").replace("/", "~1")


def _masked(value: Any, schema: Any, defs: Mapping[str, Any]) -> Any:
    if not isinstance(schema, dict):
        return value
    if "$ref" in schema:
        return _masked(value, defs.get(str(schema["$ref"]).removeprefix("#/$defs/"), {}), defs)
    if schema.get("writeOnly"):
        return MASK if value else value
    for branch in (*schema.get("anyOf", ()), *schema.get("oneOf", ()), *schema.get("allOf", ())):
        if not (isinstance(value, dict | list) and branch.get("writeOnly")):  # that is another branch's value
            value = _masked(value, branch, defs)
    if isinstance(value, dict):
        properties, others = schema.get("properties", {}), schema.get("additionalProperties")
        return {key: _masked(item, properties.get(key, others), defs) for key, item in value.items()}
    if isinstance(value, list):
        fixed, others = schema.get("prefixItems", []), schema.get("items")
        return [_masked(item, fixed[i] if i < len(fixed) else others, defs) for i, item in enumerate(value)]
    return value
