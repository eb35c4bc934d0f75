"""All that a plugin may import: what to extend, what to raise, what flows, and how to register.

A plugin is a module named by an entry point in the group ``pulse.plugins``. It registers classes with the hooks of
:mod:`pulse_core.hookspecs`; the platform builds the objects, awaits them, and looks after configuration, masking,
retries, time-outs, order, metrics and the outbound guard, so that a plugin holds only what is its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy
from pydantic import Field, SecretStr, field_validator, model_validator

from pulse_core.channel import Channel, IntegrationConfig, Services
from pulse_core.commands import Command
from pulse_core.device_connections import ConnectionEvent, Ending
from pulse_core.device_sessions import LONGEST_CLIENT_ID, LONGEST_FILTER, MOST_SUBSCRIPTIONS
from pulse_core.errors import (
    ConfigError,
    Conflict,
    EndpointGone,
    NotFound,
    OutboundRefused,
    PermanentFailure,
    PulseError,
    ReadingsRefused,
    Rejected,
    SecretUnreadable,
    StoreUnavailable,
    TemporaryFailure,
    TooMany,
)
from pulse_core.evaluator import Evaluator, Listening
from pulse_core.handshake import secured
from pulse_core.identity import (
    AUDIENCE,
    Account,
    AuthProvider,
    AuthServices,
    Departure,
    Login,
    Session,
    Sessions,
    SigningKeys,
    StoredKey,
    TenantStates,
    Tokens,
    UserDirectory,
)
from pulse_core.ingester import AsgiApp, Credentials, Ingester, Intake
from pulse_core.plugin_base import Contribution, PluginConfig
from pulse_core.principal import Principal, Role
from pulse_core.records import (
    COMMITTED,
    RETRY_LATER,
    Device,
    DeviceKey,
    DeviceStatus,
    Finding,
    Judgement,
    MsgType,
    Notification,
    Outcome,
    RawMessage,
    Reading,
    Reason,
    Severity,
    Verdict,
)
from pulse_core.secrets import SecretBox
from pulse_core.series import Aggregate, Series, SeriesSet
from pulse_core.signed_tokens import KnownTokens, SignedToken, taken_apart
from pulse_core.strict_json import json_object
from pulse_core.telemetry_store import (
    LatestValue,
    Place,
    ReadingKey,
    SelectedReading,
    Selection,
    Size,
    StoredReading,
    TelemetryStore,
)
from pulse_core.trust import check_tls_trust, client_to
from pulse_core.urls import SecretUrl, WebUrl, origin

if TYPE_CHECKING:  # for annotations: who needs no HTTP need not wait for its import
    from pulse_core.outbound import HttpAnswer as HttpAnswer  # noqa: PLC0414 - that is how it is given on
    from pulse_core.outbound import HttpClient as HttpClient  # noqa: PLC0414

__all__ = [
    "AUDIENCE",
    "COMMITTED",
    "LONGEST_CLIENT_ID",
    "LONGEST_FILTER",
    "MOST_SUBSCRIPTIONS",
    "RETRY_LATER",
    "Account",
    "Aggregate",
    "AsgiApp",
    "AuthProvider",
    "AuthServices",
    "Channel",
    "Command",
    "ConfigError",
    "Conflict",
    "ConnectionEvent",
    "Contribution",
    "Credentials",
    "Departure",
    "Device",
    "DeviceKey",
    "DeviceStatus",
    "Ending",
    "EndpointGone",
    "Evaluator",
    "Field",
    "Finding",
    "Ingester",
    "Intake",
    "IntegrationConfig",
    "Judgement",
    "KnownTokens",
    "LatestValue",
    "Listening",
    "Login",
    "MsgType",
    "NotFound",
    "Notification",
    "OutboundRefused",
    "Outcome",
    "PermanentFailure",
    "Place",
    "PluginConfig",
    "Principal",
    "PulseError",
    "RawMessage",
    "Reading",
    "ReadingKey",
    "ReadingsRefused",
    "Reason",
    "Rejected",
    "Role",
    "SecretBox",
    "SecretStr",
    "SecretUnreadable",
    "SecretUrl",
    "SelectedReading",
    "Selection",
    "Series",
    "SeriesSet",
    "Services",
    "Session",
    "Sessions",
    "Severity",
    "SignedToken",
    "SigningKeys",
    "Size",
    "StoreUnavailable",
    "StoredKey",
    "StoredReading",
    "TelemetryStore",
    "TemporaryFailure",
    "TenantStates",
    "Tokens",
    "TooMany",
    "UserDirectory",
    "Verdict",
    "WebUrl",
    "check_tls_trust",
    "client_to",
    "field_validator",
    "hookimpl",
    "json_object",
    "model_validator",
    "origin",
    "secured",
    "taken_apart",
]

hookimpl = pluggy.HookimplMarker("pulse")
"""Marks a function of a plugin as the implementation of the hook it is named after."""
