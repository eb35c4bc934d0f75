"""npm's ``mqtt`` (MQTT.js) as a device."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from support.mqtt_peer import SESSION_S, Peer
from support.npm import installed

HERE = Path(__file__).parent
_WITHIN_S = 30.0


class MqttJs(Peer):
    """A process of node, told what to do line by line."""

    _process: asyncio.subprocess.Process | None = None
    _listening: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """In the same process as before."""
        if self._process is None:
            await self._start()
        login = self.login
        options: dict[str, Any] = {
            "host": login.host,
            "port": login.port,
            "username": login.username,
            "password": login.password,
            "clientId": login.client_id,
            "protocolVersion": login.version,
            "clean": False,
            "will": {"topic": login.topic, "payload": login.will.decode(), "qos": 1},
        }
        if login.version == 5:
            options["properties"] = {"sessionExpiryInterval": SESSION_S}
        self.present = (await self._do("connect", options=options))["present"]

    async def subscribe(self) -> None:
        """With QoS 1."""
        assert (await self._do("subscribe", filter=self.login.commands))["granted"] == [1]

    async def publish(self, payload: bytes, qos: int) -> None:
        """Done when it is acknowledged."""
        await self._do("publish", topic=self.login.topic, payload=payload.decode(), qos=qos)

    async def leave(self) -> None:
        """DISCONNECT."""
        await self._do("leave")

    async def vanish(self) -> None:
        """Its socket is destroyed."""
        await self._do("vanish")

    async def close(self) -> None:
        """End the process."""
        if self._process is None or self._listening is None:
            return
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _WITHIN_S)
        except TimeoutError:
            self._process.kill()
            raise
        await self._listening

    async def _start(self) -> None:
        folder = await asyncio.to_thread(installed, HERE, "mqtt")
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            "node", str(HERE / "client.mjs"), str(folder), stdin=pipe, stdout=pipe
        )
        self._done: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._listening = asyncio.create_task(self._listen(self._process))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            said = json.loads(line)
            if "did" in said:
                self._done.put_nowait(said)
            else:
                self.heard.put_nowait((said["topic"], said["payload"].encode()))

    async def _do(self, deed: str, **fields: Any) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": deed, **fields}).encode() + b"\n")
        said = await asyncio.wait_for(self._done.get(), _WITHIN_S)
        assert said["did"] == deed, said
        return said
