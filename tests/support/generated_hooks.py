"""Loaded by Schemathesis: makes the webhooks that it generates real ones, so that what comes after has something."""

from __future__ import annotations

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
