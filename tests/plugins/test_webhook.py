"""The webhook channel: a real HTTP server receives, the reference library verifies."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from pulse_core.api import EndpointGone, PermanentFailure, PluginConfig, TemporaryFailure
from pulse_core.testing.channels import ChannelContract, LocalServices, a_notification
from pulse_core.testing.receivers import HttpReceiver, http_receiver
from pulse_webhook.channel import WebhookChannel
from pulse_webhook.config import WebhookConfig

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


def _a_secret() -> str:
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


SECRET, OLD_SECRET = _a_secret(), _a_secret()


class TestWebhookContract(ChannelContract):
    channel = WebhookChannel

    def integration(self, receiver: HttpReceiver) -> dict[str, Any]:
        return {
            "url": f"{receiver.url}/hook",
            "secret": SECRET,
            "previous_secret": OLD_SECRET,
            "headers": {"Authorization": "Bearer t0k3n-of-the-receiver"},
        }


@pytest.fixture
async def receiver() -> AsyncIterator[HttpReceiver]:
    async with http_receiver() as running:
        yield running


@pytest.fixture
async def services() -> AsyncIterator[LocalServices]:
    made = LocalServices()
    yield made
    await made.http.close()


def _channel(receiver: HttpReceiver, services: LocalServices, **fields: Any) -> WebhookChannel:
    config = WebhookConfig.model_validate({"url": f"{receiver.url}/hook?a=1", "secret": SECRET, **fields})
    return WebhookChannel(config, services, PluginConfig())


async def test_the_reference_library_accepts_the_signature(receiver: HttpReceiver, services: LocalServices) -> None:
    notification = a_notification(summary="Grüße 🚨")
    receipt = await _channel(receiver, services).send(notification)
    (arrived,) = receiver.received
    payload = Webhook(SECRET).verify(arrived.body, dict(arrived.headers))
    assert payload == json.loads(notification.to_json())
    assert arrived.path == "/hook?a=1"
    assert arrived.headers["content-type"] == "application/json"
    assert arrived.headers["webhook-id"] == notification.delivery_id
    assert receipt.startswith("HTTP 200 from 127.0.0.1 in ")
    assert receipt.endswith(" ms: thank you")


async def test_a_changed_body_or_another_secret_is_refused(receiver: HttpReceiver, services: LocalServices) -> None:
    await _channel(receiver, services).send(a_notification())
    (arrived,) = receiver.received
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(arrived.body.replace(b"pump-7", b"pump-8"), dict(arrived.headers))
    with pytest.raises(WebhookVerificationError):
        Webhook(OLD_SECRET).verify(arrived.body, dict(arrived.headers))


async def test_during_rotation_both_secrets_verify(receiver: HttpReceiver, services: LocalServices) -> None:
    await _channel(receiver, services, previous_secret=OLD_SECRET).send(a_notification())
    (arrived,) = receiver.received
    assert len(arrived.headers["webhook-signature"].split(" ")) == 2
    for secret in (SECRET, OLD_SECRET):
        Webhook(secret).verify(arrived.body, dict(arrived.headers))


async def test_the_message_id_is_stable_over_retries(receiver: HttpReceiver, services: LocalServices) -> None:
    channel = _channel(receiver, services)
    receiver.status = 503
    with pytest.raises(TemporaryFailure):
        await channel.send(a_notification())
    receiver.status = None
    await channel.send(a_notification())
    first, second = (arrived.headers["webhook-id"] for arrived in receiver.received)
    assert first == second == a_notification().delivery_id


async def test_own_headers_are_sent(receiver: HttpReceiver, services: LocalServices) -> None:
    await _channel(receiver, services, headers={"Authorization": "Bearer x", "X-Team": "a"}).send(a_notification())
    (arrived,) = receiver.received
    assert (arrived.headers["authorization"], arrived.headers["x-team"]) == ("Bearer x", "a")


@pytest.mark.parametrize(
    ("status", "failure"),
    [
        (301, PermanentFailure),
        (307, PermanentFailure),
        (400, PermanentFailure),
        (404, PermanentFailure),
        (408, TemporaryFailure),
        (410, EndpointGone),
        (425, TemporaryFailure),
        (429, TemporaryFailure),
        (500, TemporaryFailure),
        (504, TemporaryFailure),
    ],
)
async def test_what_an_answer_means(
    receiver: HttpReceiver, services: LocalServices, status: int, failure: type[Exception]
) -> None:
    receiver.status = status
    receiver.answer_headers = {"Location": f"{receiver.url}/elsewhere", "Retry-After": "7"}
    with pytest.raises(failure) as caught:
        await _channel(receiver, services).send(a_notification())
    assert type(caught.value) is failure
    assert f"HTTP {status}" in str(caught.value)
    assert len(receiver.received) == 1, "a redirect was followed"
    if isinstance(caught.value, TemporaryFailure):
        assert caught.value.retry_after_s == 7


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_delivered(receiver: HttpReceiver, services: LocalServices, status: int) -> None:
    receiver.status = status
    receiver.answer = b""
    assert f"HTTP {status} from" in await _channel(receiver, services).send(a_notification())


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "secret",
        base64.b64encode(b"x" * 32).decode(),
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_!!!!",
        "whsec_" + "ä" * 40,
    ],
)
def test_a_weak_or_malformed_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValidationError, match="openssl rand"):
        WebhookConfig.model_validate({"url": "https://example.com/", "secret": secret})


@pytest.mark.parametrize(
    "headers",
    [
        {"Webhook-Id": "1"},
        {"webhook-signature": "v1,x"},
        {"Content-Type": "text/plain"},
        {"HOST": "internal"},
        {"Content-Length": "0"},
        {"Transfer-Encoding": "chunked"},
        {"Proxy-Authorization": "x"},
        {"X-A": "1\r\nX-B: 2"},
        {"X-A": "1\n2"},
        {"X-A\r\nX-B": "1"},
        {"X A": "1"},
        {"": "1"},
        {"X-A": "ä"},
        {"X-A": "x" * 5000},
        {"X-A": "1", "x-a": "2"},
        {f"X-{number}": "1" for number in range(21)},
    ],
)
def test_headers_that_cannot_be_sent_are_refused(headers: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        WebhookConfig.model_validate({"url": "https://example.com/", "secret": SECRET, "headers": headers})


def test_one_server_is_one_endpoint() -> None:
    endpoints = {
        WebhookChannel.endpoint(WebhookConfig.model_validate({"url": url, "secret": SECRET}))
        for url in ("https://Example.com/a?k=s3cret", "https://example.com:443/b")
    }
    assert endpoints == {"https://example.com:443"}
