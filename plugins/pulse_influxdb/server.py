"""The server: influxdb3-python's client, which waits in threads of ours, and what its answers mean to us."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

import urllib3
from influxdb_client_3 import InfluxDBClient3, InfluxDBError, WriteOptions
from influxdb_client_3.exceptions import InfluxDB3ClientQueryError, InfluxDBPartialWriteError
from influxdb_client_3.write_client.client.write_api import WriteType
from pyarrow import flight

from pulse_core.api import PermanentFailure, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pulse_influxdb.config import InfluxConfig

_DATABASES = "/api/v3/configure/database"
_TABLES = "/api/v3/configure/table"
_GZIP_FROM_BYTES = 8192
_UNAUTHORIZED = {401, 403}
_CONFLICT = 409
_NOT_FOUND = 404
_TO_BLAME = {400, 413, 422}
"""What is sent is at fault: the same again would be refused again."""
_COME_BACK = [
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
"""After an outage gRPC would not look for the server for up to two minutes; lanes ask every second."""
_TOO_MUCH = ("exceed file limit", "resources exhausted")


class NotThereError(PermanentFailure):
    """No such database or table."""


class LinesRefusedError(PermanentFailure):
    """Some lines of a request were not taken, all others were; or, with no lines named, none was.

    :param lines: why, by the place of the line in the request (from 0).
    """

    def __init__(self, message: str, lines: Mapping[int, str]) -> None:
        super().__init__(message)
        self.lines = lines


class Server:
    """One InfluxDB server. Every method may raise StoreUnavailable."""

    def __init__(self, config: InfluxConfig) -> None:
        url, token = config.server
        self._url = url
        self._within_s = config.query_timeout_s
        options: dict[str, Any] = {"verify_ssl": config.verify_tls}
        if config.ca_file is not None:
            options["ssl_ca_cert"] = str(config.ca_file)
        self._client = InfluxDBClient3(
            host=url,
            token=token,
            database="",
            auth_scheme="Bearer",
            enable_gzip=True,
            gzip_threshold=_GZIP_FROM_BYTES,
            write_client_options={
                "write_options": WriteOptions(
                    write_type=WriteType.synchronous,
                    use_v2_api=False,
                    accept_partial=True,
                    no_sync=False,
                    timeout=int(config.write_timeout_s * 1000),
                )
            },
            flight_client_options={"generic_options": list(_COME_BACK)},
            query_timeout=int(config.query_timeout_s * 1000),
            connection_pool_maxsize=config.writes_at_once,
            **options,
        )
        self._timeout = urllib3.Timeout(total=config.write_timeout_s)
        self._writers = ThreadPoolExecutor(config.writes_at_once, "influxdb-write")
        self._readers = ThreadPoolExecutor(config.queries_at_once, "influxdb-query")

    async def close(self) -> None:
        """Let what is under way end, and close the connections."""
        await asyncio.to_thread(self._close)

    async def write(self, database: str, lines: Sequence[str]) -> None:
        """Send lines; the database is made if there is none. Raises LinesRefusedError."""
        body = "\n".join(lines).encode()
        await self._in(self._writers, self._write, database, body, len(lines))

    async def query(self, database: str, sql: str, params: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query, with ``$name`` in it standing for what ``params`` says.

        :raises NotThereError: no such database, or no such table.
        :raises PermanentFailure: it takes too long, or would read too much.
        """
        found: list[dict[str, Any]] = await self._in(self._readers, self._query, database, sql, dict(params))
        return found

    async def databases(self) -> list[str]:
        """The names of all, without InfluxDB's own."""
        answer = await self._in(self._writers, self._ask, "GET", _DATABASES, {"format": "json"})
        names = [str(row["iox::database"]) for row in json.loads(answer)]
        return [name for name in names if not name.startswith("_")]

    async def create_database(self, name: str) -> None:
        """Make one, if there is none. Raises LinesRefusedError: the server makes no more."""
        await self._in(self._writers, self._ask, "POST", _DATABASES, {}, {"db": name})

    async def drop_database(self, name: str) -> bool:
        """Drop one, with all that is in it; whether there was one."""
        return await self._dropped(_DATABASES, {"db": name, "hard_delete_at": "now"})

    async def drop_table(self, database: str, table: str) -> bool:
        """Drop one, with all that is in it; whether there was one."""
        return await self._dropped(_TABLES, {"db": database, "table": table, "hard_delete_at": "now"})

    async def _dropped(self, path: str, query: dict[str, str]) -> bool:
        try:
            await self._in(self._writers, self._ask, "DELETE", path, query)
        except NotThereError:
            return False
        return True

    async def _in(self, threads: ThreadPoolExecutor, call: Callable[..., Any], *args: Any) -> Any:
        try:
            under_way = asyncio.get_running_loop().run_in_executor(threads, call, *args)
        except RuntimeError as error:
            raise StoreUnavailable("the telemetry store is closed") from error
        return await under_way

    def _write(self, database: str, body: bytes, lines: int) -> None:
        try:
            self._client.write(body, database=database, write_precision="ns")
        except InfluxDBPartialWriteError as error:
            refused = {each.line_number - 1: each.error_message for each in error.line_errors}
            named = refused if all(0 <= place < lines for place in refused) else {}
            raise LinesRefusedError(str(error.message), named) from error
        except InfluxDBError as error:
            self._refused(error)
        except urllib3.exceptions.HTTPError as error:
            self._away(error)

    def _ask(self, method: str, path: str, query: dict[str, str], body: Any = None) -> str:
        content = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            answer = self._client.rest_client.request(
                method, path, query_params=query, headers=headers, body=content, timeout=self._timeout
            )
        except InfluxDBError as error:
            if getattr(error, "status", 0) == _NOT_FOUND:
                raise NotThereError(str(error.message)) from error
            if getattr(error, "status", 0) != _CONFLICT:
                self._refused(error)
            return ""
        except urllib3.exceptions.HTTPError as error:
            self._away(error)
        return str(answer.data)

    def _query(self, database: str, sql: str, params: dict[str, Any]) -> list[dict[str, Any]]:
        try:
            table = self._client.query(sql, database=database, query_parameters=params)
        except InfluxDB3ClientQueryError as error:
            self._unanswered(error.__context__ or error)
        found: list[dict[str, Any]] = table.to_pylist()
        return found

    def _unanswered(self, error: BaseException) -> NoReturn:
        text = _first_line(str(error))
        if isinstance(error, flight.FlightTimedOutError):
            raise PermanentFailure(f"that takes longer than {self._within_s:g} s: ask for less") from error
        if isinstance(error, flight.FlightUnauthenticatedError | flight.FlightUnauthorizedError):
            raise StoreUnavailable(f"InfluxDB at {self._url} refuses our token") from error
        if "not found" in text.lower():
            raise NotThereError(text) from error
        if any(sign in text.lower() for sign in _TOO_MUCH):
            raise PermanentFailure(f"InfluxDB reads no more for one answer: ask for less ({text})") from error
        raise StoreUnavailable(f"InfluxDB at {self._url} does not answer: {text}") from error

    def _refused(self, error: InfluxDBError) -> NoReturn:
        status, text = getattr(error, "status", None), _first_line(str(error.message))
        if not status:  # there was no answer: TLS
            reason = " ".join(str(getattr(error, "reason", "")).split())
            raise StoreUnavailable(f"InfluxDB at {self._url} cannot be talked to: {reason}") from error
        if status in _UNAUTHORIZED:
            raise StoreUnavailable(f"InfluxDB at {self._url} refuses our token ({status})") from error
        if status in _TO_BLAME:
            raise LinesRefusedError(text, {}) from error
        raise StoreUnavailable(f"InfluxDB at {self._url} answers {status}: {text}") from error

    def _away(self, error: Exception) -> NoReturn:
        raise StoreUnavailable(f"InfluxDB at {self._url} does not answer: {type(error).__name__}") from error

    def _close(self) -> None:
        self._writers.shutdown(cancel_futures=True)
        self._readers.shutdown(cancel_futures=True)
        self._client.close()


def _first_line(text: str) -> str:
    return text.strip().partition("\n")[0][:300]
