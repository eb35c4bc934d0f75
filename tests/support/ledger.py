"""The load generator's own account of what the platform acknowledged, and the comparison with what it shows.

One line a run of acknowledgements: ``device first_seq last_seq``. A line counts only if it is whole and was followed by
an fsync; the writer never tells anybody of an acknowledgement before that.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path


class LedgerWriter:
    """Appends acknowledgements, and makes them durable in batches."""

    def __init__(self, path: Path, every_s: float = 0.05) -> None:
        self._file: BinaryIO = path.open("ab", buffering=0)
        self._lines: list[bytes] = []
        self._every_s = every_s
        self.durable = 0

    def acknowledged(self, device: int, first_seq: int, last_seq: int) -> None:
        """Note that ``device`` was told that its messages ``first_seq`` to ``last_seq`` are safe."""
        self._lines.append(b"%d %d %d\n" % (device, first_seq, last_seq))

    async def run(self) -> None:
        """Write and fsync until cancelled."""
        while True:
            await asyncio.sleep(self._every_s)
            if self._lines:
                lines, self._lines = self._lines, []
                try:
                    await asyncio.to_thread(self._make_durable, lines)
                except asyncio.CancelledError:  # nobody knows whether it had begun; a line may stand there twice
                    self._lines = lines + self._lines
                    raise

    def close(self) -> None:
        """Write what is left."""
        self._make_durable(self._lines)
        self._file.close()

    def _make_durable(self, lines: list[bytes]) -> None:
        self._file.write(b"".join(lines))
        os.fsync(self._file.fileno())
        self.durable += len(lines)


def read_ledger(path: Path) -> dict[int, set[int]]:
    """What was acknowledged: device number → its messages' seq. A torn last line does not count."""
    acknowledged: dict[int, set[int]] = {}
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    for line in whole.splitlines():
        device, first, last = map(int, line.split())
        acknowledged.setdefault(device, set()).update(range(first, last + 1))
    return acknowledged


@dataclass(frozen=True)
class Verdict:
    """The ledger beside what the platform shows: (device, seq) of each message lost or shown more than once."""

    acknowledged: int
    shown: int
    lost: tuple[tuple[int, int], ...]
    doubled: tuple[tuple[int, int], ...]

    @property
    def holds(self) -> bool:
        """Nothing acknowledged is lost, nothing is visible twice."""
        return not self.lost and not self.doubled

    def __str__(self) -> str:
        return (
            f"{self.acknowledged} acknowledged, {self.shown} shown, "
            f"{len(self.lost)} lost {self.lost[:5]}, {len(self.doubled)} doubled {self.doubled[:5]}"
        )


def judge(acknowledged: Mapping[int, set[int]], shown: Mapping[int, Iterable[int]]) -> Verdict:
    """Compare. ``shown`` holds the seq of every reading that the platform gives back, by device number."""
    counts = {device: Counter(seqs) for device, seqs in shown.items()}
    nothing: Counter[int] = Counter()
    lost = [
        (device, seq)
        for device, seqs in acknowledged.items()
        for seq in sorted(seqs - counts.get(device, nothing).keys())
    ]
    doubled = [(device, seq) for device, count in counts.items() for seq, times in count.items() if times > 1]
    return Verdict(
        acknowledged=sum(len(seqs) for seqs in acknowledged.values()),
        shown=sum(count.total() for count in counts.values()),
        lost=tuple(lost),
        doubled=tuple(doubled),
    )
