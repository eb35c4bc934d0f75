"""Lines the stand-in for InfluxDB reads, and those it refuses, as InfluxDB does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from influxdb_client_3.exceptions import InfluxDB3ClientQueryError, InfluxDBError, InfluxDBPartialWriteError

from support.influx_client import connected, doubled, escaped, rows
from support.influx_lines import RefusedLineError, parse, written
from support.influx_server import influx_server
from support.influx_tables import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from influxdb_client_3 import InfluxDBClient3

    from support.influx_server import InfluxServer


FIELD = "iox::column_type::field::"


@pytest.fixture
async def server() -> AsyncIterator[InfluxServer]:
    async with influx_server() as server:
        yield server


@pytest.fixture
def client(server: InfluxServer) -> Iterator[InfluxDBClient3]:
    with connected(server) as client:
        yield client


class TestRefusing:
    LINES = "m,t=a x=1 1\n\nrubbish\nm,t=a x=1i 2\nm x=1,t=2 3\n# said\nm,x=1 y=1 4\nm,t=b x=2 5"
    REFUSED = (
        (2, "Expected at least one space character, got ``"),
        (3, f"invalid column type for column 'x', expected {FIELD}float, got {FIELD}integer"),
        (4, f"invalid column type for column 't', expected iox::column_type::tag, got {FIELD}float"),
        (5, f"invalid column type for column 'x', expected {FIELD}float, got iox::column_type::tag"),
    )

    def test_lines_are_refused_one_by_one(self, client: InfluxDBClient3) -> None:
        with pytest.raises(InfluxDBPartialWriteError) as caught:
            client.write(self.LINES)
        told = tuple((each.line_number, each.error_message) for each in caught.value.line_errors)
        assert told == self.REFUSED
        assert caught.value.line_errors[1].original_line == "m,t=a x=1i 2"
        assert rows(client, "SELECT t, x FROM m ORDER BY time") == [{"t": "a", "x": 1.0}, {"t": "b", "x": 2.0}]

    def test_or_nothing_is_taken(self, server: InfluxServer, client: InfluxDBClient3) -> None:
        with pytest.raises(InfluxDBPartialWriteError) as caught:
            client.write(self.LINES, accept_partial=False)
        assert [(each.line_number, each.error_message) for each in caught.value.line_errors] == [self.REFUSED[0]]
        assert rows(client, "SELECT * FROM information_schema.tables WHERE table_schema = 'iox'") == []
        assert server.writes == 0

    def test_a_refused_line_makes_no_column(self, client: InfluxDBClient3) -> None:
        with pytest.raises(InfluxDBPartialWriteError):
            client.write("m x=1 1\nm y=1,x=1i 2\nm y=true 3")
        assert rows(client, "SELECT * FROM m WHERE y") == [{"time": 3, "x": None, "y": True}]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("", "no lines"),
            ("#x", "no lines"),
            ("m", "at least one space"),
            (",a=b x=1", "Invalid measurement"),
            ("\x00 x=1", "Invalid measurement"),
            ("m, x=1", "Expected tag key"),
            ("m,a= x=1", "Expected tag value"),
            ("m,a x=1", "could not find equals sign"),
            ("m,a=1,a=2 x=1", 'duplicate tags, but "a"'),
            ("m,a=b\\\\ x=1", "may not end with a backslash"),
            ("m x=1,x=2", "multiple instances of 'x'"),
            ("m x=NaN", "No fields"),
            ("m x=inf", "No fields"),
            ("m x=", "No fields"),
            ('m x="open', "No fields"),
            ('m x="a\\"', "No fields"),
            ("m =1", "No fields"),
            ("m x=1,y= 5", "trailing content: `,y= 5`"),
            ("m x=1 soon", "trailing content: ` soon`"),
            ("m x=1\t5", "trailing content"),
            ("m x=1 1 1", "trailing content"),
            ("m x=+1", "No fields"),
            ("m x=1.", "trailing content: `.`"),
            ("m x=9223372036854775808i", "Unable to parse integer"),
            ("m x=18446744073709551616u", "Unable to parse unsigned"),
            ("m x=1 9223372036854775808", "Unable to parse timestamp"),
            ("m \x00=1", "NUL"),
            ("m time=1", "expected iox::column_type::timestamp"),
            ("m,time=1 x=1", "expected iox::column_type::timestamp"),
            (f'm x="{"a" * 65_537}"', "greater than 64KB"),
        ],
    )
    def test_what_is_no_line(self, client: InfluxDBClient3, line: str, message: str) -> None:
        with pytest.raises(InfluxDBError, match=message.replace("'", ".")):
            client.write(line)
        with pytest.raises(InfluxDB3ClientQueryError, match="not found"):
            client.query("SELECT * FROM m")

    async def test_limits(self) -> None:
        async with influx_server(Limits(databases=2, tables=2, columns=4, tag_columns=2)) as server:
            with connected(server) as client:
                client.write("m x=1,y=1,z=1")
                for line, what in (("m w=1", "columns"), ("m,t=1 x=1", "columns"), ("n,a=1,b=1,c=1 x=1", "columns")):
                    with pytest.raises(InfluxDBPartialWriteError, match=f"exceed number of .*{what}") as caught:
                        client.write(line)
                    assert caught.value.response.status == 422
                client.write("n x=1\nm x=2")
                with pytest.raises(InfluxDBPartialWriteError, match="number of tables limit of 2"):
                    client.write("o x=1")
                client.write("m x=1", database="two")
                with pytest.raises(InfluxDBError, match="a new database would exceed limit of 2") as refused:
                    client.write("m x=1", database="three")
                assert refused.value.response.status == 422


class TestLines:
    """The parser alone."""

    NAMES = st.text(st.characters(exclude_characters="\0\n\t\\", exclude_categories=["Cs"]), min_size=1, max_size=9)

    @given(NAMES, st.dictionaries(NAMES, NAMES, max_size=3), NAMES, st.text(st.characters(exclude_categories=["Cs"])))
    def test_what_was_escaped_is_read_as_it_was(self, name: str, tags: dict[str, str], key: str, text: str) -> None:
        said = "".join(f",{escaped(tag)}={escaped(value)}" for tag, value in tags.items())
        quoted = doubled(text).replace('"', '\\"')
        line = f'{escaped(name, ", ")}{said} {escaped(key)}="{quoted}",n{escaped(key)}=-1.5e3 -7'
        if name.startswith(("#", " ")):
            line = "\\" + line.removeprefix("\\")
            name = name if name.startswith(" ") else "\\" + name
        read = [parse(each) for each in written(f"{line}\n\n{line}")]
        assert [(each.measurement, each.tags, each.timestamp) for each in read] == [(name, tags, -7)] * 2
        assert read[0].fields == {key: ("string", text), f"n{key}": ("float", -1500.0)}

    @given(st.text('m,= \\"ab1iu.-e\n\t#t', max_size=30))
    def test_anything_is_a_line_or_refused(self, text: str) -> None:
        for line in written(text):
            try:
                read = parse(line)
            except RefusedLineError:
                continue
            assert read.measurement
            assert read.fields
            json.dumps([read.tags, read.fields])
