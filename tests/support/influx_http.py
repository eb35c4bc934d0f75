"""The part of the stand-in for InfluxDB that speaks HTTP: writes, databases and tables, health, and SQL as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from aiohttp import web
from msgspec import to_builtins

from support.influx_tables import InfluxError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from support.influx_lines import Kind
    from support.influx_tables import Store, Taken

    Write = Callable[[str, str, str, bool], Awaitable[Taken]]
    Query = Callable[[str, str, Mapping[str, Any]], Awaitable[pa.Table]]

VERSION = "3.4.0"
V2_WRITE, WRITE, SQL = "/api/v2/write", "/api/v3/write_lp", "/api/v3/query_sql"
DATABASES, TABLES = "/api/v3/configure/database", "/api/v3/configure/table"
UNITS = {"second": "s", "millisecond": "ms", "microsecond": "us", "nanosecond": "ns", "auto": "auto"}
UNITS |= {unit: unit for unit in ("s", "ms", "us", "ns")}
KINDS: dict[str, Kind] = {"utf8": "string", "int64": "integer", "uint64": "uinteger", "float64": "float"}
KINDS["bool"] = "boolean"
LONGEST_BODY_BYTES = 10 * 1024 * 1024


class HttpDoor:
    """Answers requests with what the given functions do."""

    def __init__(
        self, store: Store, token: Callable[[], str], write: Write, query: Query, stay_well: Callable[[], None]
    ) -> None:
        self.store = store
        self._token, self._write, self._query, self._stay_well = token, write, query, stay_well
        self._runner: web.AppRunner | None = None
        self._routes: dict[tuple[str, str], Callable[[web.Request], Awaitable[web.Response]]] = {
            ("POST", WRITE): self._write_v3,
            ("POST", V2_WRITE): self._write_v2,
            ("POST", SQL): self._sql,
            ("GET", SQL): self._sql,
            ("GET", DATABASES): self._databases,
            ("POST", DATABASES): self._create,
            ("DELETE", DATABASES): self._delete,
            ("POST", TABLES): self._create_table,
            ("DELETE", TABLES): self._delete_table,
            ("GET", "/health"): self._health,
            ("GET", "/ping"): self._ping,
            ("POST", "/ping"): self._ping,
        }

    async def open(self) -> int:
        """Listen; returns the port."""
        app = web.Application(client_max_size=LONGEST_BODY_BYTES)
        app.router.add_route("*", "/{path:.*}", self._serve)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """Listen no more."""
        if self._runner:
            await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        if refusal := self._stranger(request):
            return refusal
        route = self._routes.get((request.method, request.path))
        if route is None:
            return web.Response(status=404, text="not found")
        try:
            self._stay_well()
            return await route(request)
        except InfluxError as error:
            if request.path == V2_WRITE:
                return _v2_error(error.status, error.message)
            return _error(error.status, error.message)

    def _stranger(self, request: web.Request) -> web.Response | None:
        """What a request without the token is answered with; InfluxDB asks for it even at ``/health``."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if not token:
            return _error(401, "the request was not authenticated")
        if scheme not in {"Bearer", "Token"}:
            return _error(400, "Authorization header was malformed")
        return None if token == self._token() else _error(401, "")

    async def _write_v3(self, request: web.Request) -> web.Response:
        accept_partial = _truth(request.query.get("accept_partial", "true"))
        unit = _unit(request.query.get("precision", "auto"))
        taken = await self._write(_named(request), await _text(request), unit, accept_partial)
        if not taken.refused:
            return web.Response(status=204)
        refused = to_builtins(taken.refused)
        if not accept_partial:
            return _json({"error": "parsing failed for write_lp endpoint", "data": refused[0]}, 400)
        full = any(each.error_message.startswith("Update to schema would exceed number of") for each in taken.refused)
        return _json({"error": "partial write of line protocol occurred", "data": refused}, 422 if full else 400)

    async def _write_v2(self, request: web.Request) -> web.Response:
        """Partial always, and without a word on which lines it refused."""
        unit = _unit(request.query.get("precision", "ns"))
        taken = await self._write(_named(request, "bucket"), await _text(request), unit, True)
        if taken.refused:
            return _v2_error(400, "partial write of line protocol occurred")
        return web.Response(status=204)

    async def _sql(self, request: web.Request) -> web.Response:
        asked: Mapping[str, Any] = await _body(request) if request.method == "POST" else request.query
        if not asked.get("db") or not asked.get("q"):
            raise InfluxError(400, "missing query parameters 'db' and 'q'")
        params = asked.get("params") or {}
        if isinstance(params, str):
            params = json.loads(params)
        rows = _rows(await self._query(asked["db"], asked["q"], params))
        if asked.get("format", "json") == "jsonl":
            return web.Response(text="".join(json.dumps(row) + "\n" for row in rows))
        return _json(rows)

    async def _databases(self, request: web.Request) -> web.Response:
        if "format" not in request.query:
            raise InfluxError(400, "missing field `format`")
        return _json([{"iox::database": name} for name in self.store.names()])

    async def _create(self, request: web.Request) -> web.Response:
        self.store.create((await _body(request))["db"])
        return web.Response()

    async def _delete(self, request: web.Request) -> web.Response:
        self.store.delete(_named(request))
        return web.Response()

    async def _create_table(self, request: web.Request) -> web.Response:
        asked = await _body(request)
        columns: dict[str, Kind] = dict.fromkeys(asked["tags"], "tag")
        columns |= {field["name"]: KINDS[field["type"]] for field in asked.get("fields", ())}
        self.store.create_table(asked["db"], asked["table"], columns)
        return web.Response()

    async def _delete_table(self, request: web.Request) -> web.Response:
        self.store.delete_table(_named(request), _named(request, "table"))
        return web.Response()

    async def _health(self, request: web.Request) -> web.Response:
        return web.Response(text="OK")

    async def _ping(self, request: web.Request) -> web.Response:
        told = {"version": VERSION, "revision": "stand-in", "process_id": "00000000-0000-0000-0000-000000000000"}
        return web.json_response(told, headers={"X-Influxdb-Version": VERSION, "X-Influxdb-Build": "Core"})


