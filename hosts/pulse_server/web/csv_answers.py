"""Answers that are streams: CSV for whoever asks for it, and lists that are written while they are sent."""

from __future__ import annotations

import asyncio
import re
from itertools import islice
from typing import TYPE_CHECKING, Any

from quart import Response, request

from pulse_server.exporting.encoding import rows
from pulse_server.web.views import here

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence

_AT_ONCE = 1000
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]+")


def wants_csv(format_: str | None) -> bool:
    """Whether the request is to be answered with CSV: by ``?format=``, or else by Accept."""
    if format_ is not None:
        return format_ == "csv"
    accepted = request.accept_mimetypes
    named = any(kind.lower() == "text/csv" and quality > 0 for kind, quality in accepted)
    return named and accepted["text/csv"] >= accepted["application/json"]


def csv_table(head: Sequence[str], lines: Iterable[Sequence[Any]], name: str, cursor: str | None = None) -> Response:
    """Answer with a table: see :func:`streamed`."""
    return csv_lines(rows([head]), lines, rows, name, cursor)


def csv_lines(
    head: bytes, items: Iterable[Any], encode: Callable[[Any], bytes], name: str, cursor: str | None = None
) -> Response:
    """Answer with a file of CSV that is written while it is sent.

    :param name: of the file, without its ending.
    :param cursor: of the page behind this one, which a Link header tells of.
    """
    response = streamed(head, items, encode, b"", "text/csv; charset=utf-8")
    response.headers["Content-Disposition"] = attachment(f"{name}.csv")
    if cursor is not None:
        response.headers["Link"] = f'<{here(cursor=cursor)}>; rel="next"'
    return response


def streamed(
    head: bytes, items: Iterable[Any], encode: Callable[[Any], bytes], tail: bytes, content_type: str
) -> Response:
    """Answer with ``head``, the items some at a time, and ``tail``. They are encoded aside of all other requests."""

    async def parts() -> AsyncIterator[bytes]:
        yield head
        coming = iter(items)
        while some := tuple(islice(coming, _AT_ONCE)):
            yield await asyncio.to_thread(encode, some)
        yield tail

    response = Response(b"" if request.method == "HEAD" else parts(), content_type=content_type)
    response.timeout = None
    response.vary.add("Accept")
    return response


def attachment(name: str) -> str:
    """A Content-Disposition with a name that any system takes for a file's and nothing else."""
    return f'attachment; filename="{_UNSAFE.sub("-", name)}"'
