"""Where readings are: in which database, in which tables; and what is asked of them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, ClassVar, cast

from pulse_core.api import ConfigError, PluginConfig, StoreUnavailable, TelemetryStore
from pulse_influxdb.asking import Query, Tables
from pulse_influxdb.config import InfluxConfig
from pulse_influxdb.names import database_of
from pulse_influxdb.server import LinesRefusedError, NotThereError, Server

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import TypeVar

    from pulse_influxdb.asking import Part

    T = TypeVar("T")
    Rows = list[dict[str, Any]]

_TRIES = 4
_TABLES = "SELECT table_name FROM information_schema.tables"
LAST_US = 253_402_300_799_000_000
"""The last second of the year 9999: later than any reading."""


class KeptInInflux(TelemetryStore):
    """What every part of the store needs: the server, a tenant's database, and queries over its days."""

    config_type: ClassVar[type[PluginConfig]] = InfluxConfig

    def __init__(self, config: PluginConfig) -> None:
        super().__init__(config)
        self.options = cast("InfluxConfig", config)
        self._connected: Server | None = None
        self._shared_is_there = False

    async def open(self, database: Any) -> None:  # noqa: ARG002 - we have a database of our own
        """Connect. A server that is away is no reason not to start: nothing is acknowledged until it is back.

        :raises ConfigError: the server has no room for what the configuration wants.
        """
        self._connected = Server(self.options)
        with contextlib.suppress(StoreUnavailable):
            await self._make_room()

    async def close(self) -> None:
        """Let what is under way end, and close the connections."""
        connected, self._connected = self._connected, None
        if connected is not None:
            await connected.close()

    @property
    def server(self) -> Server:
        """Raises StoreUnavailable: it is not open."""
        if self._connected is None:
            raise StoreUnavailable("the telemetry store is not open")
        return self._connected

    def database(self, tenant_id: str) -> str:
        """In which database a tenant's readings are."""
        if self.options.tenancy == "shared":
            return self.options.shared_database
        return database_of(self.options.database_prefix, tenant_id)

    async def all_databases(self) -> list[str]:
        """Every database of ours that is there."""
        there = await self.server.databases()
        if self.options.tenancy == "shared":
            return [name for name in there if name == self.options.shared_database]
        return [name for name in there if name.startswith(self.options.database_prefix)]

    async def tables(self, database: str) -> Tables:
        """The tables at this moment; none of a database that is not there."""
        try:
            rows = await self.server.query(database, _TABLES, {})
        except NotThereError:
            return Tables([])
        return Tables(str(row["table_name"]) for row in rows)

    async def ask(
        self, tenant_id: str, start_us: int, end_us: int, build: Callable[[Query], str]
    ) -> list[tuple[Part, Rows]]:
        """What a query finds of a tenant in [start, end): for each part of the time that is asked by itself.

        :param build: makes the SQL; it is called once for each part.
        """
        return await self.ask_in(self.database(tenant_id), tenant_id, (start_us, end_us), build)

    async def ask_in(
        self, database: str, tenant_id: str | None, within_us: tuple[int, int], build: Callable[[Query], str]
    ) -> list[tuple[Part, Rows]]:
        """As :meth:`ask`, of one database; with None as tenant, of all that are in it."""

        async def one(part: Part, tables: Tables) -> tuple[Part, Rows]:
            query = Query(tenant_id, part, tables)
            sql = build(query)
            return part, await self.server.query(database, sql, query.params)

        async def attempt() -> list[tuple[Part, Rows]]:
            tables = await self.tables(database)
            return await all_of([one(part, tables) for part in tables.parts(*within_us, self.options.query_range_h)])

        return await steady(attempt)

    async def make_shared(self) -> None:
        """Make the database that tenants share, if that was not done before. Raises LinesRefusedError."""
        if not self._shared_is_there:
            await self.server.create_database(self.options.shared_database)
            self._shared_is_there = True

    async def _make_room(self) -> None:
        if self.options.tenancy == "shared":
            try:
                await self.make_shared()
            except LinesRefusedError as error:
                raise ConfigError(f"plugins.influxdb.shared_database: InfluxDB makes none: {error}") from error
            return
        there, room = await self.server.databases(), self.options.max_databases
        if len(there) >= room and not any(name.startswith(self.options.database_prefix) for name in there):
            raise ConfigError(
                f"plugins.influxdb.tenancy: the server holds {len(there)} databases of others and allows {room}, so "
                'there is no room for a tenant: say tenancy = "shared", or raise max_databases if it allows more'
            )


async def steady(attempt: Callable[[], Awaitable[T]]) -> T:
    """Ask again where a table went (retention dropped it) between looking for it and asking it."""
    for _ in range(_TRIES):
        try:
            return await attempt()
        except NotThereError as error:
            gone = error
    raise StoreUnavailable(f"InfluxDB's tables come and go: {gone}")


async def all_of(work: list[Any]) -> list[Any]:
    """Wait until all have ended, then give what they gave, or raise what one of them raised."""
    ended = await asyncio.gather(*work, return_exceptions=True)
    for each in ended:
        if isinstance(each, BaseException):
            raise each
    return ended