async def _text(request: web.Request) -> str:
    """The body; aiohttp has undone its compression."""
    try:
        return (await request.read()).decode()
    except UnicodeDecodeError as error:
        raise InfluxError(400, f"body content is not valid utf8: {error}") from None
    except web.HTTPRequestEntityTooLarge:
        raise InfluxError(413, f"max request size ({LONGEST_BODY_BYTES} bytes) exceeded") from None


async def _body(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise InfluxError(415, "invalid content type, expected: application/json")
    try:
        body: dict[str, Any] = json.loads(await _text(request))
    except ValueError as error:
        raise InfluxError(400, f"serde json error: {error}") from None
    return body


def _named(request: web.Request, parameter: str = "db") -> str:
    try:
        return request.query[parameter]
    except KeyError:
        raise InfluxError(400, f"missing query parameter '{parameter}'") from None


def _unit(precision: str) -> str:
    try:
        return UNITS[precision]
    except KeyError:
        raise InfluxError(400, f"unknown precision: {precision}") from None


def _truth(text: str) -> bool:
    if text not in {"true", "false"}:
        raise InfluxError(400, "provided string was not `true` or `false`")
    return text == "true"


def _rows(table: pa.Table) -> list[dict[str, Any]]:
    """As InfluxDB writes rows: a time as text without a zone, and nothing at all for null."""
    for at, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            texts = [_time(each.value) for each in table.column(at)]
            table = table.set_column(at, field.name, pa.array(texts, pa.utf8()))
    return [{name: value for name, value in row.items() if value is not None} for row in table.to_pylist()]


def _time(time_ns: int | None) -> str | None:
    if time_ns is None:
        return None
    seconds, rest_ns = divmod(time_ns, 1_000_000_000)
    text = pa.scalar(seconds, pa.timestamp("s")).as_py().isoformat()
    if not rest_ns:
        return str(text)
    digits = next(count for count in (3, 6, 9) if rest_ns % 10 ** (9 - count) == 0)
    return f"{text}.{rest_ns // 10 ** (9 - digits):0{digits}}"


def _json(told: object, status: int = 200) -> web.Response:
    return web.json_response(told, status=status)


def _error(status: int, message: str) -> web.Response:
    return _json({"error": message}, status) if message else web.Response(status=status)


def _v2_error(status: int, message: str) -> web.Response:
    codes = {401: "unauthorized", 404: "not found", 413: "request too large", 503: "unavailable"}
    status = 400 if status == 422 else status
    return _json({"code": codes.get(status, "invalid"), "message": message}, status)
