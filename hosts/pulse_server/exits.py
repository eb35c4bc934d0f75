"""What our processes say by their exit code, as in sysexits(3)."""

from __future__ import annotations

from pulse_core.errors import ConfigError, PluginError, PulseError, SchemaError, TemporaryFailure

OK = 0
FAILED = 1
TRY_LATER = 75
"""EX_TEMPFAIL: a restart may help."""
DO_NOT_RESTART = 78
"""EX_CONFIG: the operator must change something first."""


def code_of(error: PulseError) -> int:
    """The exit code that tells a supervisor whether a restart may help."""
    if isinstance(error, ConfigError | SchemaError | PluginError):
        return DO_NOT_RESTART
    return TRY_LATER if isinstance(error, TemporaryFailure) else FAILED
