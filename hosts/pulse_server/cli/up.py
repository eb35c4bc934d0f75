"""``pulse up``: the whole platform on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click

from pulse_core.errors import PulseError
from pulse_server import runfiles
from pulse_server.bringup import Failed, Platform, Story
from pulse_server.cli.base import Session, err, escaped, pass_session
from pulse_server.cli.story import LogStory, TerminalStory
from pulse_server.exits import code_of
from pulse_server.logging_setup import set_up_logging
from pulse_server.secret_key import key_id

_LOCAL = ("127.0.0.0/8", "::1/128")


if TYPE_CHECKING:
    from pathlib import Path

    from pulse_core.config import Config
    from pulse_server.demo import Demo


@click.command()
@click.option("--demo", is_flag=True, help="Development mode with tenants, simulated devices and a webhook receiver.")
@pass_session
def up(session: Session, demo: bool) -> None:
    """Run everything on this machine: PostgreSQL (unless database_url is set) and a process for each role."""
    config = session.config(**(_demo_overrides(session) if demo else {}))
    set_up_logging("up", json_lines=config.mode == "prod", level="WARNING" if demo else "INFO")
    story: Story = TerminalStory() if demo or config.mode == "dev" else LogStory()
    code = asyncio.run(_run(config, session.config_file, story))
    click.get_current_context().exit(code)


def _demo_overrides(session: Session) -> dict[str, Any]:
    """The demo's receiver is on this machine, which the outbound guard would refuse."""
    allow = session.config(mode="dev").outbound.allow
    return {"demo": True, "mode": "dev", "outbound": {"allow": [*allow, *_LOCAL]}}


async def _run(config: Config, config_file: Path | None, story: Story) -> int:
    platform = Platform(config, config_file, story)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopping.set)
    working = asyncio.create_task(_work(platform), name="up")
    stop = asyncio.create_task(stopping.wait(), name="stop")
    await asyncio.wait({working, stop}, return_when=asyncio.FIRST_COMPLETED)
    stop.cancel()
    working.cancel()
    code = 0
    try:
        with suppress(asyncio.CancelledError):
            await working
    except PulseError as error:
        err.print(f"[bold red]error:[/] {escaped(str(error))}", soft_wrap=True)
        code = error.code if isinstance(error, Failed) else code_of(error)
    finally:
        for name in ("up", "receiver"):
            runfiles.withdraw(platform.config.data_dir, name)
        await platform.stop()
    return code


async def _work(platform: Platform) -> None:
    """Start everything, tell where it is, and wait until something cannot work any more."""
    await platform.prepare()
    demo = _demo(platform) if platform.config.demo else None
    if demo:
        await demo.provision()
    await platform.start_roles()
    runfiles.publish(
        platform.config.data_dir,
        "up",
        addresses=platform.addresses,
        pids=platform.pids(),
        key=key_id(platform.secret_keys[0]),
    )
    if demo:
        await demo.start()
        demo.summary()
        await platform.attended(demo.watch())
    else:
        _tell(platform)
    await platform.attended(asyncio.Event().wait())


def _demo(platform: Platform) -> Demo:
    from pulse_server.demo import Demo  # noqa: PLC0415 - an HTTP client and more, for the demo alone

    return Demo(platform)


def _tell(platform: Platform) -> None:
    for role, addresses in platform.addresses.items():
        for name, url in addresses.items():
            platform.story.note(f"{role}: {name} {url}")
