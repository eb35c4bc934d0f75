"""What becomes of a load run's messages once they are sent: one class a QoS (section 4.3 of both standards)."""

from __future__ import annotations

import collections
import time
from typing import TYPE_CHECKING

from support.load_mqtt import MqttLoad
from support.load_wire import PINGREQ, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL, Answers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.load_stats import Load
    from support.load_wire import DeviceWords

_ANSWERS = {kind: Answers(kind) for kind in (PUBACK, PUBREC, PUBREL, PUBCOMP)}
_SHORT = 2
"""The remaining length of an answer that is only a packet id."""
_FAILURE = 0x80
_DUP = 0x08


class AtMostOnce(MqttLoad):
    """QoS 0. Nobody acknowledges: a PINGREQ after each write tells how far the peer has read."""

    def __init__(self, load: Load, number: int, words: DeviceWords) -> None:
        super().__init__(load, number, words)
        self._writes: collections.deque[int] = collections.deque()
        self._read = 0

    @property
    def in_flight(self) -> int:
        """Messages that the peer has not read, as far as we know."""
        return self._sent - self._read

    def begin(self) -> None:
        """What was under way may be lost: that is QoS 0."""
        self._retire(len(self._writes))

    def note_sent(self, packets: list[bytes]) -> bytes:
        """Ask for a sign."""
        self._writes.append(len(packets))
        return PINGREQ

    def take(self, data: bytes) -> None:
        """Signs, and nothing else."""
        count, odd = divmod(len(data), len(PINGRESP))
        self._rest = data[-odd:] if odd else b""
        if data[: count * 2] != PINGRESP * count or count > len(self._writes):
            self.give_up(out_of_order=True)
            return
        self.go_on(self._retire(count))

    def _retire(self, writes: int) -> int:
        count = sum(self._writes.popleft() for _ in range(writes))
        if count:
            self.acknowledged(self._read, count, time.monotonic())
            self._read += count
        return count


class AtLeastOnce(MqttLoad):
    """QoS 1: pipelined, resent with DUP after every reconnect."""

    def __init__(self, load: Load, number: int, words: DeviceWords) -> None:
        super().__init__(load, number, words)
        self._unacknowledged: collections.deque[bytes] = collections.deque()
        self._done = 0

    @property
    def in_flight(self) -> int:
        """Messages without a PUBACK."""
        return len(self._unacknowledged)

    def begin(self) -> None:
        """Send again."""
        self.say(_again(self._unacknowledged))

    def note_sent(self, packets: list[bytes]) -> bytes:
        """Keep them until they are acknowledged."""
        self._unacknowledged.extend(packets)
        return b""

    def take(self, data: bytes) -> None:
        """PUBACKs in the order of the PUBLISH packets."""
        pos = 0
        for kind, size, count, refused in _runs(data, {PUBACK: self._done}):
            if kind != PUBACK or count > len(self._unacknowledged) or refused:
                self.give_up(out_of_order=not refused)
                return
            pos += size
            for _ in range(count):
                self._unacknowledged.popleft()
            self.acknowledged(self._done, count, time.monotonic())
            self._done += count
            self.go_on(count)
        self._rest = data[pos:]


class ExactlyOnce(MqttLoad):
    """QoS 2, as a client does it whose session goes on: a PUBREC makes a message safe, a PUBCOMP ends it.

    After a reconnect PUBREL is said again for what was received, and the rest is sent again with DUP (4.4).
    """

    def __init__(self, load: Load, number: int, words: DeviceWords) -> None:
        super().__init__(load, number, words)
        self._unreceived: collections.deque[bytes] = collections.deque()
        self._received = 0
        self._done = 0

    @property
    def in_flight(self) -> int:
        """Messages without a PUBCOMP."""
        return self._sent - self._done

    def begin(self) -> None:
        """Take every message up where it stands."""
        self.say(_ANSWERS[PUBREL].run(self._done, self._received - self._done) + _again(self._unreceived))

    def note_sent(self, packets: list[bytes]) -> bytes:
        """Keep them until they are received."""
        self._unreceived.extend(packets)
        return b""

    def take(self, data: bytes) -> None:
        """PUBRECs in the order of the PUBLISH packets, PUBCOMPs in the order of the PUBRELs."""
        pos = completed = 0
        for kind, size, count, refused in _runs(data, {PUBREC: self._received, PUBCOMP: self._done}):
            most = len(self._unreceived) if kind == PUBREC else self._received - self._done
            if kind not in (PUBREC, PUBCOMP) or count > most or (refused and kind == PUBREC):
                self.give_up(out_of_order=not refused)
                return
            pos += size
            if kind == PUBREC:
                self._take_received(count)
            else:
                self._done += count
                completed += count
        self._rest = data[pos:]
        if completed:
            self.go_on(completed)

    def _take_received(self, count: int) -> None:
        for _ in range(count):
            self._unreceived.popleft()
        self.acknowledged(self._received, count, time.monotonic())
        self.say(_ANSWERS[PUBREL].run(self._received, count))
        self._received += count


BY_QOS: dict[int, type[MqttLoad]] = {0: AtMostOnce, 1: AtLeastOnce, 2: ExactlyOnce}


def _again(packets: collections.deque[bytes]) -> bytes:
    return b"".join([bytes([packet[0] | _DUP]) + packet[1:] for packet in packets])


def _runs(data: bytes, due: dict[int, int]) -> Iterator[tuple[int, int, int, bool]]:
    """Split answers into runs: kind (0: one that is not due), bytes, count, whether it is refused.

    ``due``: the kinds that may come, each with the number of the message whose turn it is. What is incomplete is left.
    """
    pos, size, due = 0, len(data), dict(due)
    while pos + 4 <= size and pos + 2 + data[pos + 1] <= size:
        kind, first = data[pos], due.get(data[pos], 0)
        whole = (size - pos) // 4
        if kind not in due:
            yield 0, 0, 0, False
            return
        if data[pos : pos + 4 * whole] == _ANSWERS[kind].run(first, whole):
            yield kind, 4 * whole, whole, False
            return
        if count := _short_run(data, pos, kind):
            right = data[pos : pos + 4 * count] == _ANSWERS[kind].run(first, count)
            yield kind if right else 0, 4 * count, count, False
            pos += 4 * count
        else:
            count, length = 1, 2 + data[pos + 1]
            right = data[pos + 2 : pos + 4] == _ANSWERS[kind].run(first, 1)[2:]
            yield kind if right else 0, length, 1, data[pos + 4] >= _FAILURE
            pos += length
        due[kind] = first + count


def _short_run(data: bytes, pos: int, kind: int) -> int:
    """How many answers of one kind, and with nothing but a packet id, stand together."""
    end = pos
    while end + 4 <= len(data) and data[end] == kind and data[end + 1] == _SHORT:
        end += 4
    return (end - pos) // 4
