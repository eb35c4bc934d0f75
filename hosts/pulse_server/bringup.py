"""Everything on one machine: PostgreSQL when it is ours, then one process for each role, watched until the end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from pulse_core.errors import PulseError
from pulse_postgres.accounts import role_dsn
from pulse_postgres.schema import check_schema
from pulse_server import ports, runfiles
from pulse_server.database import embedded
from pulse_server.secret_key import secret_keys
from pulse_server.supervisor import Program, Supervisor

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pulse_core.config import Config, Listen
    from pulse_server.embedded import EmbeddedPostgres

STOP_ORDER = ("pipeline", "deliver", "web")
START_ORDER = ("pipeline", "deliver", "web")
_LOOK_EVERY_S = 0.05
_TAIL_LINES = 15


class Story(Protocol):
    """Who tells people what happens."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """Something takes a while: it began; it is done when the block ends."""

    def note(self, text: str) -> None:
        """Something happened."""


class Failed(PulseError):  # noqa: N818 - read as a sentence: the platform failed
    """A process of ours cannot work, and starting it again would not help."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Platform:
    """The running platform of one machine."""

    def __init__(self, config: Config, config_file: Path | None, story: Story) -> None:
        self.config = config.model_copy(update={"data_dir": config.data_dir.absolute()})
        self.story = story
        self.supervisor = Supervisor(story.note)
        self.url = ""
        self.secret_keys: tuple[str, ...] = ()
        self.addresses: dict[str, dict[str, str]] = {}
        self._config_file = config_file
        self._postgres: EmbeddedPostgres | None = None
        self._reviving: asyncio.Task[None] | None = None

    @property
    def log_dir(self) -> Path:
        """Where the demo's processes write what they say."""
        return self.config.data_dir / "log"

    def listens(self) -> list[Listen]:
        """Every address that our processes are told to listen on."""
        return [getattr(self.config, name) for name in ports.NAMES]

    def pids(self) -> dict[str, int]:
        """Who runs, and as which process."""
        found = {"postgres": self._postgres.pid} if self._postgres and self._postgres.pid else {}
        return found | self.supervisor.pids()

    async def prepare(self) -> None:
        """Ports, secret key, PostgreSQL, schema.

        :raises PulseError: something must be changed or waited for first.
        """
        if self.config.demo:
            self.config = ports.moved(self.config)
        else:
            ports.demand_free(self.config)
        self.secret_keys = secret_keys(self.config)
        if self.config.database_url is None:
            await self._start_postgres()
        else:
            self.url = self.config.database_url.get_secret_value()
            await check_schema(role_dsn(self.url, "pulse_pipeline", *self.secret_keys))

    async def start_roles(self) -> None:
        """Start one process for each role and wait until all are ready.

        :raises Failed: one of them says that a restart would not help.
        """
        for name in START_ORDER:
            await self.supervisor.start(self._role(name))
        for name in START_ORDER:
            with self.story.step(f"{name} starts"):
                await self.attended(self._ready(name))

    async def attended(self, work: Any) -> Any:
        """Await ``work``, unless a process gives up first.

        :raises Failed: it did.
        """
        task = asyncio.ensure_future(work)
        await asyncio.wait({task, self.supervisor.failed}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        task.cancel()
        name, code = self.supervisor.failed.result()
        raise Failed(f"{name} cannot work{self._tail(name)}", code)

    async def stop(self) -> None:
        """Stop everything, in order; nothing is left running."""
        for name in STOP_ORDER:
            if name in self.supervisor.names():
                with self.story.step(f"{name} stops"):
                    await self.supervisor.stop_one(name)
        for name in reversed(self.supervisor.names()):
            with self.story.step(f"{name} stops"):
                await self.supervisor.stop_one(name)
        if self._reviving is not None:
            self._reviving.cancel()
            with suppress(asyncio.CancelledError):
                await self._reviving
        if self._postgres is not None:
            with self.story.step("PostgreSQL stops"):
                self._postgres.stop()

    def program(self, name: str, command: list[str], environment: dict[str, str]) -> Program:
        """A program, its whole environment; its output goes into a file in the demo, else where ours goes."""
        log_file = self.log_dir / f"{name}.log" if self.config.demo else None
        return Program(name, command, environment, log_file)

    async def _start_postgres(self) -> None:
        from pulse_postgres.migrate import migrate  # noqa: PLC0415 - not needed with a database of one's own
        from pulse_postgres.reader_logins import sweep  # noqa: PLC0415 - the same

        self._postgres = embedded(self.config)
        with self.story.step("PostgreSQL starts"):
            self.url = self._postgres.start()
        self._reviving = asyncio.create_task(self._postgres.supervise(), name="postgres")
        with self.story.step("the schema is brought up to date"):
            await asyncio.to_thread(migrate, self.url, self.secret_keys[0])
            await asyncio.to_thread(sweep, self.url, self.secret_keys[0])

    def _role(self, name: str) -> Program:
        file = ["--config", str(self._config_file.absolute())] if self._config_file else []
        command = [sys.executable, "-P", "-m", "pulse_server", *file, "run", "--role", name]
        return self.program(name, command, self._environment())

    def _environment(self) -> dict[str, str]:
        """Ours, and what was decided here."""
        config = self.config
        told = {
            **os.environ,
            "PULSE_MODE": config.mode,
            "PULSE_DEMO": json.dumps(config.demo),
            "PULSE_DATA_DIR": str(config.data_dir),
            "PULSE_DATABASE_URL": self.url,
            "PULSE_SECRET_KEY": self.secret_keys[0],
            "PULSE_PREVIOUS_SECRET_KEYS": json.dumps(self.secret_keys[1:]),
            "PULSE_OUTBOUND__ALLOW": json.dumps(config.outbound.allow),
        }
        for name in ports.NAMES:
            listen = getattr(config, name)
            told[f"PULSE_{name.upper()}__HOST"] = listen.host
            told[f"PULSE_{name.upper()}__PORT"] = str(listen.port)
        if config.demo and "mqtt" in config.plugins.enabled:
            told["PULSE_PLUGINS__MQTT__PORT_FALLBACK"] = "true"
        return told

    async def _ready(self, name: str) -> None:
        """Wait for the run file of the very process that we started."""
        while True:
            facts = runfiles.lookup(self.config.data_dir, name)
            if facts and facts["pid"] == self.supervisor.pids().get(name):
                self.addresses[name] = facts["addresses"]
                return
            await asyncio.sleep(_LOOK_EVERY_S)

    def _tail(self, name: str) -> str:
        path = self.log_dir / f"{name}.log"
        if not self.config.demo or not path.exists():
            return "; see above"
        lines = path.read_text("utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        return f"; {path} ends with:\n" + "\n".join(lines)
