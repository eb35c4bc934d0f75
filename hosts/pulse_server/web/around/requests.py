"""What surrounds every request: its id, its log lines, its metrics, and the headers that keep browsers strict."""

from __future__ import annotations

import re
import time
import uuid
from typing import TYPE_CHECKING

import structlog
from prometheus_client import Counter, Histogram
from quart import Quart, Response, current_app, g, request

from pulse_postgres.audit import ORIGIN, Origin
from pulse_server.web.policy import policy

if TYPE_CHECKING:
    from pulse_core.config import Config

_METHODS = frozenset({"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"})
_ID = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
_AGENT_KEPT = 200

REQUESTS = Counter("pulse_web_requests", "Requests answered by the web role", ["method", "route", "status"])
SECONDS = Histogram(
    "pulse_web_request_seconds", "Time to answer", ["route"], buckets=(0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
)


_HEADERS = {
    "Content-Security-Policy": policy(),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # To ourselves alone. With no-referrer, browsers would say "Origin: null" when they send our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": ", ".join(
        f"{feature}=()"
        for feature in ("camera", "display-capture", "geolocation", "microphone", "midi", "payment", "serial", "usb")
    ),
}
_A_YEAR_OF_TLS = "max-age=31536000"


def install(app: Quart, config: Config) -> None:
    """Register the hooks."""
    headers = dict(_HEADERS)
    if config.mode == "prod" and config.issuer.startswith("https:"):
        headers["Strict-Transport-Security"] = _A_YEAR_OF_TLS
    app.extensions["headers"] = headers
    app.before_request(_begin)
    app.after_request(_finish)


async def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
    g.started = time.perf_counter()
    ORIGIN.set(Origin(request.remote_addr or "", _agent(), g.request_id))
    structlog.contextvars.bind_contextvars(request_id=g.request_id)


def _agent() -> str:
    """What the caller says it is, as far as it can be stored."""
    return printable(request.headers.get("User-Agent", "")[:_AGENT_KEPT])


def printable(text: str) -> str:
    """What a caller sent, with ``?`` for what no log should hold."""
    return "".join(each if each.isprintable() else "?" for each in text)


async def _finish(response: Response) -> Response:
    route = request.url_rule.rule if request.url_rule else "(none)"
    method = (
        request.method if request.method in {"GET", "POST", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE"} else "(other)"
    )
    REQUESTS.labels(method, route, response.status_code).inc()
    SECONDS.labels(route).observe(time.perf_counter() - g.get("started", time.perf_counter()))
    response.headers["X-Request-Id"] = g.get("request_id", "")
    response.headers.setdefault("Cache-Control", "no-store")
    for name, value in current_app.extensions["headers"].items():
        response.headers.setdefault(name, value)
    structlog.contextvars.unbind_contextvars("request_id")
    return response
