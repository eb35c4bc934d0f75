"""A webhook receiver that checks every signature by itself and shows what came."""

from __future__ import annotations

import asyncio
import collections
import datetime as dt
import json
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from pulse_simulator.lifetime import say
from pulse_simulator.signature import BadSignature, verify

if TYPE_CHECKING:
    from pathlib import Path

KEPT_WEBHOOKS = 200
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature", "content-type", "user-agent")


class Secrets:
    """The secrets file (see the README), read again whenever it changes."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._read_at: int | None = None
        self._by_name: dict[str, list[str]] = {}
        self._all: list[str] = []

    def of(self, name: str) -> list[str]:
        """Tell the secrets that count for a path whose last word is ``name``."""
        self._refresh()
        return self._by_name.get(name, self._all)

    def _refresh(self) -> None:
        if self._path is None or not self._path.exists():
            return
        changed = self._path.stat().st_mtime_ns
        if changed == self._read_at:
            return
        held = json.loads(self._path.read_bytes())
        if isinstance(held, dict):
            self._by_name = {name: [one] if isinstance(one, str) else one for name, one in held.items()}
            held = [secret for several in self._by_name.values() for secret in several]
        self._all, self._read_at = held, changed


class Receiver:
    """Takes webhooks in, judges their signatures, remembers the last ones, and writes them all to ``log``."""

    def __init__(self, secrets: Secrets, log: Path | None = None) -> None:
        self._secrets = secrets
        self._log = log
        self._last: collections.deque[dict[str, Any]] = collections.deque(maxlen=KEPT_WEBHOOKS)
        self._received = 0
        self._invalid = 0

    def app(self) -> web.Application:
        """Build the application: POST anywhere is a webhook, GET / shows the last ones."""
        app = web.Application(client_max_size=1024 * 1024)
        app.router.add_get("/", self._show)
        app.router.add_post("/{path:.*}", self._take)
        return app

    async def _show(self, request: web.Request) -> web.Response:
        asked = request.query.get("limit", "50")
        limit = int(asked) if asked.isascii() and asked.isdigit() else 50
        items = list(self._last)[-limit:][::-1] if limit else []
        return web.json_response({"received": self._received, "invalid": self._invalid, "items": items})

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        seen = self._judge(request, body, time.time())
        self._received += 1
        self._invalid += not seen["signature_valid"]
        self._last.append(seen)
        self._write_down(seen)
        return web.Response(status=204 if seen["signature_valid"] else 401)

    def _judge(self, request: web.Request, body: bytes, now_s: float) -> dict[str, Any]:
        headers = {name: value for name in _HEADERS if (value := request.headers.get(name)) is not None}
        problem = ""
        try:
            verify(headers, body, self._secrets.of(request.path.rpartition("/")[2]), now_s)
        except BadSignature as error:
            problem = str(error)
        try:
            payload = json.loads(body)
        except ValueError:
            payload = None
        return {
            "received_at": dt.datetime.fromtimestamp(now_s, dt.UTC).isoformat(),
            "path": request.path,
            "webhook_id": headers.get("webhook-id"),
            "signature_valid": not problem,
            "problem": problem,
            "payload": payload,
        }

    def _write_down(self, seen: dict[str, Any]) -> None:
        if self._log is not None:
            with self._log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(seen) + "\n")
        payload = seen["payload"] if isinstance(seen["payload"], dict) else {}
        told = {name: payload.get(name) for name in ("event", "tenant_id", "device_id", "alert_type", "summary")}
        say("webhook", signature_valid=seen["signature_valid"], problem=seen["problem"], what=told)


async def receive(port: int, secrets: Path | None, log: Path | None) -> None:
    """Serve on loopback until cancelled; port 0 takes any. Says ``listening`` with the port when it does."""
    runner = web.AppRunner(Receiver(Secrets(secrets), log).app(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        bound = runner.addresses[0][1]
        say("listening", port=bound, url=f"http://127.0.0.1:{bound}")
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
