"""The plugin door: every hook there is.

All hooks are *registration* hooks: plain functions, called once at start, that return classes. The platform builds
the objects and awaits them, so nothing on the data path passes through here. Implement one with::

    from pulse_core.api import hookimpl


    @hookimpl
    def pulse_register_channels():
        return [SlackChannel]
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pulse_core.api import AuthProvider, Channel, Evaluator, Ingester, TelemetryStore

hookspec = pluggy.HookspecMarker("pulse")


@hookspec
def pulse_register_ingesters() -> Iterable[type[Ingester]]:
    """Ways in for devices: each class's ``run(intake)`` serves until the platform stops.

    Called once in every process; the pipeline builds one object of each class. What it submits to its ``intake`` is
    acknowledged to the device only when the outcome has come, for that is after the commit. Bundled examples:
    ``pulse_http`` (an ASGI app on the device port) and ``pulse_mqtt`` (a listener of its own).
    """
    return ()


@hookspec
def pulse_register_evaluators() -> Iterable[type[Evaluator[Any]]]:
    """Judges of readings: pure classes that turn readings and silence into findings.

    Called once in every process; the pipeline builds one object of each class, which judges all devices. A finding
    opens or closes an alert in the same transaction that stores the reading. Bundled example: ``pulse_heartbeat``.
    """
    return ()


@hookspec
def pulse_register_channels() -> Iterable[type[Channel[Any]]]:
    """Ways to tell somebody: each class's ``send(notification)`` delivers one alert to one integration.

    Called once in every process: the web process offers the form that the class's ``integration_type`` describes,
    the deliver process builds one object for each integration. Examples: ``pulse_webhook`` and, as a third party
    writes it, ``contrib/pulse-slack``.
    """
    return ()


@hookspec
def pulse_register_telemetry_stores() -> Iterable[type[TelemetryStore]]:
    """Places to keep readings: exactly one is active, the one that ``telemetry_store`` in the configuration names.

    Called once in every process; the pipeline writes through it, the web process reads. A store that is not
    transactional is written before the batch commits, so its writes must be idempotent. Bundled example:
    ``pulse_postgres.plugin``.
    """
    return ()


@hookspec
def pulse_register_auth_providers() -> Iterable[type[AuthProvider]]:
    """Ways to prove who one is: each class answers for the tokens of one issuer, and perhaps for passwords.

    Called once in every process; the web process builds one object of each class. A request's bearer token goes to
    the one provider whose ``issuer`` it names; whatever that refuses is answered like every other bad token. A name
    and password are shown to the providers in the order of ``plugins.enabled``, until one knows them. Bundled examples:
    ``pulse_accounts``, users in our own database, and ``pulse_oidc``, users of an OpenID provider.
    """
    return ()
