"""Which ports we take: in production those that are configured, in the demo the next free ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from pulse_core.errors import ConfigError
from pulse_server.serving import bind, is_free

if TYPE_CHECKING:
    from pulse_core.config import Config, Listen

ListenT = TypeVar("ListenT", bound="Listen")

NAMES = ("web", "device_http", "metrics_deliver")
_TRIES = 100


def demand_free(config: Config) -> None:
    """Check every port of ours before anything starts.

    :raises ConfigError: naming what is taken, and what to do.
    """
    taken = []
    for name in NAMES:
        try:
            bind(getattr(config, name), name).close()
        except ConfigError as error:
            taken.append(str(error))
    if taken:
        raise ConfigError("\n".join([*taken, "stop what listens there, or set another port (PULSE_WEB__PORT=…, say)"]))


def next_free(listen: ListenT, avoid: frozenset[int] = frozenset()) -> ListenT:
    """``listen`` itself, or the same address with the next free port."""
    if listen.port == 0:
        return listen
    for port in range(listen.port, min(listen.port + _TRIES, 65536)):
        candidate = listen.model_copy(update={"port": port})
        if port not in avoid and is_free(candidate):
            return candidate
    raise ConfigError(f"no free port from {listen.port} on")


def moved(config: Config) -> Config:
    """The configuration with every taken port moved to the next free one."""
    chosen: dict[str, Listen] = {}
    for name in NAMES:
        avoid = frozenset(listen.port for listen in chosen.values())
        chosen[name] = next_free(getattr(config, name), avoid)
    return config.model_copy(update=chosen)
