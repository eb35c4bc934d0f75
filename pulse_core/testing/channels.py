"""The contract of a channel. Inherit it, say how to configure the channel, and run pytest::

    class TestSlackContract(ChannelContract):
        channel = SlackChannel

        def integration(self, receiver):
            return {"webhook_url": f"{receiver.url}/services/T000/B000/xoxs3cr3t"}

A channel that does not speak HTTP overrides :meth:`ChannelContract.receiver` as well.
"""

from __future__ import annotations

import asyncio
import json
import re
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec
import pytest
import structlog
from pydantic import ValidationError

from pulse_core.api import Channel, IntegrationConfig, PermanentFailure, TemporaryFailure
from pulse_core.masking import MASK, join_secrets, masked, split_secrets
from pulse_core.outbound import HttpClient, Outbound
from pulse_core.records import Notification
from pulse_core.testing.receivers import http_receiver

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

LOOPBACK = ("127.0.0.0/8", "::1/128")
HOSTILE = (
    "quote\" apostrophe' back\\slash",
    "<b>bold</b> <script>alert(1)</script> &amp;",
    "{braces} {{twice}} %s ${dollar} `tick`",
    "Grüße, 温度, حرارة, 🚨",
    "x" * 300,
)
"""Texts that a device's name or an alert's summary may hold. Each must reach people as it is."""

_PATIENCE_S = 20.0


class LocalServices:
    """The services of the platform, allowed to call loopback."""

    def __init__(self) -> None:
        self.outbound = Outbound(LOOPBACK)
        self.http = HttpClient(self.outbound, allow_plain_http=True)
        self.log: Any = structlog.get_logger("pulse_core.testing")


def a_notification(**changes: Any) -> Notification:
    """Return a notification of a silent device, changed as you say."""
    return msgspec.structs.replace(_SAMPLE, **changes)


_SAMPLE = Notification(
    alert_id="0d4ab6f2-6a2b-4a5e-9f5d-3c1a56c1f001",
    tenant_id="tenant-a",
    site_id="site-1",
    device_id="pump-7",
    alert_type="NO_HEARTBEAT",
    severity=4,
    severity_name="MAJOR",
    confidence=0.9,
    summary="pump-7 has been silent for 30 s",
    status="OPEN",
    event="OPEN",
    created_at="2026-01-02T03:04:05Z",
    delivery_id="5b1d3a52-7b33-4f0e-8d59-0f6f3f1c2002",
    details={"last_seen_at": "2026-01-02T03:03:35Z"},
)


