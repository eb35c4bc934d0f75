"""The fleet at work: every device of the fleet file, side by side in one event loop."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import aiohttp

from pulse_simulator.device import SimulatedDevice
from pulse_simulator.lifetime import say
from pulse_simulator.mqtt import MqttLink
from pulse_simulator.obeying import obey
from pulse_simulator.posting import HttpLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_simulator.device import Link
    from pulse_simulator.fleet import Member


async def simulate(fleet: Sequence[Member], *, mqtt: tuple[str, int], http: str) -> None:
    """Run the fleet until cancelled. ``mqtt`` is host and port, ``http`` the device HTTP port's base URL."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as tasks:
        for member in fleet:
            link: Link = MqttLink(member, *mqtt)
            if member.way == "http":
                link = posting = HttpLink(member, http, session)
                tasks.create_task(obey(member, posting))
            tasks.create_task(SimulatedDevice(member, link).run())
        say("started", devices=len(fleet))
