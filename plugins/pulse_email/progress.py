"""Who has a mail already, and what that makes of its delivery. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from pulse_core.api import PermanentFailure, TemporaryFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pulse_email.answers import Answer

_MOST_DELIVERIES = 1000


class Progress:
    """What is settled of one delivery, over its attempts: who has the mail, and who never will."""

    def __init__(self) -> None:
        self.accepted: list[str] = []
        self.refused: dict[str, Answer] = {}

    def open_ones(self, recipients: Sequence[str]) -> list[str]:
        """Return whom to try next."""
        return [each for each in recipients if each not in self.accepted and each not in self.refused]

    def settle(self, tried: Sequence[str], refused: Mapping[str, Answer]) -> dict[str, Answer]:
        """Take in an attempt; return those who may take the mail later."""
        self.accepted += [each for each in tried if each not in refused]
        self.refused |= {each: answer for each, answer in refused.items() if answer.permanent}
        return {each: answer for each, answer in refused.items() if not answer.permanent}

    def told(self, later: Mapping[str, Answer]) -> str:
        """Say who has the mail, who may get it later, and who will not; empty when all have it."""
        parts = [f"accepted: {', '.join(self.accepted)}"] if self.accepted and (later or self.refused) else []
        parts += [f"not yet: {each} ({answer})" for each, answer in later.items()]
        parts += [f"refused: {each} ({answer})" for each, answer in self.refused.items()]
        return "; ".join(parts)

    def raise_for_failure(self, to: Sequence[str], later: Mapping[str, Answer], where: str) -> None:
        """Return if the mail is delivered: nobody is left to try, and one of ``to`` at least has it.

        :raises TemporaryFailure: somebody may take it later. :raises PermanentFailure: none of ``to`` will.
        """
        if later:
            raise TemporaryFailure(f"{where}: {self.told(later)}")
        if not set(to) & set(self.accepted):
            raise PermanentFailure(f"{where}: no addressee in To takes it; {self.told(later)}")


class Memory:
    """The progress of deliveries that some have and others have not; within this process, and bounded."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Progress] = OrderedDict()

    def of(self, delivery_id: str) -> Progress:
        """Return what is known of a delivery."""
        return self._kept.get(delivery_id) or Progress()

    def keep(self, delivery_id: str, progress: Progress) -> None:
        """Remember a delivery that is to be tried again."""
        self._kept[delivery_id] = progress
        self._kept.move_to_end(delivery_id)
        while len(self._kept) > _MOST_DELIVERIES:
            self._kept.popitem(last=False)

    def forget(self, delivery_id: str) -> None:
        """A delivery has ended."""
        self._kept.pop(delivery_id, None)
