"""A stand-in for an InfluxDB 3 Core server: its unmodified clients write to it over HTTP and query it over Flight.

It runs in threads of its own, so that a client may block the event loop of a test. What was written outlives
``stop()`` and ``start()``. Like Core it deletes no rows: only tables and databases, whole.

    async with influx_server() as server:
        client = InfluxDBClient3(host=server.url, token=server.token, database="pulse")
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Literal

from support.influx_flight import FlightDoor
from support.influx_front import Front
from support.influx_http import HttpDoor
from support.influx_sql import Reader
from support.influx_tables import InfluxError, Limits, Store, Taken

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Mapping

    import pyarrow as pa

Mood = Literal["well", "unavailable", "hanging", "silent"]
"""``unavailable``: 503 for whatever is asked. ``hanging``: takes connections and passes nothing on, either way.
``silent``: takes a write, and breaks the connection instead of saying so."""

TOKEN = "apiv3_of-the-stand-in"


class InfluxServer:
    """What tests may turn: ``mood``, ``flush_s``, ``token``, ``query_file_limit``; what they may read: the counters."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.store = Store(limits or Limits())
        self.reader = Reader(self.store)
        self.token = TOKEN
        self.flush_s = 0.0
        """How long a write waits before it is kept and answered; InfluxDB's own is up to a second."""
        self.writes = 0
        """Requests whose lines were kept, all or some."""
        self.queries = 0
        """Queries that were asked, with or without success."""
        self.waiting = 0
        """Writes that wait, see ``flush_s``."""
        self.url = ""
        self._counting = threading.Lock()
        self._mood: Mood = "well"
        self._gone = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="influx", daemon=True)
        self._front: Front
        self._http: HttpDoor
        self._flight: FlightDoor

    @property
    def mood(self) -> Mood:
        """How it is."""
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        self._mood = mood
        self._loop.call_soon_threadsafe(self._front.pass_on, mood != "hanging")

    @property
    def query_file_limit(self) -> int | None:
        """How many files a query may need, see influx_files; None is any number, InfluxDB 3 Core's is 432."""
        return self.reader.query_file_limit

    @query_file_limit.setter
    def query_file_limit(self, limit: int | None) -> None:
        self.reader.query_file_limit = limit

    async def start(self) -> None:
        """Be there again after ``stop()``, at the same URL."""
        await self._there(self._front.open())

    async def stop(self) -> None:
        """Be gone: connections break, writes that were not kept yet are lost, new connections are refused."""
        await self._there(self._vanish())

    async def _vanish(self) -> None:
        self._gone.set()
        self._gone = asyncio.Event()
        await self._front.close()

    async def _there(self, work: Coroutine[Any, Any, None]) -> None:
        await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    async def _open(self) -> None:
        self._http = HttpDoor(self.store, lambda: self.token, self._write, self._query, self._stay_well)
        self._flight = FlightDoor(lambda: self.token, self.sql)
        self._front = Front(await self._http.open(), self._flight.port)
        self.url = f"http://127.0.0.1:{self._front.port}"
        await self._front.open()

    async def _close(self) -> None:
        await self._vanish()
        self._front.give_up()
        await self._http.close()
        await asyncio.to_thread(self._flight.shutdown)
        await self._loop.shutdown_default_executor()

    def sql(self, database: str, sql: str, params: Mapping[str, Any]) -> pa.Table:
        """Answer a query, as InfluxDB's clients would have it answered."""
        with self._counting:
            self.queries += 1
        self._stay_well()
        return self.reader.query(database, sql, params)

    async def _query(self, database: str, sql: str, params: Mapping[str, Any]) -> pa.Table:
        return await asyncio.to_thread(self.sql, database, sql, params)

    async def _write(self, database: str, text: str, unit: str, accept_partial: bool) -> Taken:
        gone = self._gone
        self.waiting += 1
        with suppress(TimeoutError):
            await asyncio.wait_for(gone.wait(), self.flush_s)
        self.waiting -= 1
        if gone.is_set():
            raise InfluxError(503, "the server is gone")
        taken = await asyncio.to_thread(self.store.write, database, text, unit, accept_partial)
        self.writes += taken.points > 0
        if self.mood == "silent":
            await self._front.break_all()
        return taken

    def _stay_well(self) -> None:
        if self.mood == "unavailable":
            raise InfluxError(503, "the server is unavailable")

    def run(self) -> None:
        """Begin the thread."""
        self._thread.start()

    def end(self) -> None:
        """End the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@asynccontextmanager
async def influx_server(limits: Limits | None = None) -> AsyncIterator[InfluxServer]:
    """One at work, at a port of its own on loopback."""
    server = InfluxServer(limits)
    server.run()
    try:
        await server._there(server._open())
        yield server
    finally:
        await server._there(server._close())
        server.end()
