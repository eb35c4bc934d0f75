"""The rules that a contributed class must keep: what the plugin door checks before anything is built."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from pulse_core.api import (
    AuthProvider,
    Channel,
    Contribution,
    Evaluator,
    Ingester,
    IntegrationConfig,
    PluginConfig,
    TelemetryStore,
)
from pulse_core.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pydantic import BaseModel

NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
"""What plugins and contributions may be called: fit for TOML keys, environment variables and paths."""


class Kind(Struct, frozen=True):
    """A kind of contribution: what people call it, the hook that registers it, the class to extend."""

    noun: str
    hook: str
    base: type[Contribution]


KINDS = (
    Kind("ingester", "pulse_register_ingesters", Ingester),
    Kind("evaluator", "pulse_register_evaluators", Evaluator),
    Kind("channel", "pulse_register_channels", Channel),
    Kind("telemetry store", "pulse_register_telemetry_stores", TelemetryStore),
    Kind("auth provider", "pulse_register_auth_providers", AuthProvider),
)


def channel_schema(channel: type[Channel[Any]]) -> dict[str, Any]:
    """JSON Schema of one integration of a channel: forms, validation, masking and reference come from it.

    A secret is ``{"type": "string", "format": "password", "writeOnly": true}``.

    :raises PluginError: when the model cannot be told in JSON Schema.
    """
    try:
        return channel.integration_type.model_json_schema()
    except Exception as error:
        raise PluginError(f"the configuration of channel {channel.name!r} has no JSON Schema: {error}") from error


def check_contribution(kind: Kind, candidate: object) -> type[Contribution]:
    """Return ``candidate`` if it is a class that may be contributed as ``kind``.

    :raises PluginError: naming every rule that it breaks.
    """
    if not isinstance(candidate, type):
        raise PluginError(f"{kind.hook} must give classes; {candidate!r} is not one")
    if not issubclass(candidate, kind.base):
        raise PluginError(f"{candidate.__name__} is given to {kind.hook}, so it must extend {kind.base.__name__}")
    faults = [*_common_faults(kind, candidate), *_particular_faults(candidate)]
    if faults:
        raise PluginError("; ".join(f"{candidate.__name__}{fault}" for fault in faults))
    if issubclass(candidate, Channel):
        channel_schema(candidate)
    return candidate


def _common_faults(kind: Kind, candidate: type[Contribution]) -> Iterator[str]:
    if missing := sorted(getattr(candidate, "__abstractmethods__", ())):
        yield f" does not implement {', '.join(missing)}"
    name = getattr(candidate, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        yield f".name must be a lower-case word such as 'slack' ([a-z][a-z0-9_]*), not {name!r}"
    if not isinstance(candidate.summary, str):
        yield f".summary must be text, not {candidate.summary!r}"
    yield from _model_faults("config_type", candidate.config_type, PluginConfig)
    yield from _async_faults(kind.base, candidate)


def _particular_faults(candidate: type[Contribution]) -> Iterator[str]:
    if issubclass(candidate, Channel):
        yield from _model_faults("integration_type", getattr(candidate, "integration_type", None), IntegrationConfig)
    if issubclass(candidate, Evaluator) and not hasattr(candidate, "memory_type"):
        yield ".memory_type is missing: the type of what it remembers of a device"
    if issubclass(candidate, TelemetryStore) and not isinstance(getattr(candidate, "transactional", None), bool):
        yield ".transactional must be True or False"


def _model_faults(attribute: str, model: object, base: type[BaseModel]) -> Iterator[str]:
    if not isinstance(model, type) or not issubclass(model, base):
        yield f".{attribute} must be a subclass of {base.__name__}, not {model!r}"
        return
    settings = model.model_config
    if settings.get("extra") != "forbid" or not settings.get("frozen"):
        yield f".{attribute} must stay frozen and extra='forbid', as {base.__name__} is"


def _async_faults(base: type[Contribution], candidate: type[Contribution]) -> Iterator[str]:
    """Find methods that are async where the base's are not, or the reverse: it would fail when called."""
    for method, original in inspect.getmembers(base, inspect.isroutine):
        if method.startswith("_"):
            continue
        wanted = inspect.iscoroutinefunction(original)
        given = inspect.iscoroutinefunction(getattr(candidate, method))
        if wanted != given:
            yield f".{method} must {'' if wanted else 'not '}be async"