class ChannelContract(ABC):
    """What every channel must do."""

    channel: ClassVar[type[Channel[Any]]]
    """The class under test."""

    @abstractmethod
    def integration(self, receiver: Any) -> dict[str, Any]:
        """Return what a customer would fill in to tell ``receiver``; fill in every secret there is."""

    def receiver(self) -> AbstractAsyncContextManager[Any]:
        """Run somebody to tell (a :class:`~pulse_core.testing.receivers.Receiver`); by default over HTTP."""
        return http_receiver()

    def seen(self, body: bytes) -> str:
        """Return the text that a person, or a program, reads in what arrived. By default all texts of its JSON."""
        return "\n".join(_texts(json.loads(body)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[Channel[Any], Any]]:
        """Run a channel and its receiver."""
        async with self.receiver() as receiver:
            services = LocalServices()
            channel = self.channel(self._parsed(receiver), services, self.channel.config_type())
            await channel.open()
            try:
                yield channel, receiver
            finally:
                await channel.close()
                await services.http.close()

    def _parsed(self, receiver: Any) -> IntegrationConfig:
        return self.channel.integration_type.model_validate(self.integration(receiver))

    # What the platform makes of its configuration

    def test_it_says_what_it_is(self) -> None:
        """A name for configuration files, and a line for people."""
        assert re.fullmatch(r"[a-z][a-z0-9_]*", self.channel.name)
        assert self.channel.summary
        assert "\n" not in self.channel.summary

    def test_every_field_explains_itself(self) -> None:
        """The form and the reference page are made of the schema: every field has a text, every model too."""
        schema = self.channel.integration_type.model_json_schema()
        json.dumps(schema, allow_nan=False)
        for model in (schema, *schema.get("$defs", {}).values()):
            if "properties" not in model:
                continue
            assert model.get("description"), model.get("title")
            for name, field in model["properties"].items():
                assert field.get("description"), f"{name} has no docstring"

    @pytest.mark.asyncio
    async def test_a_configuration_is_strict_and_frozen(self) -> None:
        """A misspelt field is an error, and nobody changes a configuration in use."""
        async with self.receiver() as receiver:
            fields = self.integration(receiver)
            with pytest.raises(ValidationError):
                self.channel.integration_type.model_validate({**fields, "no_such_field": 1})
            integration = self._parsed(receiver)
            with pytest.raises(ValidationError):
                setattr(integration, next(iter(fields)), None)

    @pytest.mark.asyncio
    async def test_secrets_are_told_to_nobody(self) -> None:
        """Not by texts for people, not by dumps, not by the endpoint's name; and they can be stored apart."""
        async with self.running() as (channel, receiver):
            integration = self._parsed(receiver)
            public, secrets = split_secrets(integration)
            shown = [
                repr(integration),
                str(integration),
                integration.model_dump_json(),
                json.dumps(public),
                json.dumps(masked(type(integration), public)),
                self.channel.endpoint(integration),
                repr(channel),
                str(channel),
            ]
            for value in _telling(secrets):
                assert not [text for text in shown if value in text], "a secret is shown"
            assert not secrets or MASK in json.dumps(public)
            assert join_secrets(type(integration), public, secrets) == integration

    @pytest.mark.asyncio
    async def test_a_refused_configuration_repeats_no_secret(self) -> None:
        """Validation errors go back to browsers and into logs."""
        async with self.receiver() as receiver:
            fields = self.integration(receiver)
            _, secrets = split_secrets(self._parsed(receiver))
            spoilt = [{**fields, "no_such_field": 1}]
            spoilt += [{**fields, name: value} for name in fields for value in _spoilt(fields[name])]
            for attempt in spoilt:
                try:
                    self.channel.integration_type.model_validate(attempt)
                except ValidationError as error:
                    told = str(error) + repr(error.errors(include_input=False, include_context=False))
                    assert not [value for value in _telling(secrets) if value in told]

    @pytest.mark.asyncio
    async def test_the_endpoint_is_stable(self) -> None:
        """The same configuration talks to the same endpoint, whenever it was loaded."""
        async with self.receiver() as receiver:
            first, second = (self.channel.endpoint(self._parsed(receiver)) for _ in range(2))
            assert first == second
            assert first

    # Telling

    @pytest.mark.asyncio
    async def test_it_delivers_and_can_be_repeated(self) -> None:
        """Returning means that it arrived; the same delivery sent again arrives again, the same."""
        async with self.running() as (channel, receiver):
            for _ in range(2):
                receipt = await channel.send(a_notification())
                assert receipt is None or isinstance(receipt, str)
            first, second = receiver.received
            assert self.seen(first.body) == self.seen(second.body)
            assert "pump-7" in self.seen(first.body)

    @pytest.mark.asyncio
    @pytest.mark.parametrize("event", ["OPEN", "ACKNOWLEDGED", "CLOSED"])
    async def test_every_event_can_be_told(self, event: str) -> None:
        """All of them, one after the other, through one object."""
        closed_at = "2026-01-02T03:05:00Z" if event == "CLOSED" else None
        async with self.running() as (channel, receiver):
            await channel.send(a_notification(event=event, status=event, closed_at=closed_at))
            assert len(receiver.received) == 1

    @pytest.mark.asyncio
    @pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
    async def test_hostile_texts_survive(self, text: str) -> None:
        """What a device calls itself can neither break a message nor hide in it."""
        async with self.running() as (channel, receiver):
            await channel.send(a_notification(summary=text, details={text: [text, None, 1.5]}))
            (arrived,) = receiver.received
            assert text in self.seen(arrived.body)

    @pytest.mark.asyncio
    async def test_line_breaks_make_no_second_message(self) -> None:
        """Neither header nor message injection."""
        async with self.running() as (channel, receiver):
            await channel.send(a_notification(summary="one\r\nX-Evil: 1\r\n\r\ntwo\x00\x1b[2J"))
            (arrived,) = receiver.received
            assert "x-evil" not in {name.lower() for name in arrived.headers}
            assert "two" in self.seen(arrived.body)

    @pytest.mark.asyncio
    async def test_side_by_side(self) -> None:
        """One object is used by several deliveries at once."""
        async with self.running() as (channel, receiver):
            names = {f"device-{number:02}" for number in range(10)}
            async with asyncio.timeout(_PATIENCE_S):
                await asyncio.gather(*(channel.send(a_notification(device_id=name)) for name in names))
            arrived = "\n".join(self.seen(item.body) for item in receiver.received)
            assert {name for name in names if name in arrived} == names

    # Failing

    @pytest.mark.asyncio
    @pytest.mark.parametrize(("mood", "failure"), [("temporary", TemporaryFailure), ("permanent", PermanentFailure)])
    async def test_it_says_whether_to_try_again(
        self, mood: str, failure: type[TemporaryFailure | PermanentFailure]
    ) -> None:
        """The receiver's refusal becomes one of the two failures, with a text that tells no secret."""
        async with self.running() as (channel, receiver):
            receiver.mood = mood
            with pytest.raises(failure) as caught:
                await channel.send(a_notification())
            self._says_something_but_no_secret(caught.value, receiver)
            receiver.mood = "ok"
            await channel.send(a_notification())

    @pytest.mark.asyncio
    async def test_nobody_there_is_temporary(self) -> None:
        """A receiver that is down may come back."""
        async with self.running() as (channel, receiver):
            await receiver.stop()
            with pytest.raises(TemporaryFailure) as caught:
                await channel.send(a_notification())
            self._says_something_but_no_secret(caught.value, receiver)

    @pytest.mark.asyncio
    async def test_it_lets_itself_be_interrupted(self) -> None:
        """The engine's time-out cancels: the channel goes at once, and works again afterwards."""
        async with self.running() as (channel, receiver):
            receiver.mood = "silent"
            sending = asyncio.create_task(channel.send(a_notification()))
            async with asyncio.timeout(_PATIENCE_S):
                while not receiver.received:
                    await asyncio.sleep(0.01)
                sending.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await sending
                receiver.mood = "ok"
                await channel.send(a_notification())

    @pytest.mark.asyncio
    async def test_it_leaves_nothing_running(self) -> None:
        """After close, no task of the channel is left; one that was never opened can be closed too."""
        before = asyncio.all_tasks()
        async with self.running() as (channel, receiver):
            await channel.send(a_notification())
            unused = self.channel(self._parsed(receiver), channel.services, self.channel.config_type())
            await unused.close()
        async with asyncio.timeout(_PATIENCE_S):
            while asyncio.all_tasks() - before:
                await asyncio.sleep(0.01)

    def _says_something_but_no_secret(self, error: Exception, receiver: Any) -> None:
        _, secrets = split_secrets(self._parsed(receiver))
        assert str(error)
        assert not [value for value in _telling(secrets) if value in str(error)]


def _telling(secrets: dict[str, Any]) -> list[str]:
    """Return the secrets that cannot stand in a text by chance."""
    return [value for value in secrets.values() if len(value) >= 4]  # noqa: PLR2004 - by chance


def _spoilt(value: Any) -> list[Any]:
    """Return wrong values that contain the right one."""
    return [[value], {"x": value}, f"{value}\n\x00", f"ftp://{value}", 17, None]


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []
