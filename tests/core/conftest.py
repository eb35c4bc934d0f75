"""What tests of the engine stand on: an outbox, a clock, and channels that remember nothing of the test before."""

from __future__ import annotations

import pytest

from support.channels_of_tests import RecordingChannel
from support.memory import ManualClock
from support.outbox import T0_US, MemoryOutbox


@pytest.fixture(autouse=True)
def _fresh_channels() -> None:
    RecordingChannel.reset()


@pytest.fixture
def outbox() -> MemoryOutbox:
    return MemoryOutbox()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(T0_US)
