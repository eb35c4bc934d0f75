"""The plugin door: every hook there is.

All hooks are *registration* hooks: plain functions, called once at start, that return classes. The platform builds
the objects and awaits them, so nothing on the data path passes through here. Implement one with::

    from pulse_core.api import hookimpl

    @hookimpl
    def pulse_register_channels():
        return [SlackChannel]
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulse_core.api import Channel, Evaluator, Ingester, TelemetryStore

hookspec = pluggy.HookspecMarker("pulse")


@hookspec
def pulse_register_ingesters() -> Iterable[type[Ingester]]:
    """Ways in for devices: each class's ``run(intake)`` serves until the platform stops."""
    return ()


@hookspec
def pulse_register_evaluators() -> Iterable[type[Evaluator]]:  # type: ignore[type-arg]
    """Judges of readings: pure classes that turn readings and silence into findings."""
    return ()


@hookspec
def pulse_register_channels() -> Iterable[type[Channel]]:  # type: ignore[type-arg]
    """Ways to tell somebody: each class's ``send(notification)`` delivers one alert to one integration."""
    return ()


@hookspec
def pulse_register_telemetry_stores() -> Iterable[type[TelemetryStore]]:
    """Places to keep readings: exactly one is active."""
    return ()
