"""The channel kit has teeth: each channel here breaks one rule, and the kit says so."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ConfigDict

from pulse_core.api import (
    Channel,
    IntegrationConfig,
    Notification,
    PermanentFailure,
    SecretStr,
    TemporaryFailure,
    WebUrl,
)
from pulse_core.testing.channels import HOSTILE, ChannelContract

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from pulse_core.testing.receivers import HttpReceiver

TOKEN = "t0k3n-nobody-may-see"


class BellConfig(IntegrationConfig):
    """A bell."""

    url: WebUrl
    """Where it hangs."""
    token: SecretStr
    """Who may ring."""


class Bell(Channel[BellConfig]):
    """Keeps every rule."""

    name = "bell"
    summary = "Rings"
    integration_type = BellConfig

    async def send(self, notification: Notification) -> str | None:
        answer = await self.services.http.post(self.integration.url, content=notification.to_json())
        return answer.raise_for_failure().receipt


class Kit(ChannelContract):
    """The kit, to be called by hand: pytest does not collect it under this name."""

    def __init__(self, channel: type[Channel[Any]]) -> None:
        self.channel = channel  # type: ignore[misc]  # one kit a channel

    def integration(self, receiver: HttpReceiver) -> dict[str, Any]:
        return {"url": receiver.url, "token": TOKEN}


class _Nameless(Bell):
    name = "Bell, Book & Candle"


class _UnexplainedConfig(BellConfig):
    """A bell."""

    pitch: int = 440


class _Unexplained(Bell):
    integration_type = _UnexplainedConfig


class _LaxConfig(BellConfig):
    """A bell."""

    model_config = ConfigDict(extra="ignore")


class _Lax(Bell):
    integration_type = _LaxConfig


class _OpenConfig(BellConfig):
    """A bell."""

    def __str__(self) -> str:
        return self.token.get_secret_value()


class _Open(Bell):
    integration_type = _OpenConfig


class _TellingEndpoint(Bell):
    @classmethod
    def endpoint(cls, integration: BellConfig) -> str:
        return integration.token.get_secret_value()


class _WanderingEndpoint(Bell):
    numbers = itertools.count()

    @classmethod
    def endpoint(cls, integration: BellConfig) -> str:
        return str(next(cls.numbers))


class _TellingRefusalConfig(BellConfig):
    """A bell."""

    model_config = ConfigDict(hide_input_in_errors=False)


class _TellingRefusal(Bell):
    integration_type = _TellingRefusalConfig


class _TellingFailure(Bell):
    async def send(self, notification: Notification) -> str | None:
        try:
            return await super().send(notification)
        except TemporaryFailure as error:
            raise TemporaryFailure(f"{error} (token {self.integration.token.get_secret_value()})") from error


class _Optimist(Bell):
    async def send(self, notification: Notification) -> str | None:
        await self.services.http.post(self.integration.url, content=notification.to_json())
        return None


class _Pessimist(Bell):
    async def send(self, notification: Notification) -> str | None:
        try:
            return await super().send(notification)
        except TemporaryFailure as error:
            raise PermanentFailure(str(error)) from error


class _Forgetful(Bell):
    sent = False

    async def send(self, notification: Notification) -> str | None:
        if self.sent:
            return "sent already"
        self.sent = True
        return await super().send(notification)


class _Mumbling(Bell):
    async def send(self, notification: Notification) -> str | None:
        body = json.dumps({"text": notification.summary.encode("ascii", "ignore").decode()[:100]})
        answer = await self.services.http.post(self.integration.url, content=body.encode())
        return answer.raise_for_failure().receipt


class _Stubborn(Bell):
    async def send(self, notification: Notification) -> str | None:
        try:
            return await super().send(notification)
        except asyncio.CancelledError:
            return "never mind"


class _Littering(Bell):
    async def send(self, notification: Notification) -> str | None:
        self.leftover = asyncio.create_task(asyncio.Event().wait())
        return await super().send(notification)


class _OneAtATime(Bell):
    current: Notification

    async def send(self, notification: Notification) -> str | None:
        self.current = notification
        await asyncio.sleep(0)
        return await super().send(self.current)


BROKEN: list[tuple[type[Channel[Any]], str, dict[str, Any]]] = [
    (_Nameless, "test_it_says_what_it_is", {}),
    (_Unexplained, "test_every_field_explains_itself", {}),
    (_Lax, "test_a_configuration_is_strict_and_frozen", {}),
    (_Open, "test_secrets_are_told_to_nobody", {}),
    (_TellingEndpoint, "test_secrets_are_told_to_nobody", {}),
    (_WanderingEndpoint, "test_the_endpoint_is_stable", {}),
    (_TellingRefusal, "test_a_refused_configuration_repeats_no_secret", {}),
    (_TellingFailure, "test_it_says_whether_to_try_again", {"mood": "temporary", "failure": TemporaryFailure}),
    (_TellingFailure, "test_nobody_there_is_temporary", {}),
    (_Optimist, "test_it_says_whether_to_try_again", {"mood": "temporary", "failure": TemporaryFailure}),
    (_Optimist, "test_it_says_whether_to_try_again", {"mood": "permanent", "failure": PermanentFailure}),
    (_Pessimist, "test_nobody_there_is_temporary", {}),
    (_Forgetful, "test_it_delivers_and_can_be_repeated", {}),
    (_Mumbling, "test_hostile_texts_survive", {"text": HOSTILE[3]}),
    (_Mumbling, "test_hostile_texts_survive", {"text": HOSTILE[4]}),
    (_Stubborn, "test_it_lets_itself_be_interrupted", {}),
    (_Littering, "test_it_leaves_nothing_running", {}),
    (_OneAtATime, "test_side_by_side", {}),
]


@pytest.mark.parametrize(("channel", "rule", "arguments"), BROKEN, ids=[f"{c.__name__}-{r}" for c, r, _ in BROKEN])
async def test_a_broken_rule_is_noticed(
    channel: type[Channel[Any]], rule: str, arguments: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pulse_core.testing.channels._PATIENCE_S", 1.0)
    await _called(Bell, rule, arguments)
    before = asyncio.all_tasks()
    with pytest.raises((AssertionError, PermanentFailure, TimeoutError, pytest.fail.Exception, ValueError)):
        await _called(channel, rule, arguments)
    for leftover in asyncio.all_tasks() - before:
        leftover.cancel()


async def _called(channel: type[Channel[Any]], rule: str, arguments: dict[str, Any]) -> None:
    outcome: Awaitable[None] | None = getattr(Kit(channel), rule)(**arguments)
    if outcome is not None:
        await outcome
