"""InfluxDB's own client, and plain HTTP, at the stand-in for InfluxDB."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import urllib3
from influxdb_client_3 import InfluxDBClient3

if TYPE_CHECKING:
    from support.influx_server import InfluxServer


def connected(server: InfluxServer, **options: Any) -> InfluxDBClient3:
    """InfluxDB's own client, which does not wait for ever."""
    usual: dict[str, Any] = {"write_use_v2_api": False, "write_timeout": 30_000, "query_timeout": 30_000}
    there = {"host": server.url, "token": server.token, "database": "pulse"}
    return InfluxDBClient3(**{**there, **usual, **options})


def rows(client: InfluxDBClient3, sql: str, **params: Any) -> list[dict[str, Any]]:
    """What a query finds, times in nanoseconds."""
    table: pa.Table = client.query(sql, query_parameters=params)
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(at, field.name, table.column(at).cast(pa.int64()))
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def http(server: InfluxServer, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
    """Ask with the token."""
    headers = {"Authorization": f"Bearer {server.token}"}
    return urllib3.request(method, server.url + path, headers=headers, retries=False, **options)


def identifier(name: str) -> str:
    """A name as SQL quotes it."""
    quoted = name.replace('"', '""')
    return f'"{quoted}"'


def doubled(text: str) -> str:
    """As line protocol escapes a backslash."""
    return text.replace("\\", "\\\\")


def escaped(text: str, signs: str = ",= ") -> str:
    """As line protocol escapes what would end a name."""
    return "".join(f"\\{char}" if char in signs else char for char in text)
