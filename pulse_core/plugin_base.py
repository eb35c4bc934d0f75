"""What every class has that a plugin registers: a name, a configuration, a self-check."""

from __future__ import annotations

from abc import ABC
from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class PluginConfig(BaseModel):
    """Base of what an operator writes under ``[plugins.<name>]``. Unknown keys are errors; docstrings are the help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True)


class Contribution(ABC):
    """What every class that a plugin registers has: a name, and the operator's configuration for it."""

    name: ClassVar[str]
    """Unique among the contributions of its kind; ``[a-z][a-z0-9_]*``."""
    summary: ClassVar[str] = ""
    """One line for people."""
    config_type: ClassVar[type[PluginConfig]] = PluginConfig
    """What ``[plugins.<name>]`` may hold for this class."""

    @classmethod
    async def check(cls, config: PluginConfig) -> None:  # noqa: ARG003 - for those that override
        """Self-check at start, with the operator's ``config`` of ``config_type``; 10 s at most.

        Raise to say what is wrong: the plugin is then shown as *failed self-check*, and the others don't notice.
        """
        return
