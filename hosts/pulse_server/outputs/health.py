"""How a process is doing."""

from __future__ import annotations

from typing import Literal

from pulse_server.outputs.answers import Answer


class Alive(Answer):
    """The process runs."""

    status: Literal["ok"]
    role: str


class Ready(Answer):
    """Whether the process can work."""

    status: Literal["ready", "not ready"]
    role: str
    reasons: dict[str, str]
    """Why not, by what is wrong."""
