"""The board of what has changed: nothing is lost, nothing grows, and no notification is too long."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from pulse_core.notices import IDS_TOLD, PAYLOAD_BYTES, TENANTS_TOLD, Board, Kind, payloads, read
from pulse_core.records import DeviceKey, DeviceState, WriteSet

_id = st.from_regex(r"[A-Za-z0-9_.:-]{1,128}", fullmatch=True)
_changes = st.dictionaries(
    st.from_regex(r"[A-Za-z0-9_.:-]{1,64}", fullmatch=True),
    st.dictionaries(st.sampled_from(list(Kind)), st.none() | st.sets(_id, min_size=1, max_size=90), min_size=1),
    max_size=8,
)


@given(found=_changes)
def test_what_is_written_is_read_again(found: dict[str, dict[str, set[str] | None]]) -> None:
    told = payloads(found)
    assert all(len(each.encode()) <= PAYLOAD_BYTES for each in told)
    board = Board()
    for each in told:
        for tenant_id, kind, ids in read(each) or ():
            board.note(tenant_id, kind, ids)
    assert board.take() == found


def test_everything_and_nonsense_are_read_as_everything() -> None:
    assert payloads(None) == ["*"]
    for text in ("*", "", "tenant", "tenant devices", "\n", "t devices a\n"):
        assert read(text) is None


def test_a_board_is_emptied_and_says_when_there_is_something() -> None:
    board = Board()
    assert not board.some.is_set()
    board.note("a", Kind.DEVICES, ["1", "2"])
    board.note("a", Kind.DEVICES, ["2", "3"])
    board.note("b", Kind.ALERTS, None)
    assert board.some.is_set()
    assert board.take() == {"a": {"devices": {"1", "2", "3"}}, "b": {"alerts": None}}
    assert not board.some.is_set()
    assert board.take() == {}


def test_too_many_are_many_and_too_many_tenants_are_everything() -> None:
    board = Board()
    board.note("a", Kind.DEVICES, map(str, range(IDS_TOLD)))
    board.note("a", Kind.DEVICES, ["0"])
    board.note("b", Kind.DEVICES, map(str, range(IDS_TOLD + 1)))
    board.note("b", Kind.DEVICES, ["0"])
    found = board.take()
    assert found is not None
    assert len(found["a"]["devices"] or ()) == IDS_TOLD
    assert found["b"] == {"devices": None}
    for number in range(TENANTS_TOLD + 1):
        board.note(f"t-{number}", Kind.DEVICES, ["1"])
    board.note("a", Kind.DEVICES, ["1"])
    assert board.take() is None
    assert board.take() == {}


def test_a_batch_is_told_by_its_devices() -> None:
    board = Board()
    board.note_writes(WriteSet(states=[DeviceState(DeviceKey("a", "d-1")), DeviceState(DeviceKey("b", "d-2"))]))
    assert board.take() == {"a": {"devices": {"d-1"}}, "b": {"devices": {"d-2"}}}
    assert str(uuid.UUID(int=0)) not in str(board.take())
