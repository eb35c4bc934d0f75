"""All that a plugin may import: what to extend, what to raise, what flows, and how to register.

A plugin is a module named by an entry point in the group ``pulse.plugins``. It registers classes with the hooks of
:mod:`pulse_core.hookspecs`; the platform builds the objects, awaits them, and looks after configuration, masking,
retries, time-outs, order, metrics and the outbound guard, so that a plugin holds only what is its own.
"""

from __future__ import annotations

import pluggy
from pydantic import Field, SecretStr, field_validator, model_validator

from pulse_core.channel import Channel, IntegrationConfig, Services
from pulse_core.commands import Command
from pulse_core.errors import (
    ConfigError,
    Conflict,
    EndpointGone,
    NotFound,
    OutboundRefused,
    PermanentFailure,
    PulseError,
    Rejected,
    SecretUnreadable,
    StoreUnavailable,
    TemporaryFailure,
    TooMany,
)
from pulse_core.evaluator import Evaluator, Listening
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
from pulse_core.telemetry_store import ReadingKey, StoredReading, TelemetryStore
from pulse_core.trust import check_tls_trust
from pulse_core.urls import SecretUrl, WebUrl, origin

__all__ = [
    "AUDIENCE",
    "COMMITTED",
    "RETRY_LATER",
    "Account",
    "AsgiApp",
    "AuthProvider",
    "AuthServices",
    "Channel",
    "Command",
    "ConfigError",
    "Conflict",
    "Contribution",
    "Credentials",
    "Departure",
    "Device",
    "DeviceKey",
    "DeviceStatus",
    "EndpointGone",
    "Evaluator",
    "Field",
    "Finding",
    "Ingester",
    "Intake",
    "IntegrationConfig",
    "Judgement",
    "Listening",
    "Login",
    "MsgType",
    "NotFound",
    "Notification",
    "OutboundRefused",
    "Outcome",
    "PermanentFailure",
    "PluginConfig",
    "Principal",
    "PulseError",
    "RawMessage",
    "Reading",
    "ReadingKey",
    "Reason",
    "Rejected",
    "Role",
    "SecretBox",
    "SecretStr",
    "SecretUnreadable",
    "SecretUrl",
    "Services",
    "Session",
    "Sessions",
    "Severity",
    "SigningKeys",
    "StoreUnavailable",
    "StoredKey",
    "StoredReading",
    "TelemetryStore",
    "TemporaryFailure",
    "Tokens",
    "TooMany",
    "UserDirectory",
    "Verdict",
    "WebUrl",
    "check_tls_trust",
    "field_validator",
    "hookimpl",
    "model_validator",
    "origin",
]

hookimpl = pluggy.HookimplMarker("pulse")
"""Marks a function of a plugin as the implementation of the hook it is named after."""
