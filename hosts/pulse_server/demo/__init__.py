"""The demo: devices that report, fall silent and misbehave, and a receiver that checks what it is told."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import aiohttp

from pulse_core.config import Listen
from pulse_core.errors import ConfigError
from pulse_core.plugins import load_plugins
from pulse_core.principal import Role
from pulse_server import runfiles
from pulse_server.configured import channel_of
from pulse_server.demo.plan import TENANTS, TRY_ME, fleet
from pulse_server.demo.registry import Registry, tokens
from pulse_server.demo.summary import show
from pulse_server.ports import next_free

if TYPE_CHECKING:
    from pulse_server.bringup import Platform

_RECEIVER_PORT = 8090
_LOOK_EVERY_S = 0.2


class Demo:
    """Everything around the platform that makes it a demo."""

    def __init__(self, platform: Platform) -> None:
        if importlib.util.find_spec("pulse_simulator") is None:
            raise ConfigError("the demo needs the simulator: `pip install ./contrib/pulse-simulator`")
        self._platform = platform
        self._folder = platform.config.data_dir / "demo"
        self._receiver = ""
        self._token: str | None = None
        self._customer = ""
        self._devices = 0

    async def provision(self) -> None:
        """Fill the registry, and start the receiver, before anything is delivered to it."""
        platform = self._platform
        platform.story.note("the outbound guard allows loopback in the demo, because the webhook receiver is here")
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        taken = frozenset(listen.port for listen in platform.listens())
        port = next_free(Listen(port=_RECEIVER_PORT), taken).port
        self._receiver = f"http://127.0.0.1:{port}"
        plugins = load_plugins(platform.config)
        async with Registry(platform.url, platform.secret_keys, plugins) as registry:
            with platform.story.step("tenants, devices and tokens are made"):
                await registry.tenants()
                for tenant_id in TENANTS:
                    await registry.metrics(tenant_id)
                granted = await tokens(registry, fleet())
                self._token = await registry.token(TRY_ME)
                self._customer = await registry.api_token(Role.CUSTOMER_ADMIN, TRY_ME.tenant_id)
                operator = await registry.api_token(Role.OPERATOR)
            self._write("api-tokens.json", {TRY_ME.tenant_id: self._customer, "operator": operator})
            self._devices = len(granted)
            self._write("fleet.json", [{**asdict(member), "token": token} for member, token in granted])
            with platform.story.step("webhooks and routes are made"):
                channel = channel_of(plugins, "webhook")
                urls = {tenant: f"{self._receiver}/hooks/{tenant}" for tenant in TENANTS}
                secrets = {tenant: await registry.webhook(tenant, channel, url) for tenant, url in urls.items()}
            self._write("secrets.json", secrets)
        with platform.story.step("the webhook receiver starts"):
            await self._simulate("receiver", "--port", str(port), "--secrets", str(self._folder / "secrets.json"))
            await platform.attended(self._answers())
        runfiles.publish(platform.config.data_dir, "receiver", addresses={"http": self._receiver})

    async def start(self) -> None:
        """Let the devices go."""
        pipeline = self._platform.addresses["pipeline"]
        mqtt = pipeline.get("mqtt", "").removeprefix("mqtt://")
        with self._platform.story.step(f"{self._devices} simulated devices start"):
            where = ["--http", pipeline["http"], *(["--mqtt", mqtt] if mqtt else [])]
            await self._simulate("devices", *where, "--fleet", str(self._folder / "fleet.json"))

    async def watch(self) -> None:
        """Tell when the first alert has gone all the way."""
        while not (await self._received()).get("received"):  # noqa: ASYNC110 - another process; we must look
            await asyncio.sleep(_LOOK_EVERY_S)
        said = await self._received()
        verdict = "every signature verified" if not said["invalid"] else f"{said['invalid']} with a BAD signature"
        self._platform.story.note(f"the receiver got its first webhook: {verdict}; watch the live page for more")

    def summary(self) -> None:
        """Print what runs, where to look and what to try."""
        show(
            self._platform,
            receiver=self._receiver,
            token=self._token,
            customer=self._customer,
            devices=self._devices,
        )

    async def _answers(self) -> None:
        while "received" not in await self._received():  # noqa: ASYNC110 - another process; we must look
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _received(self) -> dict[str, Any]:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http,
                http.get(f"{self._receiver}/?limit=1") as answer,
            ):
                found = await answer.json()
                return found if isinstance(found, dict) else {}
        except (aiohttp.ClientError, TimeoutError):
            return {}

    async def _simulate(self, what: str, *arguments: str) -> None:
        """Strangers to the platform: they get its addresses, and none of its configuration."""
        command = [sys.executable, "-P", "-m", "pulse_simulator", what, *arguments]
        environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("PULSE_")}
        name = "simulator" if what == "devices" else what
        await self._platform.supervisor.start(self._platform.program(name, command, environment))

    def _write(self, name: str, value: Any) -> None:
        runfiles.write_private(self._folder / name, json.dumps(value))
