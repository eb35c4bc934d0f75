"""What every answer has in common, and the answers that belong to no one subject."""

from __future__ import annotations

from typing import Any, ClassVar, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, RootModel

ItemT = TypeVar("ItemT")

Time = AwareDatetime
"""ISO 8601 in UTC."""


class Answer(BaseModel):
    """A JSON answer. The models describe; what is answered is built and encoded without them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Versioned(Answer):
    """An object that people edit."""

    versioned: ClassVar[bool] = True
    revision: int
    """Counts its edits; the ``ETag`` is made of it, and ``If-Match: "7"`` edits only what is still that."""


class PageOf(Answer, Generic[ItemT]):
    """A part of a list."""

    items: list[ItemT]
    next: str | None
    """The ``cursor`` of the next part; null: this was the last."""

    @classmethod
    def model_parametrized_name(cls, params: tuple[Any, ...]) -> str:
        """``DeviceList`` for devices: a name for people, and for the classes of generated clients."""
        return f"{params[0].__name__}List"


class EventStream(RootModel[str]):
    """Server-sent events: ``ready`` or ``resync`` first, then ``changed``, ``over`` last."""

    media_type: ClassVar[str] = "text/event-stream"


class FieldError(Answer):
    """One wrong field or parameter."""

    field: str
    """Its path, as ``config.url``."""
    message: str


class ProblemDetails(Answer):
    """What went wrong (RFC 9457)."""

    type: str
    """``about:blank``: the status says it all."""
    title: str
    status: int
    detail: str | None = None
    errors: list[FieldError] | None = None
    """Which fields are wrong, and why."""
    request_id: str | None = None
    """Under which our log knows more."""
    reason: str | None = None
    """Of a device's message: the quarantine reason."""
