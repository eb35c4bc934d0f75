"""Commands out: a device fetches what it is asked to do, and acknowledges what it has done."""

from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl

import msgspec

from pulse_core.api import Credentials, DeviceKey, RawMessage, Reason, Rejected, StoreUnavailable
from pulse_http import answers
from pulse_http.requests import COMMANDS, head_of, well_named

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from pulse_core.api import Command, Intake, Outcome
    from pulse_http.answers import Answer
    from pulse_http.requests import CommandTarget

MOST = 100
"""So many commands an answer: all that a device can have open."""
LONGEST_WAIT_S = 30

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_PARAMETERS = 10
_ONLY_GET = answers.problem(405, "only GET", (b"allow", b"GET"))
_NO_SUCH = answers.problem(404, "there is no such command, or its time is over")
_LATER = answers.problem(503, "commands cannot be looked at just now; try again", answers.RETRY_AFTER)
_NOT_STORED = (b"cache-control", b"no-store")
_ACKNOWLEDGED = answers.as_json(200, {"status": "acknowledged"})


class _Asked(NamedTuple):
    """How many commands at most, and how long to wait for one if there is none."""

    limit: int = MOST
    wait_s: int = 0


class CommandDoor:
    """Answers for ``…/commands`` and ``…/commands/{command_id}/ack``.

    :param submit: hands messages over and waits for their outcomes; whoever is refused is counted like a message.
    """

    def __init__(
        self, intake: Intake, submit: Callable[[Sequence[RawMessage]], Awaitable[Sequence[Outcome] | None]], source: str
    ) -> None:
        self._intake = intake
        self._submit = submit
        self._source = source

    async def answer(self, target: CommandTarget, scope: Any) -> Answer:
        """Answer one request."""
        acknowledging = target.command_id is not None
        if scope["method"] != ("POST" if acknowledging else "GET"):
            return answers.NOT_ALLOWED if acknowledging else _ONLY_GET
        device = Credentials(DeviceKey(target.tenant_id, target.device_id), head_of(scope["headers"]).token or "")
        try:
            await self._let_in(device)
            if target.command_id is not None:
                return await self._acknowledge(device.key, target.command_id)
            return await self._fetch(device, scope["query_string"])
        except Rejected as error:
            return await self._refuse(target, error.reason)
        except StoreUnavailable:
            return _LATER

    async def _let_in(self, device: Credentials) -> None:
        """Log the device in, and charge it. Raises Rejected, StoreUnavailable."""
        if not well_named(device.key.tenant_id, device.key.device_id):
            raise Rejected(Reason.BAD_TOPIC_FORMAT)
        await self._intake.authenticate(device)
        if self._intake.charge(device.key):
            raise Rejected(Reason.RATE_LIMITED)

    async def _refuse(self, target: CommandTarget, reason: Reason) -> Answer:
        named = (target.tenant_id, target.device_id, COMMANDS)
        asked = RawMessage(*named, b"", time.time_ns() // 1000, self._source, refused=reason)
        outcomes = await self._submit([asked])
        return answers.of_outcome(outcomes[0]) if outcomes else answers.LATER

    async def _acknowledge(self, key: DeviceKey, command_id: str) -> Answer:
        try:
            named = uuid.UUID(command_id)
        except ValueError:
            return _NO_SUCH
        return _ACKNOWLEDGED if await self._intake.acknowledge_command(key, named) else _NO_SUCH

    async def _fetch(self, device: Credentials, query: bytes) -> Answer:
        try:
            asked = _asked(query)
        except ValueError as error:
            return answers.problem(422, str(error), reason=Reason.INVALID_FIELD)
        if asked.wait_s:
            await self._intake.command_comes(device.key, asked.wait_s)
            await self._intake.authenticate(device)  # much can happen in half a minute
        return _given(await self._intake.commands(device.key, limit=asked.limit))


def _asked(query: bytes) -> _Asked:
    """Read ``?limit=&wait_s=``. Raises ValueError, for the device's author to read."""
    given = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    found = dict(given)
    if len(found) != len(given) or found.keys() - set(_Asked._fields):
        raise ValueError("the parameters are limit and wait_s, each once")
    return _Asked(_whole(found, "limit", 1, MOST, MOST), _whole(found, "wait_s", 0, LONGEST_WAIT_S, 0))


def _whole(found: dict[str, str], name: str, least: int, most: int, default: int) -> int:
    text = found.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and least <= int(text) <= most):
        raise ValueError(f"{name} is a whole number from {least} to {most}")
    return int(text)


def _given(commands: Sequence[Command]) -> Answer:
    shown = [
        {
            "command_id": command.command_id,
            "name": command.name,
            "payload": msgspec.Raw(command.payload.encode()),
            "created_at": _time(command.created_us),
            "expires_at": _time(command.expires_us),
        }
        for command in commands
    ]
    return answers.as_json(200, {"commands": shown}, _NOT_STORED)


def _time(at_us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=at_us)
