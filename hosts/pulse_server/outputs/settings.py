"""The live settings."""

from __future__ import annotations

from typing import ClassVar

from pydantic import ConfigDict

from pulse_core.settings import Settings


class SettingsNow(Settings):
    """The settings as they take effect: every one of them."""

    versioned: ClassVar[bool] = True
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)
