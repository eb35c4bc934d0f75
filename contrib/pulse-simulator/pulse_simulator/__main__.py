"""The command line: ``devices`` and ``receiver``."""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulse_simulator.devices import simulate
from pulse_simulator.fleet import FleetError, read_fleet
from pulse_simulator.lifetime import until_told
from pulse_simulator.receiver import receive

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]") or "127.0.0.1", int(port)


def parser() -> argparse.ArgumentParser:
    """Describe what may be asked for."""
    top = argparse.ArgumentParser(prog="pulse-simulator", description=__doc__)
    commands = top.add_subparsers(dest="command", required=True)
    devices = commands.add_parser("devices", help="simulate a fleet of devices")
    devices.add_argument("--mqtt", type=_address, default=("127.0.0.1", 1883), metavar="HOST:PORT")
    devices.add_argument("--http", default="http://127.0.0.1:8081", metavar="URL")
    devices.add_argument("--fleet", type=Path, required=True, metavar="FILE")
    receiver = commands.add_parser("receiver", help="receive webhooks and check their signatures")
    receiver.add_argument("--port", type=int, default=0, help="0 takes any free port")
    receiver.add_argument("--secrets", type=Path, metavar="FILE")
    receiver.add_argument("--log", type=Path, metavar="FILE", help="append one JSON line a webhook")
    return top


def _work(asked: argparse.Namespace) -> Coroutine[Any, Any, None]:
    if asked.command == "devices":
        return simulate(read_fleet(asked.fleet), mqtt=asked.mqtt, http=asked.http)
    return receive(asked.port, asked.secrets, asked.log)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command to its end; the exit code is 2 for a wrong fleet file."""
    asked = parser().parse_args(arguments)
    try:
        asyncio.run(until_told(_work(asked)))
    except (FleetError, OSError) as error:
        sys.stderr.write(f"pulse-simulator: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
