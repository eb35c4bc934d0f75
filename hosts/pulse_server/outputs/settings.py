"""The live settings."""

from __future__ import annotations

from pydantic import ConfigDict

from pulse_core.settings import Settings


class SettingsNow(Settings):
    """The settings as they take effect: every one of them."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)
