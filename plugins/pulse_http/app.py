"""The ASGI app behind ``/ingest``: one message, a batch or a question in, one answer out, after the commit."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from pulse_core.api import RawMessage, Reason
from pulse_http import answers, batches
from pulse_http.bodies import Bodies, CrowdedError, PeerGoneError, TooLargeError
from pulse_http.commands import CommandDoor
from pulse_http.requests import CommandTarget, Head, Target, head_of, target_of, well_named

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pulse_core.api import Intake, Outcome
    from pulse_http.answers import Answer
    from pulse_http.config import HttpConfig

_WORTH_DISCARDING = 16 * 1024 * 1024
"""A refused body of up to this size is read to its end, so that the peer sees the answer; beyond it we hang up."""


class IngestApp:
    """Expects the paths as they came in, ``/ingest`` included."""

    def __init__(self, intake: Intake, config: HttpConfig, source: str, log: Any) -> None:
        self._intake = intake
        self._config = config
        self._source = source
        self._log = log
        self._bodies = Bodies(config.body_timeout_s, config.max_buffered_bytes)
        self._too_large = answers.refused(Reason.PAYLOAD_TOO_LARGE, f"more than {config.max_batch_bytes} bytes")
        self._commands = CommandDoor(intake, self._submit, source)
        self._undecided = 0
        self._all_answered = asyncio.Event()
        self._all_answered.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
        except PeerGoneError:
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, nothing was acknowledged: the peer may try again
            self._log.error("http.failed", error=repr(error), exc_info=error)
            answer = answers.LATER
        await send({"type": "http.response.start", "status": answer.status, "headers": list(answer.headers)})
        await send({"type": "http.response.body", "body": answer.body})

    async def answered(self, within_s: float) -> None:
        """Return when nothing that was handed over lacks its outcome, or after ``within_s``."""
        try:
            async with asyncio.timeout(within_s):
                await self._all_answered.wait()
        except TimeoutError:
            return

    async def _answer(self, scope: Any, receive: Any) -> Answer:
        target = target_of(scope)
        if target is None:
            return answers.NOT_FOUND
        if isinstance(target, CommandTarget):
            stops = self._intake.stopping.is_set()
            return answers.STOPPING if stops else await self._commands.answer(target, scope)
        if scope["method"] != "POST":
            return answers.NOT_ALLOWED
        head = head_of(scope["headers"])
        if not head.is_json:
            return answers.NOT_JSON
        return answers.STOPPING if self._intake.stopping.is_set() else await self._take(target, head, receive)

    async def _take(self, target: Target | str, head: Head, receive: Any) -> Answer:
        try:
            if isinstance(target, Target):
                return await self._take_one(target, head, receive)
            return await self._take_batch(head, receive)
        except TimeoutError:
            return answers.BODY_TIMEOUT
        except CrowdedError:
            return answers.STOPPING

    async def _take_one(self, target: Target, head: Head, receive: Any) -> Answer:
        hang_up = False
        try:
            payload = await self._bodies.read(receive, self._intake.max_payload_bytes)
        except TooLargeError as error:
            payload = error.start
            hang_up = not _ends_soon(head)
        refused = None if well_named(*target) else Reason.BAD_TOPIC_FORMAT
        message = RawMessage(*target, payload, time.time_ns() // 1000, self._source, token=head.token, refused=refused)
        outcomes = await self._submit([message])
        answer = answers.of_outcome(outcomes[0]) if outcomes else answers.LATER
        return _hanging_up(answer) if hang_up else answer

    async def _take_batch(self, head: Head, receive: Any) -> Answer:
        limit, too_large = self._config.max_batch_bytes, self._too_large
        if head.length is not None and head.length > limit:
            return too_large if _ends_soon(head) else _hanging_up(too_large)
        try:
            body = await self._bodies.read(receive, limit)
            pieces = await batches.split(body, self._config.max_batch_messages)
        except TooLargeError:
            return _hanging_up(too_large)
        except batches.UnreadableError as error:
            return error.answer
        received_us, source = time.time_ns() // 1000, self._source
        outcomes = await self._submit([batches.to_raw(piece, received_us, source) for piece in pieces])
        return answers.LATER if outcomes is None else batches.answer(outcomes)

    async def _submit(self, messages: Sequence[RawMessage]) -> Sequence[Outcome] | None:
        """Hand over and wait; None when the outcome does not come in time (it is then anybody's guess)."""
        if not messages:
            return ()
        future = asyncio.ensure_future(self._intake.submit(messages))
        if not future.done():
            self._undecided += 1
            self._all_answered.clear()
            try:
                await asyncio.wait((future,), timeout=self._config.outcome_timeout_s)
            finally:
                self._undecided -= 1
                if not self._undecided:
                    self._all_answered.set()
        return future.result() if future.done() else None


def _ends_soon(head: Head) -> bool:
    return head.length is not None and head.length <= _WORTH_DISCARDING


def _hanging_up(answer: Answer) -> Answer:
    return answer._replace(headers=(*answer.headers, answers.CLOSE))
