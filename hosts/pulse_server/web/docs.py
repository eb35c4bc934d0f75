"""``/openapi.json``, and ``/docs``, which shows it: Swagger UI from an installed package, never from elsewhere."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from quart import Blueprint, Response, current_app, render_template, request, send_from_directory
from werkzeug.exceptions import NotFound as NoSuchPage

from pulse_server.outputs.document import OpenApiDocument
from pulse_server.web.described import described, page
from pulse_server.web.openapi.document import served
from pulse_server.web.policy import policy

blueprint = Blueprint("docs", __name__)

_PACKAGE = "flask_swagger_ui"
_ASSETS = frozenset({"swagger-ui.css", "swagger-ui-bundle.js"})
_POLICY = policy().replace("img-src 'self'", "img-src 'self' data:")
"""Swagger UI's style sheet holds its icons."""


@blueprint.get("/openapi.json")
@described(OpenApiDocument, also={304: None})
async def document() -> Response:
    """This document: the same for every caller."""
    found = served(current_app._get_current_object())  # type: ignore[attr-defined]  # noqa: SLF001 - its public way to the application itself
    known = request.if_none_match.contains(found.etag)
    response = Response(b"" if known else found.content, 304 if known else 200, content_type="application/json")
    response.set_etag(found.etag)
    response.headers["Cache-Control"] = "no-cache"
    return response


@blueprint.get("/docs")
@page
async def docs() -> Response:
    """The page."""
    response = Response(await render_template("docs.html"), content_type="text/html; charset=utf-8")
    response.headers["Content-Security-Policy"] = _POLICY
    return response


@blueprint.get("/docs/assets/<name>")
@page
async def asset(name: str) -> Response:
    """A file of Swagger UI's. The package is looked up, not imported: it would bring a web framework along."""
    spec = find_spec(_PACKAGE)
    if name not in _ASSETS or spec is None or spec.origin is None:
        raise NoSuchPage
    return await send_from_directory(Path(spec.origin).parent / "dist", name, cache_timeout=3600)
