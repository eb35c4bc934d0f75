"""The HTTP client that channels use: behind the guard, and distrustful of whoever answers.

No redirect, no cookie, no proxy from the environment, no decompression; at most 64 KB of an answer is read,
within one time-out for everything. Messages name host and port only: a URL's path and query may be secret.
"""

from __future__ import annotations

import asyncio
import json as json_module
import socket
import time
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from pulse_core.addresses import literal, shown
from pulse_core.errors import OutboundRefused, PermanentFailure, PulseError, TemporaryFailure
from pulse_core.outbound.answers import HttpAnswer
from pulse_core.outbound.contact import note, note_address
from pulse_core.outbound.guard import Outbound, reason

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.connector import Connection

MAX_ANSWER_BYTES = 64 * 1024
_BODY_PATIENCE_S = 5.0
_KEEPALIVE_S = 4.0
"""Shorter than the 5 s after which common servers close: we must not be writing just then."""


class HttpClient:
    """An HTTP/1.1 client with pooled connections, one pool per host and port.

    :param outbound: the guard; it also says what TLS trusts.
    :param allow_plain_http: False (production) refuses ``http:`` URLs.
    """

    def __init__(self, outbound: Outbound, *, allow_plain_http: bool = False) -> None:
        self._outbound = outbound
        self._schemes = {"https", "http"} if allow_plain_http else {"https"}
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the pooled connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def post(self, url: str, **request: Any) -> HttpAnswer:
        """POST; see :meth:`request`."""
        return await self.request("POST", url, **request)

    async def get(self, url: str, **request: Any) -> HttpAnswer:
        """GET; see :meth:`request`."""
        return await self.request("GET", url, **request)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        json: Any = None,
        timeout_s: float = 15.0,
    ) -> HttpAnswer:
        """Make one request and return the answer, whatever its status.

        :meth:`HttpAnswer.raise_for_failure` judges it.

        :param content: the body; or ``json``, which is encoded and labelled.
        :param timeout_s: for everything, from the look-up to the last byte that is read.
        :raises OutboundRefused: the guard says no, or the scheme is refused.
        :raises TemporaryFailure: network, name resolution (:class:`NameUnresolved`), certificate, time-out.
        :raises PermanentFailure: the URL or a header can never be sent.
        """
        target = self._checked(url)
        sent = {"User-Agent": "OpsConductor-Pulse", "Accept-Encoding": "identity", **(headers or {})}
        if json is not None:
            content = json_module.dumps(json).encode()
            sent.setdefault("Content-Type", "application/json")
        where = f"{shown(target.raw_host or '')} port {target.port}"
        try:
            async with asyncio.timeout(timeout_s):
                return await self._exchange(method, target, sent, content, 0.9 * timeout_s)
        except (TimeoutError, aiohttp.ClientError, HttpProcessingError, ValueError) as error:
            raise _failure(error, where, timeout_s) from None  # the original may hold the URL

    async def _exchange(
        self, method: str, url: URL, headers: Mapping[str, str], content: bytes | None, within_s: float
    ) -> HttpAnswer:
        """Make the exchange; what of the body has not come ``within_s`` is done without: the status has come."""
        started = time.perf_counter()
        async with self._opened().request(
            method, url, headers=headers, data=content, allow_redirects=False
        ) as response:
            left_s = within_s - (time.perf_counter() - started)
            body, truncated = await _taken(response, min(_BODY_PATIENCE_S, left_s))
            return HttpAnswer(
                status=response.status,
                headers={name.lower(): value for name, value in response.headers.items()},
                body=body,
                truncated=truncated,
                address=getattr(response, "address", ""),
                duration_ms=round((time.perf_counter() - started) * 1000),
            )

    def _checked(self, url: str) -> URL:
        try:
            target = URL(url)
        except (ValueError, TypeError):
            raise PermanentFailure("the URL is malformed") from None
        if target.scheme not in self._schemes:
            raise OutboundRefused("only https: URLs may be called" if self._schemes == {"https"} else "no http URL")
        if not target.raw_host or not target.port:
            raise PermanentFailure("the URL names no host")
        if target.raw_user is not None or target.raw_password is not None:
            raise PermanentFailure("the URL may hold no user name or password: use a header")
        written = literal(target.raw_host)
        if written is not None:
            self._outbound.check(written, target.raw_host, target.port)
        return target

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_GuardedResolver(self._outbound),
                socket_factory=self._socket,
                use_dns_cache=False,
                ssl=self._outbound.tls,
                limit=0,
                keepalive_timeout=_KEEPALIVE_S,
            )
            handler = partial(_Handler, loop=asyncio.get_running_loop())
            connector._factory = handler  # type: ignore[assignment]  # noqa: SLF001 - there is no public way
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
                response_class=_Response,
                auto_decompress=False,
                trust_env=False,
                skip_auto_headers=("Content-Type",),
            )
        return self._session

    def _socket(self, address: tuple[Any, ...]) -> socket.socket:
        """Check the address once more where the socket is made: nothing can go round this."""
        family, kind, protocol, _, sockaddr = address
        self._outbound.check_socket(ip_address(sockaddr[0]), sockaddr[1])
        note_address(sockaddr)
        return socket.socket(family, kind, protocol)


