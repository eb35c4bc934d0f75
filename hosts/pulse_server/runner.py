"""One process that runs one role or all of them, from start to an orderly end."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import structlog
import uvloop

from pulse_core.errors import ConfigError, PermanentFailure, PulseError
from pulse_core.plugins import load_plugins
from pulse_server.exits import FAILED
from pulse_server.roles.base import Host, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.config import Config

log = structlog.get_logger(__name__)

ROLES = {"pipeline": "PipelineRole", "deliver": "DeliverRole", "web": "WebRole"}
"""In the order of stopping: what takes work in goes first. Each is imported only where it runs."""

LEAVE_WITHIN_S = 9.5
"""From the signal to the end of the process; a supervisor kills after 10 s."""


class RoleError(ConfigError):
    """A role cannot run, and starting it again would end the same way: the operator must change something."""


def run_roles(config: Config, database_url: str, secret_keys: tuple[str, ...], names: Sequence[str]) -> None:
    """Run roles until SIGTERM or SIGINT.

    :param secret_keys: the current one first.
    :raises PulseError: a role cannot start, or can no longer work.
    """
    host = Host(config, database_url, secret_keys, load_plugins(config))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(host, names))


async def _serve(host: Host, names: Sequence[str]) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    roles = [_role(name)(host) for name in ROLES if name in names]
    working = asyncio.create_task(_work(host, roles), name="work")
    stop = asyncio.create_task(stopping.wait(), name="stop")
    try:
        await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        _leave_in_time()
        stop.cancel()
        working.cancel()
        (failure,) = await asyncio.gather(working, return_exceptions=True)
        for role in roles:
            await _stop(role)
    if isinstance(failure, PermanentFailure):
        raise RoleError(str(failure)) from failure
    if isinstance(failure, PulseError):
        raise failure
    if isinstance(failure, Exception):
        log.error("host.failed", exc_info=failure)
        sys.exit(FAILED)


def _role(name: str) -> type[Role]:
    found: type[Role] = getattr(importlib.import_module(f"pulse_server.roles.{name}"), ROLES[name])
    return found


async def _work(host: Host, roles: Sequence[Role]) -> None:
    """Start every role, then wait; returns never, raises what a role cannot live with."""
    for status in await host.plugins.self_check():
        log.warning("plugin.self_check_failed", plugin=status.name, error=status.error)
    starting = [asyncio.create_task(role.start(), name=f"start {role.name}") for role in roles]
    try:
        await asyncio.gather(*starting)
    finally:
        for task in starting:
            task.cancel()
        await asyncio.gather(*starting, return_exceptions=True)
    await asyncio.gather(*(role.failed for role in roles))


async def _stop(role: Role) -> None:
    """One role that cannot stop in order must not keep the others from it."""
    log.info("role.stopping", stops=role.name)
    try:
        await role.stop()
    except Exception as error:
        log.error("role.stop_failed", stops=role.name, exc_info=error)  # noqa: TRY400 - the same, with our logger


def _leave_in_time() -> None:
    """Whatever hangs, the process is gone in time: nothing that was acknowledged can be lost by it."""

    def leave() -> None:
        log.error("host.stop_took_too_long", limit_s=LEAVE_WITHIN_S)
        sys.stderr.flush()
        os._exit(FAILED)

    timer = threading.Timer(LEAVE_WITHIN_S, leave)
    timer.daemon = True
    timer.start()
