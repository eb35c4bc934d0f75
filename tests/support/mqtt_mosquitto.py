"""mosquitto_pub and mosquitto_sub as one device: the one publishes, the other listens. Two clients, two sessions."""

from __future__ import annotations

import asyncio
import shutil
from typing import Any

import pytest

from support.mqtt_frames import MQTT5
from support.mqtt_peer import SESSION_S, Peer

PUB, SUB = shutil.which("mosquitto_pub"), shutil.which("mosquitto_sub")
_WITHIN_S = 30.0


class Mosquitto(Peer):
    """mosquitto_sub is the connection; it prints what it hears."""

    _listener: asyncio.subprocess.Process | None = None
    _listening: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        """It subscribes by itself, as soon as it is connected."""
        if SUB is None or PUB is None:
            pytest.skip("mosquitto_pub and mosquitto_sub are not installed (Debian: apt-get install mosquitto-clients)")
        login = self.login
        self.asks_for_its_will = login.version == MQTT5
        self._listener = await self._run(
            SUB, login.client_id, "-c", "-q", "1", "-t", login.commands, "-F", "%t %p",
            "--will-topic", login.topic, "--will-payload", login.will.decode(), "--will-qos", "1",
            *(("-x", str(SESSION_S)) if login.version == MQTT5 else ()),
        )  # fmt: skip
        self._listening = asyncio.create_task(self._listen(self._listener))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            topic, _, payload = line.rstrip(b"\n").partition(b" ")
            self.heard.put_nowait((topic.decode(), payload))

    async def subscribe(self) -> None:
        """It has, or is about to."""

    async def publish(self, payload: bytes, qos: int) -> None:
        """Done when it is acknowledged."""
        assert PUB is not None
        login = self.login
        arguments = ("-q", str(qos), "-t", login.topic, "-m", payload.decode())
        process = await self._run(PUB, f"{login.client_id}-pub", *arguments)
        said, _ = await asyncio.wait_for(process.communicate(), _WITHIN_S)
        assert (process.returncode, said) == (0, b"")

    async def leave(self) -> None:
        """SIGTERM: it says DISCONNECT, if it is given the time."""
        assert self._listener is not None
        self._listener.terminate()
        await asyncio.wait_for(self._listener.wait(), _WITHIN_S)
        await self.close()

    async def vanish(self) -> None:
        """Kill -9."""
        assert self._listener is not None
        self._listener.kill()
        await self.close()

    async def close(self) -> None:
        """Wait for its end."""
        listener, self._listener = self._listener, None
        if listener is None or self._listening is None:
            return
        if listener.returncode is None:
            listener.kill()
        await asyncio.wait_for(listener.wait(), _WITHIN_S)
        await self._listening

    async def _run(self, program: str, client_id: str, *arguments: str) -> asyncio.subprocess.Process:
        login = self.login
        version = "mqttv5" if login.version == MQTT5 else "mqttv311"
        who: tuple[Any, ...] = ("-u", login.username, "-P", login.password, "-i", client_id, "-V", version)
        where = ("-h", login.host, "-p", str(login.port))
        pipe, out = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
        return await asyncio.create_subprocess_exec(program, *where, *who, *arguments, stdout=pipe, stderr=out)
