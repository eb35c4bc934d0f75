"""The stand-in for InfluxDB 3 answers InfluxDB's own client as InfluxDB does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from influxdb_client_3 import Point, WriteOptions, WriteType
from influxdb_client_3.exceptions import InfluxDB3ClientQueryError, InfluxDBError, InfluxDBPartialWriteError

from support.influx_client import connected, doubled, escaped, http, identifier, rows
from support.influx_server import influx_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from influxdb_client_3 import InfluxDBClient3

    from support.influx_server import InfluxServer


AT_NS = 1_700_000_000_123_456_789
HOSTILE = [
    "a b,c=d",
    'say "x"',
    "'; DROP TABLE readings; --",
    "back\\slash",
    "$dev",
    "ünï ☃ 💥",
    "<b>&amp;",
    "a\\,b",
    "#",
    "tab\there",
    "\x00",
    "%00",
]


@pytest.fixture
async def server() -> AsyncIterator[InfluxServer]:
    async with influx_server() as server:
        yield server


@pytest.fixture
def client(server: InfluxServer) -> Iterator[InfluxDBClient3]:
    with connected(server) as client:
        yield client


class TestWriting:
    @pytest.mark.parametrize("text", HOSTILE)
    def test_hostile_texts_come_back_as_they_were(self, client: InfluxDBClient3, text: str) -> None:
        """A backslash is doubled, what ends a name is escaped; a tab may stand in a string field alone."""
        value = text.replace("\t", " ")
        name = value.replace("\0", "0")
        table = name.replace("#", "n#")  # else it is a comment
        measurement, key, tag = escaped(doubled(table), ", "), escaped(doubled(name)), escaped(doubled(value))
        quoted = doubled(text).replace('"', '\\"')
        client.write(f'{measurement},{key}={tag} f{key}="{quoted}" {AT_NS}')
        found = rows(client, f"SELECT * FROM {identifier(table)} WHERE {identifier(name)} = $value", value=value)
        assert found == [{name: value, f"f{name}": text, "time": AT_NS}]

    def test_a_point_of_the_client_keeps_its_types(self, client: InfluxDBClient3) -> None:
        point = (
            Point("m").tag("device", "d1").field("f", 1.0).field("i", -(2**63)).field("s", 'a\n"b\\').field("b", True)
        )
        client.write(point.time(AT_NS))
        client.write(f"m,device=d1 u={2**64 - 1}u {AT_NS + 1}")
        table = client.query("SELECT * FROM m ORDER BY time")
        assert {field.name: str(field.type) for field in table.schema} == {
            "device": "string",
            "f": "double",
            "i": "int64",
            "s": "string",
            "b": "bool",
            "u": "uint64",
            "time": "timestamp[ns]",
        }
        assert rows(client, "SELECT * FROM m ORDER BY time") == [
            {"device": "d1", "f": 1.0, "i": -(2**63), "s": 'a\n"b\\', "b": True, "u": None, "time": AT_NS},
            {"device": "d1", "f": None, "i": None, "s": None, "b": None, "u": 2**64 - 1, "time": AT_NS + 1},
        ]

    def test_a_point_written_again_is_one_point(self, client: InfluxDBClient3) -> None:
        client.write(f"m,a=1,b=2 x=1,y=1 {AT_NS}\nm,b=2,a=1 x=2,z=3 {AT_NS}\nm,a=1 x=5 {AT_NS}")
        assert rows(client, "SELECT a, b, x, y, z FROM m ORDER BY x") == [
            {"a": "1", "b": "2", "x": 2.0, "y": 1.0, "z": 3.0},
            {"a": "1", "b": None, "x": 5.0, "y": None, "z": None},
        ]

    @pytest.mark.parametrize(("precision", "per_s"), [("s", 1), ("ms", 1000), ("us", 10**6), ("ns", 10**9)])
    def test_every_precision(self, client: InfluxDBClient3, precision: Any, per_s: int) -> None:
        client.write(f"m x=1 {1_700_000_000 * per_s}", write_precision=precision)
        assert rows(client, "SELECT time FROM m") == [{"time": 1_700_000_000 * 10**9}]

    def test_the_older_door_with_gzip(self, server: InfluxServer) -> None:
        with connected(server, write_use_v2_api=True, enable_gzip=True, gzip_threshold=1) as client:
            client.write("m x=1")
            assert rows(client, "SELECT x FROM m") == [{"x": 1.0}]
            with pytest.raises(InfluxDBError, match="partial write"):
                client.write("m x=2\nm x=1i")
            assert len(rows(client, "SELECT x FROM m")) == 2
        assert server.writes == 2

    def test_the_clients_batching(self, server: InfluxServer) -> None:
        options = {"write_options": WriteOptions(WriteType.batching, batch_size=5, flush_interval=10, use_v2_api=False)}
        with connected(server, write_client_options=options) as client:
            client.write([Point("m").field("x", float(at)).time(at) for at in range(12)])
        with connected(server) as client:
            assert rows(client, "SELECT count(*) AS n FROM m") == [{"n": 12}]


class TestAsking:
    def test_parameters_are_values_only(self, client: InfluxDBClient3) -> None:
        client.write("\n".join(f'm,d={name} x={at},i={at}i,s="{name}" {at}' for at, name in enumerate("abc", 1)))
        assert [row["d"] for row in rows(client, "SELECT * FROM m WHERE d = $d", d="b")] == ["b"]
        assert rows(client, "SELECT * FROM m WHERE d = $d", d="x' OR 'a'='a") == []
        assert rows(client, "SELECT d FROM m WHERE x > $x AND i < $i ORDER BY d", x=1.0, i=3) == [{"d": "b"}]
        since = "1970-01-01T00:00:00.000000002Z"
        assert rows(client, "SELECT d FROM m WHERE time > $since LIMIT $n", since=since, n=5) == [{"d": "c"}]
        assert rows(client, "SELECT '$d' AS text, $d AS value", d=None) == [{"text": "$d", "value": None}]
        assert rows(client, "SELECT $big AS n", big=2**63) == [{"n": 2**63}]

    @pytest.mark.parametrize(
        ("sql", "message"),
        [
            ("SELECT 1 FROM nowhere", "'public.iox.nowhere' not found"),
            ("SELECT", "syntax|parse|[Ee]xpected"),
            ("SELECT * FROM m WHERE x = $lost", "lost"),
            ("INSERT INTO m VALUES (1, 2)", "error"),
            ("DELETE FROM m", "not supported|not implemented"),
            ("DROP TABLE m", "DDL not supported"),
            ("SELECT 1; SELECT 2", "single SQL statement"),
        ],
    )
    def test_errors_say_why(self, client: InfluxDBClient3, sql: str, message: str) -> None:
        client.write("m x=1")
        with pytest.raises(InfluxDB3ClientQueryError, match=message):
            client.query(sql)
        assert len(rows(client, "SELECT * FROM m")) == 1

    def test_a_database_that_is_not_there(self, client: InfluxDBClient3) -> None:
        with pytest.raises(InfluxDB3ClientQueryError, match="database not found: pulse"):
            client.query("SELECT 1")

    def test_information_schema(self, client: InfluxDBClient3) -> None:
        client.write('Some\\ Table,tag=a f=1,i=1i,u=1u,b=t,s="x"')
        sql = "SELECT column_name, data_type, is_nullable FROM information_schema.columns WHERE table_name = $table"
        found = {
            row["column_name"]: (row["data_type"], row["is_nullable"]) for row in rows(client, sql, table="Some Table")
        }
        assert found == {
            "tag": ("Dictionary(Int32, Utf8)", "YES"),
            "f": ("Float64", "YES"),
            "i": ("Int64", "YES"),
            "u": ("UInt64", "YES"),
            "b": ("Boolean", "YES"),
            "s": ("Utf8", "YES"),
            "time": ("Timestamp(ns)", "NO"),
        }

    def test_windows_and_last_values(self, client: InfluxDBClient3) -> None:
        minute_ns = 60 * 10**9
        client.write("\n".join(f"m,d={d} x={at} {at * minute_ns}" for at in range(90) for d in "ab"))
        sql = (
            "SELECT date_bin(INTERVAL '1 hour', time) AS hour, d, avg(x) AS mean, last_value(x ORDER BY time) AS last, "
            "count(*) AS n FROM m GROUP BY 1, 2 ORDER BY 1, 2"
        )
        hours = rows(client, sql)
        assert [row["hour"] for row in hours] == [0, 0, 60 * minute_ns, 60 * minute_ns]
        assert hours[1] == {"hour": 0, "d": "b", "mean": 29.5, "last": 59.0, "n": 60}
        assert hours[2]["n"] == 30

    def test_a_query_of_too_many_files(self, server: InfluxServer, client: InfluxDBClient3) -> None:
        hour_ns = 3600 * 10**9
        client.write("\n".join(f"m,d=a x={at} {at * hour_ns}" for at in range(10)))
        server.query_file_limit = 3
        for sql in (
            "SELECT * FROM m",
            "SELECT * FROM m WHERE time >= '1970-01-01T02:00:00Z'",
            "SELECT * FROM m WHERE time < '1970-01-01T02:00:00Z' OR x = 1",
            "SELECT * FROM m WHERE (d = 'b' AND time > '1970-01-01T07:00:00Z') OR (x = 1 AND time < $since)",
            "SELECT * FROM m WHERE d = 'a' AND (x = 1 OR (d = 'b' AND time < $since AND x = 2))",
            "SELECT * FROM (SELECT max(time) AS time FROM m) WHERE time > '1970-01-01T07:00:00Z'",
            "SELECT * FROM (SELECT * FROM m ORDER BY x LIMIT 9) WHERE time > '1970-01-01T07:00:00Z'",
        ):
            with pytest.raises(InfluxDB3ClientQueryError, match="exceed file limit of 3 parquet files"):
                rows(client, sql, since="1970-01-01T02:00:00Z")
        for sql in (
            "SELECT * FROM m WHERE time > '1970-01-01T06:00:00Z'",
            "SELECT * FROM m WHERE time >= $since AND time < '1970-01-01T05:00:00Z' AND (x > 1 OR d = 'b')",
            "SELECT * FROM (SELECT * FROM m ORDER BY x) WHERE time BETWEEN $since AND '1970-01-01T04:00:00Z' LIMIT 3",
        ):
            assert len(rows(client, sql, since="1970-01-01T02:00:00Z")) == 3
        assert rows(client, "SELECT x FROM m WHERE time = '1970-01-01T02:00:00Z'") == [{"x": 2.0}]

    def test_sql_over_http(self, server: InfluxServer, client: InfluxDBClient3) -> None:
        client.write(f"m,d=a x=1 {AT_NS}\nm,d=b y=1i 0")
        asked = {"db": "pulse", "q": "SELECT * FROM m WHERE d != $not ORDER BY time", "params": {"not": "c"}}
        answer = http(server, "POST", "/api/v3/query_sql", json={**asked, "format": "json"})
        assert answer.json() == [
            {"d": "b", "y": 1, "time": "1970-01-01T00:00:00"},
            {"d": "a", "x": 1.0, "time": "2023-11-14T22:13:20.123456789"},
        ]
        fields = {"db": "pulse", "q": "SELECT d FROM m WHERE d = $d", "params": '{"d": "a"}', "format": "jsonl"}
        assert http(server, "GET", "/api/v3/query_sql", fields=fields).data == b'{"d": "a"}\n'
        lost = http(server, "POST", "/api/v3/query_sql", json={**asked, "db": "lost"})
        assert (lost.status, lost.json()) == (404, {"error": "database not found: lost"})


class TestDatabases:
    def test_they_are_made_listed_and_deleted(self, server: InfluxServer, client: InfluxDBClient3) -> None:
        path = "/api/v3/configure/database"
        assert http(server, "POST", path, json={"db": "new"}).status == 200
        assert http(server, "POST", path, json={"db": "new"}).status == 409
        assert http(server, "POST", path, json={"db": "_new"}).status == 400
        assert http(server, "POST", path, body=b'{"db": "x"}').status == 415
        client.write("m x=1")
        listed = http(server, "GET", f"{path}?format=json").json()
        assert listed == [{"iox::database": name} for name in ("_internal", "new", "pulse")]
        assert http(server, "DELETE", f"{path}?db=pulse&hard_delete_at=now").status == 200
        assert http(server, "DELETE", f"{path}?db=pulse").status == 404
        with pytest.raises(InfluxDB3ClientQueryError, match="database not found"):
            client.query("SELECT 1")
        client.write("m x=true")
        assert rows(client, "SELECT x FROM m") == [{"x": True}]

    def test_core_has_five(self, server: InfluxServer) -> None:
        answers = [http(server, "POST", "/api/v3/configure/database", json={"db": f"d{at}"}) for at in range(6)]
        assert [answer.status for answer in answers] == [200] * 5 + [422]
        assert answers[5].json() == {"error": "Adding a new database would exceed limit of 5 databases"}

    def test_tables_are_made_and_deleted(self, server: InfluxServer, client: InfluxDBClient3) -> None:
        path = "/api/v3/configure/table"
        http(server, "POST", "/api/v3/configure/database", json={"db": "pulse"})
        made = {"db": "pulse", "table": "m", "tags": ["d"], "fields": [{"name": "x", "type": "float64"}]}
        assert [http(server, "POST", path, json=made).status for _ in range(2)] == [200, 409]
        assert client.query("SELECT * FROM m").schema.names == ["d", "x", "time"]
        with pytest.raises(InfluxDBPartialWriteError):
            client.write("m,d=a x=1i")
        assert [http(server, "DELETE", f"{path}?db=pulse&table=m").status for _ in range(2)] == [200, 404]
        client.write("m,d=a x=1i")

    def test_health(self, server: InfluxServer, client: InfluxDBClient3) -> None:
        assert http(server, "GET", "/health").data == b"OK"
        assert client.get_server_version() == http(server, "GET", "/ping").json()["version"]
        assert http(server, "GET", "/elsewhere").status == 404
