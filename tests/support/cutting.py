"""A proxy in front of PostgreSQL that cuts a connection at the worst moments."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, Self
from urllib.parse import parse_qs, quote, urlsplit

if TYPE_CHECKING:
    from types import TracebackType

Moment = Literal["before COMMIT", "after COMMIT"]


class CuttingProxy:
    """Passes bytes on, until :attr:`cut_at` says otherwise; then it cuts once and passes on again.

    "before COMMIT": the server never sees it. "after COMMIT": the server did it, and the client never hears.
    """

    def __init__(self, dsn: str) -> None:
        parts = urlsplit(dsn)
        query = parse_qs(parts.query)
        self._socket = f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}"
        self._account = f"{parts.username}:{quote(parts.password or '', safe='')}"
        self._database = parts.path
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self.cut_at: Moment | None = None
        self.cuts = 0

    @property
    def dsn(self) -> str:
        assert self._server is not None
        port = self._server.sockets[0].getsockname()[1]
        return f"postgresql://{self._account}@127.0.0.1:{port}{self._database}?sslmode=disable"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.cut_all()
        await self._server.wait_closed()

    def cut_all(self) -> None:
        """Cut every connection now, without a goodbye."""
        for writer in list(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_unix_connection(self._socket)
        self._writers |= {writer, up_writer}
        deaf = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._upwards(reader, up_writer, deaf))
                group.create_task(self._downwards(up_reader, writer, deaf))
        except* (ConnectionError, _Cut):
            pass
        finally:
            for end in (writer, up_writer):
                end.transport.abort()
                with suppress(ConnectionError):
                    await end.wait_closed()
                self._writers.discard(end)

    async def _upwards(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, deaf: asyncio.Event) -> None:
        while data := await source.read(65536):
            if self.cut_at is not None and b"COMMIT" in data:
                moment, self.cut_at = self.cut_at, None
                self.cuts += 1
                if moment == "before COMMIT":
                    raise _Cut
                deaf.set()
            sink.write(data)
            await sink.drain()
        raise _Cut

    async def _downwards(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, deaf: asyncio.Event) -> None:
        while data := await source.read(65536):
            if deaf.is_set():
                raise _Cut
            sink.write(data)
            await sink.drain()
        raise _Cut


class _Cut(Exception):  # noqa: N818 - an event, not an error
    """The connection ends here."""
