"""Loaded by Schemathesis: makes the webhooks that it generates real ones, so that what comes after has something.

With ``PULSE_PLAINLY`` set, lists are asked for whole and edits without a condition, so that links lead on.
"""

from __future__ import annotations

import os
from typing import Any

import schemathesis

URL = "http://127.0.0.1:9/nobody"
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@schemathesis.hook
def map_body(_context: schemathesis.HookContext, body: Any) -> Any:
    """A secret has a form that JSON Schema does not tell of."""
    config = body.get("config") if isinstance(body, dict) else None
    if isinstance(config, dict) and all(isinstance(config.get(name), str) for name in ("url", "secret")):
        if len(config["url"]) < 2000:
            config.update(url=URL, secret=SECRET)
        if isinstance(config.get("previous_secret"), str):
            config["previous_secret"] = SECRET
    return body


if os.environ.get("PULSE_PLAINLY"):

    @schemathesis.hook
    def map_query(_context: schemathesis.HookContext, query: Any) -> Any:
        """Filters of made-up values find nothing."""
        return {name: value for name, value in (query or {}).items() if name == "confirm"}

    @schemathesis.hook
    def map_headers(_context: schemathesis.HookContext, headers: Any) -> Any:
        """A made-up condition does not hold."""
        return {name: value for name, value in (headers or {}).items() if not name.startswith("If-")}

    @schemathesis.hook
    def map_path_parameters(_context: schemathesis.HookContext, parameters: Any) -> Any:
        """The one channel that there is."""
        return {name: "webhook" if name == "type" else value for name, value in (parameters or {}).items()}
