"""The whole document: Quart's routes, what is answered beside them, and the installed channels. One for all callers."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from quart_schema import Info, QuartSchema

from pulse_server.web.openapi import channels, links
from pulse_server.web.openapi.provider import Provider

if TYPE_CHECKING:
    from quart import Quart

    from pulse_server.web.services import Services

_ABOUT = """
Pulse takes in what devices say, decides how each is doing, opens and closes alerts, and tells people and programs.

- Lists come in parts: `{"items": […], "next": cursor | null}`; give `next` back as `cursor`.
- Whatever goes wrong is told as problem details (RFC 9457).
- Bodies hold exactly the fields that are named here; one that is not is an error.
- A secret goes in and never comes out: it reads `********`.
"""


class Document(NamedTuple):
    """The document as it is served."""

    content: bytes
    etag: str


def document_of(app: Quart) -> dict[str, Any]:
    """Build the document of an application."""
    services: Services = app.extensions["services"]
    info = Info(
        title="OpsConductor-Pulse",
        version=version("opsconductor-pulse"),
        description=_ABOUT.strip(),
    )
    provider = Provider(app, QuartSchema(info=info), services.config.device_http.port)
    document = provider.schema()
    document["info"]["license"] = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
    channels.add(document, services.plugins)
    links.add(document["paths"], document["components"]["schemas"])
    plain: dict[str, Any] = _tidied(msgspec.to_builtins(document))
    return plain


def _tidied(part: Any) -> Any:
    """Docstrings mark code with two backticks, CommonMark with one; and what goes without saying confuses clients."""
    if isinstance(part, list):
        return [_tidied(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {
        name: each.replace("``", "`") if name in {"description", "summary"} and isinstance(each, str) else _tidied(each)
        for name, each in part.items()
        if (name, each) != ("additionalProperties", True)
    }


def served(app: Quart) -> Document:
    """The document's bytes, built at the first request."""
    found: Document | None = app.extensions.get("openapi")
    if found is None:
        content = msgspec.json.encode(document_of(app))
        found = app.extensions["openapi"] = Document(content, hashlib.sha256(content).hexdigest()[:32])
    return found
