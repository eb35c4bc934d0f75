"""Line protocol, names and texts of the store in InfluxDB, judged by a parser that knows nothing of them."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pulse_core.api import DeviceKey, MsgType
from pulse_core.testing.telemetry_stores import a_reading
from pulse_influxdb.lines import forgotten_line, hash_of, line, reading_line, sortable
from pulse_influxdb.names import DAY_US, database_of, days_of, readings_of, text_of, word
from pulse_influxdb.packed import NotStorableError, mark, names_in, packed, shape, unpacked
from support.influx_lines import parse, written
from support.influx_tables import check_name

TEXTS = st.text() | st.text(alphabet="aA0_.:-%;=~,\"\\' \n\r\t#{}$é\u2028\U0001f6a8", max_size=30)
INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = st.booleans() | INT64 | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
METRICS = st.dictionaries(TEXTS, VALUES, max_size=8)
FORGED = (
    "x,device_id=other",
    'x" 1\nreadings_19700101,device_id=other seq="1" 1',
    "x\\",
    "x\\\\,y=1",
    "x y=1i 5",
    "# x",
    '"',
    "\n\n",
    "m\\\n",
    "time",
    "device_id",
    "tenant_id",
    "metrics",
    "%all",
    "%.",
    "",
)


def typed(value: Any) -> Any:
    """As equal as two values of JSON can be: 20 is not 20.0, and 1 is not true."""
    return {name: (type(each), each) for name, each in value.items()}


@given(TEXTS, TEXTS, TEXTS, METRICS, INT64, st.none() | INT64, st.integers(0, 4_000_000_000_000_000))
def test_a_reading_is_one_point_with_exactly_its_values(
    tenant: str, device: str, site: str, metrics: dict[str, Any], key_hash: int, seq: int | None, ts_us: int
) -> None:
    """Whatever a device sends: no forged tag, field or line."""
    reading = a_reading(
        ts_us,
        DeviceKey(tenant, device),
        key_hash=key_hash,
        site_id=site,
        seq=seq,
        received_us=ts_us + 5,
        msg_type=MsgType.EVENT,
        metrics_json=msgspec.json.encode(metrics).decode(),
    )
    (only,) = written(reading_line(reading, 7))
    point = parse(only)
    assert point.measurement == readings_of(ts_us // DAY_US)
    assert point.timestamp == ts_us * 1000
    assert point.tags.keys() == {"tenant_id", "device_id", "key_hash"}
    assert (text_of(point.tags["tenant_id"]), text_of(point.tags["device_id"])) == (tenant, device)
    assert hash_of(point.tags["key_hash"]) == key_hash
    fields: dict[str, Any] = {name: value for name, (_, value) in point.fields.items()}
    assert typed(unpacked(fields.pop("metrics"))) == typed(metrics)
    assert sorted(names_in(fields.pop("shape"))) == sorted(metrics)
    assert text_of(fields.pop("site_id")) == site
    assert fields == {
        "received_us": ts_us + 5,
        "written_us": 7,
        "msg_type": "event",
        "seq": "" if seq is None else str(seq),
    }


@pytest.mark.parametrize("forged", FORGED)
def test_what_looks_like_line_protocol_is_a_text(forged: str) -> None:
    metrics = {forged: forged, "after": 1}
    reading = a_reading(
        1, DeviceKey(forged, forged), site_id=forged, metrics_json=msgspec.json.encode(metrics).decode()
    )
    (only,) = written(reading_line(reading, 7))
    point = parse(only)
    assert text_of(point.tags["device_id"]) == forged
    assert unpacked(str(point.fields["metrics"][1])) == metrics
    (only,) = written(forgotten_line(forged, word(forged), 1))
    assert text_of(parse(only).tags["tenant_id"]) == forged


@given(TEXTS)
def test_a_string_field_holds_any_text(text: str) -> None:
    (only,) = written(line("t", {"a": "b"}, {"f": text}, 1))
    assert parse(only).fields == {"f": ("string", text)}


@given(st.text(alphabet="ab,= ", min_size=1))
def test_names_and_tags_are_escaped(text: str) -> None:
    (only,) = written(line("t", {f"k{text}": f"v{text}"}, {f"f{text}": 1}, 1))
    point = parse(only)
    assert (point.tags, point.fields) == ({f"k{text}": f"v{text}"}, {f"f{text}": ("integer", 1)})


@given(TEXTS, TEXTS)
def test_a_word_says_one_text_and_nothing_else(one: str, other: str) -> None:
    said = word(one)
    assert text_of(said) == one
    assert (said == word(other)) == (one == other)
    assert not re.search(r"""[\s"'\\,;=]""", said, re.ASCII)
    assert said


@given(st.lists(st.text(alphabet="AZaz09_.:-", min_size=1, max_size=4)))
def test_words_of_ids_sort_as_the_ids_do(ids: list[str]) -> None:
    assert [word(each) for each in sorted(ids)] == sorted(word(each) for each in ids)


@given(INT64, INT64)
def test_hashes_sort_as_numbers_do(one: int, other: int) -> None:
    assert (sortable(one) < sortable(other)) == (one < other)
    assert hash_of(sortable(one)) == one


@given(METRICS, TEXTS)
def test_a_mark_stands_before_its_metric_alone(metrics: dict[str, Any], name: str) -> None:
    """So SQL finds the value of this metric, and never a piece of another's name or text."""
    times = 1 if name in metrics else 0
    assert packed(metrics).count(mark(name)) == times
    assert shape(metrics).count(mark(name)) == times


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_what_is_no_number_is_not_stored(value: float) -> None:
    with pytest.raises(NotStorableError):
        packed({"x": value})


def test_shapes_of_one_make_are_the_same() -> None:
    assert shape({"b": 1, "a": "x"}) == shape({"a": "", "b": 2.5}) == ";a=s;b=n;"
    assert names_in(";a=s;b=n;c=b;", "n") == ["b"]


@given(*(2 * [st.text(alphabet="aA0_.:-x", min_size=1, max_size=64)]))
def test_each_tenant_has_a_database_that_influxdb_takes(one: str, other: str) -> None:
    for tenant in (one, other):
        check_name(database_of("telemetry_", tenant))
    assert (database_of("telemetry_", one) == database_of("telemetry_", other)) == (one == other)


def test_databases_are_called_as_their_tenants_where_that_is_possible() -> None:
    assert database_of("telemetry_", "tenant_a-7") == "telemetry_tenant_a-7"
    hashed = database_of("telemetry_", "a.b")
    assert hashed.startswith("telemetry_a-b-x")
    assert database_of("telemetry_", hashed.removeprefix("telemetry_")) != hashed, "nobody can be named like a hash"


def test_tables_of_days() -> None:
    assert readings_of(0) == "readings_19700101"
    assert days_of(["readings_19700103", "readings_19700102", "forgotten_19700101", "other"], "readings") == [1, 2]
