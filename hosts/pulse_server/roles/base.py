"""What a role is, and what the roles of one process share."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import structlog

from pulse_core.errors import PulseError, StoreUnavailable
from pulse_core.secrets import SecretBox
from pulse_postgres.accounts import role_dsn
from pulse_postgres.notices import Teller
from pulse_postgres.pool import open_pool
from pulse_postgres.probe import ping
from pulse_postgres.schema import check_schema
from pulse_server import runfiles
from pulse_server.health import Health
from pulse_server.secret_key import key_id

if TYPE_CHECKING:
    from collections.abc import Mapping

    import asyncpg

    from pulse_core.config import Config
    from pulse_core.notices import Board
    from pulse_core.plugin_set import Plugins
    from pulse_server.health import Check

log = structlog.get_logger(__name__)

_LOOK_AGAIN_S = 0.5
_CLOSE_WITHIN_S = 1.0


@dataclass(frozen=True)
class Host:
    """One process: its configuration, its secrets, its plugins."""

    config: Config
    database_url: str
    secret_keys: tuple[str, ...]
    """The current one first."""
    plugins: Plugins

    @property
    def box(self) -> SecretBox:
        """For the secrets of integrations."""
        return SecretBox(*self.secret_keys)

    def dsn(self, login: str) -> str:
        """Where one of our login roles finds the database."""
        return role_dsn(self.database_url, login, *self.secret_keys)


class Role(ABC):
    """One role of a host."""

    name: ClassVar[str]
    login: ClassVar[str]
    """The database role whose connection is looked at to know whether the database is there."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.health = Health(self.name)
        self.resources = AsyncExitStack()
        """What :meth:`stop` gives back, the last taken first."""
        self.failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Gets an exception when something that the role cannot live without has ended."""

    @abstractmethod
    async def start(self) -> None:
        """Return once everything runs. Waits, visibly not ready, while the database is away."""

    @abstractmethod
    async def stop(self) -> None:
        """Stop accepting, finish what was promised, give everything back. Also after half a start."""

    def announce(self, addresses: Mapping[str, str]) -> None:
        """Ready: tell the log and the other processes of this machine where we listen."""
        self.health.release("start")
        key = key_id(self.host.secret_keys[0])
        runfiles.publish(self.host.config.data_dir, self.name, addresses=dict(addresses), key=key)
        log.info("role.ready", **addresses)

    def withdraw(self) -> None:
        """No longer ready."""
        self.health.hold("stop", "stopping")
        runfiles.withdraw(self.host.config.data_dir, self.name)

    async def database_ready(self) -> None:
        """Wait until the database answers and its schema is ours.

        :raises SchemaError: it is not, and waiting will not help.
        """
        told = False
        while True:
            try:
                await check_schema(self.host.dsn(self.login))
            except StoreUnavailable as error:
                self.health.hold("database", str(error) or "the database does not answer")
                if not told:
                    log.warning("database.away", reason=str(error))
                told = True
                await asyncio.sleep(_LOOK_AGAIN_S)
            else:
                self.health.release("database")
                return

    async def pool(self, login: str, **options: Any) -> asyncpg.Pool[Any]:
        """A pool of connections as ``login``, closed when the role stops. Waits while the database is away.

        :param options: as of :func:`~pulse_postgres.pool.open_pool`.
        """
        while True:
            try:
                pool = await open_pool(self.host.dsn(login), name=f"{self.name} ({login})", **options)
            except StoreUnavailable as error:
                self.health.hold("database", str(error))
                await asyncio.sleep(_LOOK_AGAIN_S)
            else:
                self.health.release("database")
                self.resources.push_async_callback(_close_pool, pool)
                return pool

    def tell(self, board: Board, pool: asyncpg.Pool[Any]) -> None:
        """Tell the web processes what stands on ``board``, until the role stops."""
        task = asyncio.get_running_loop().create_task(Teller(pool, board).run(), name="notices told")
        self.resources.push_async_callback(_cancelled, task)
        self.watch(task, "notices")

    def answers(self, pool: asyncpg.Pool[Any]) -> Check:
        """A health check: does the database still answer?"""

        async def check() -> str | None:
            try:
                await ping(pool)
            except StoreUnavailable as error:
                return str(error)
            return None

        return check

    def watch(self, task: asyncio.Future[Any], what: str) -> None:
        """End the role when ``task`` ends by itself."""
        task.add_done_callback(lambda done: self._ended(done, what))

    def _ended(self, task: asyncio.Future[Any], what: str) -> None:
        if task.cancelled() or self.failed.done():
            return
        error = task.exception()
        if error is None:
            return
        self.failed.set_exception(error)
        expected = isinstance(error, PulseError)
        log.error("role.failed", what=what, reason=str(error), exc_info=None if expected else error)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _close_pool(pool: asyncpg.Pool[Any]) -> None:
    """Close in order; a database that is away must not keep us."""
    try:
        async with asyncio.timeout(_CLOSE_WITHIN_S):
            await pool.close()
    except TimeoutError:
        pool.terminate()
