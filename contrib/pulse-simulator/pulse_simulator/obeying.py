"""What a device does with commands over HTTP: waits for them, carries them out (it says so), acknowledges them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp

from pulse_simulator.lifetime import say

if TYPE_CHECKING:
    from pulse_simulator.fleet import Member
    from pulse_simulator.posting import HttpLink

WAIT_S = 25
"""So long the platform may wait for a command before it answers that there is none."""
REST_S = (0.2, 5.0)
"""After an answer, and after none or a refusal."""
_TIMEOUT = aiohttp.ClientTimeout(total=WAIT_S + 10)
_OK, _NOT_FOUND = 200, 404


async def obey(member: Member, link: HttpLink) -> None:
    """Fetch and acknowledge until cancelled. A command that comes again after a lost answer is not done twice."""
    done: set[str] = set()
    while True:
        await link.within_reach()
        commands = await _fetch(link)
        for command in commands or ():
            if command["command_id"] not in done:
                say("command", device=member.device_id, name=command["name"], payload=command["payload"])
            done.add(command["command_id"])
            if await _acknowledge(link, command["command_id"]):
                done.discard(command["command_id"])
        await asyncio.sleep(REST_S[commands is None])


async def _fetch(link: HttpLink) -> list[dict[str, Any]] | None:
    status, answer = await link.ask("GET", f"commands?wait_s={WAIT_S}", _TIMEOUT)
    return answer["commands"] if status == _OK else None


async def _acknowledge(link: HttpLink, command_id: str) -> bool:
    """Whether the platform has an answer for good: it knows, or it does not want to know any more."""
    status, _ = await link.ask("POST", f"commands/{command_id}/ack", _TIMEOUT)
    return status in {_OK, _NOT_FOUND}