class _GuardedResolver(AbstractResolver):
    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._outbound.resolve(host, port)
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=socket.IPPROTO_TCP,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for address in addresses
            if family in (socket.AF_UNSPEC, socket.AF_INET6 if ":" in address else socket.AF_INET)
        ]

    async def close(self) -> None:
        """Nothing is held."""


class _Handler(ResponseHandler):
    """Reads the header by itself, so that what comes with it cannot undo the status.

    aiohttp forgets an answer when something wrong follows in the same segment, as a body after 204 or one that is
    longer than announced: then whoever has taken a message would be sent it again for days.
    """

    def data_received(self, data: bytes) -> None:
        head, end, rest = data.partition(b"\r\n\r\n")
        if rest:
            super().data_received(head + end)
        super().data_received(rest or data)


class _Response(aiohttp.ClientResponse):
    """Remembers who answers: a short answer gives its connection back before it can be asked."""

    address = ""

    async def start(self, connection: Connection) -> aiohttp.ClientResponse:
        transport = connection.transport
        if transport is not None:
            note(transport)
            peer = transport.get_extra_info("peername")
            self.address = str(peer[0]) if peer else ""
        return await super().start(connection)


async def _taken(response: aiohttp.ClientResponse, patience_s: float) -> tuple[bytes, bool]:
    """Read the body, as much of it as comes within ``patience_s``, and tell whether that was not all.

    The status line has said what matters; a body that is too long, too slow or broken costs the connection only.
    """
    taken = bytearray()
    try:
        async with asyncio.timeout(patience_s):
            async for chunk in response.content.iter_any():
                taken += chunk
                if len(taken) > MAX_ANSWER_BYTES:
                    break
            else:
                return bytes(taken), False
    except (TimeoutError, aiohttp.ClientError, HttpProcessingError):
        pass  # what came is what there is
    response.close()
    return bytes(taken[:MAX_ANSWER_BYTES]), True


def _failure(error: Exception, where: str, timeout_s: float) -> PulseError:
    """Say in our words what the client library says, without the URL that its messages hold."""
    kind: type[PulseError] = TemporaryFailure
    match error:
        case TimeoutError():
            why = f"no answer within {timeout_s:g} s"
        case aiohttp.ClientConnectorCertificateError():
            why = _why(error.certificate_error)
        case aiohttp.ClientOSError():
            why = _why(error.__cause__ or error)
        case aiohttp.ClientResponseError() | HttpProcessingError():
            why = "the answer is not HTTP, or its header is too long"
        case aiohttp.InvalidURL():
            kind, why = PermanentFailure, "the URL cannot be requested"
        case aiohttp.ClientError():
            why = "the connection broke off before the answer was complete"
        case _:
            kind, why = PermanentFailure, "a header holds what no header may hold"
    return kind(f"{where}: {why}")


def _why(error: BaseException) -> str:
    return reason(error) if isinstance(error, OSError) else "the connection broke off"
