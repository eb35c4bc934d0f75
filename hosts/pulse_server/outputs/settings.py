"""The live settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict

from pulse_core.settings import Settings
from pulse_server.outputs.answers import Answer, Time


class SettingsNow(Settings):
    """The settings as they take effect: every one of them."""

    versioned: ClassVar[bool] = True
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class SettingChange(Answer):
    """The last change of a setting."""

    name: str
    by: str
    """Who made it, as ``user:ada``."""
    at: Time


class SettingChanges(Answer):
    """Of every setting that was ever changed the last change, by name."""

    items: list[SettingChange]
