"""The limit that HTTP figures are put beside: an ASGI app on the product's own web server that stores nothing.

It reads the body, decodes the JSON and answers. ``python -m bench.bare_http PORT`` with ``tests`` on PYTHONPATH.
"""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import uvicorn

_decode = msgspec.json.Decoder().decode
_HEADERS = [(b"content-type", b"application/json")]


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer 202 with as many messages accepted as there were."""
    body, more = b"", True
    while more:
        event = await receive()
        body += event.get("body", b"")
        more = event.get("more_body", False)
    decoded = _decode(body) if body else {}
    answer = b'{"accepted":%d,"rejected":0}' % len(decoded.get("messages", (0,)))
    headers = [*_HEADERS, (b"content-length", b"%d" % len(answer))]
    status = 202 if scope["method"] == "POST" else 200
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(sys.argv[1]),
        loop="uvloop",
        http="httptools",
        lifespan="off",
        log_level="error",
        access_log=False,
    )
