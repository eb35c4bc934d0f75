"""What devices are answered over HTTP."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pulse_server.outputs.answers import Answer, ProblemDetails


class Accepted(Answer):
    """The message is committed, with everything it caused."""

    status: Literal["accepted"]


class BatchResult(Answer):
    """What became of one message of a batch."""

    index: int = Field(ge=0)
    status: Literal["accepted", "rejected", "retry"]
    reason: str | None = None
    """Why it was rejected; UNAUTHORIZED for whatever a stranger must not know."""


class BatchAnswer(Answer):
    """What became of each message of a batch."""

    accepted: int = Field(ge=0)
    rejected: int = Field(ge=0)
    results: list[BatchResult]


class BatchProblem(ProblemDetails):
    """Not every message was decided."""

    accepted: int | None = Field(None, ge=0)
    rejected: int | None = Field(None, ge=0)
    results: list[BatchResult] | None = None
