"""What every answer has in common."""

from __future__ import annotations

from typing import Generic, TypeVar

from pydantic import BaseModel, ConfigDict

ItemT = TypeVar("ItemT")


class Answer(BaseModel):
    """A JSON answer. The models describe; what is answered is built and encoded without them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class PageOf(Answer, Generic[ItemT]):
    """A part of a list."""

    items: list[ItemT]
    next: str | None
    """The ``cursor`` of the next part; null: this was the last."""
