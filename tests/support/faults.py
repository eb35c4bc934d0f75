"""What a delivery makes of a fault: the real channels and the real engine over PostgreSQL, and a peer that misbehaves.

A table of :class:`Fault` is a module of ``tests/acceptance``; :meth:`Bench.meet` runs one row and judges it.
"""

from __future__ import annotations

import asyncio
import base64
import time
import tracemalloc
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from pulse_core.clock import SystemClock
from pulse_core.delivery import CONTRACT, Channels, DeliveryEngine
from pulse_core.outbound import HttpClient, Outbound
from pulse_core.outbound.names import Resolver
from pulse_core.secrets import split_secrets
from pulse_core.testing.channels import LOOPBACK, LocalServices
from pulse_core.testing.receivers import HttpReceiver, http_receiver
from pulse_email.channel import EmailChannel
from pulse_mqtt_channel.channel import MqttChannel
from pulse_snmp.channel import SnmpChannel
from pulse_webhook.channel import WebhookChannel
from support.certificates import Authority
from support.channels_of_tests import BOX
from support.delivering import NOON, config, running
from support.outbox import Noted, PostgresOutbox, S, State, make

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from pulse_core.api import Channel
    from pulse_core.outbound.names import LookUp
    from pulse_core.outbox import StoredIntegration
    from pulse_core.ports import Clock
    from pulse_core.records import Delivery
    from pulse_core.schedule import Schedule
    from support.database import Database

DELIVERED, RETRYING, DEAD = "DELIVERED", "RETRYING", "DEAD"
OUTCOME = {DELIVERED: "DELIVERED", RETRYING: "TEMPORARY", DEAD: "PERMANENT"}
SIGNING_SECRET = "whsec_" + base64.b64encode(b"the signing secret of the tables").decode()
TOKEN = "h3ader-t0ken-0f-the-receiver"
HEADER_SECRET = f"Bearer {TOKEN}"
URL_SECRETS = ("p4th-s3cret", "qu3ry-s3cret")
QUICK_S, AMPLE_S = 2.0, 30.0
"""How long an attempt may take: where the fault is that nothing comes, and where the machine may be busy."""

_GRACE_S = 3.0
"""For a cancelled attempt to end."""
_MOST_MEMORY_BYTES = 16 * 1024 * 1024
_CHANNELS: dict[str, type[Channel[Any]]] = {
    each.name: each for each in (WebhookChannel, EmailChannel, SnmpChannel, MqttChannel)
}


class Peer(Protocol):
    """Somebody who misbehaves. ``fields`` is what a customer fills in to be told by way of him."""

    @property
    def fields(self) -> dict[str, Any]: ...

    @property
    def heard(self) -> int:
        """How often the whole message arrived there."""


@dataclass(frozen=True)
class Fault:
    """A row: who misbehaves, and what becomes of a delivery after one attempt.

    ``says`` stands in the attempt's detail, or in the receipt of what is delivered. ``wait_s``: until the retry.
    ``heard``: whether the whole message reached the peer. ``slow``: nothing comes, and the attempt's time runs out.
    ``heavy``: the peer sends more than fits into memory.
    """

    name: str
    peer: Callable[[Bench], AbstractAsyncContextManager[Peer]]
    status: str
    says: str
    wait_s: float = 5.0
    heard: bool = True
    slow: bool = False
    heavy: bool = False
    disables: bool = False

    def __str__(self) -> str:
        return self.name


class Bench:
    """A delivery engine's surroundings: an outbox, services that may call loopback, and a receiver who is well."""

    def __init__(self, database: Database, outbox: PostgresOutbox, friend: HttpReceiver, authority: Authority) -> None:
        self.database, self.outbox, self.friend, self.authority = database, outbox, friend, authority
        self.services = LocalServices()
        self.trust(_named)
        self._secrets: set[str] = set(URL_SECRETS)

    def trust(self, look_up: LookUp, *, allow: Sequence[str] = LOOPBACK) -> None:
        """Have channels find names with ``look_up`` and call the networks ``allow``."""
        self.services.outbound = Outbound(allow, tls=self.authority.client(), look_up=look_up)
        self.services.http = HttpClient(self.services.outbound, allow_plain_http=True)

    async def integrate(self, kind: str, fields: dict[str, Any]) -> StoredIntegration:
        """Store an integration as the admin API does: secrets apart and encrypted."""
        model = _CHANNELS[kind].integration_type.model_validate(fields)
        public, secrets = split_secrets(model)
        for secret in secrets.values():
            self._secrets |= {secret, base64.b64encode(secret.encode()).decode()}
        return await self.outbox.integrate(type=kind, config=public, secrets=BOX.seal(secrets))

    async def befriend(self) -> StoredIntegration:
        """Store an integration whose receiver is well."""
        return await self.integrate("webhook", webhook(self.friend.url))

    def engine(
        self, timeout_s: float = AMPLE_S, *, schedule: Schedule = CONTRACT, clock: Clock | None = None
    ) -> DeliveryEngine:
        """An engine with lines of its own, without jitter."""
        lines = Channels(_CHANNELS, lambda channel: channel.config_type(), BOX, lambda _: self.services)
        return DeliveryEngine(
            self.outbox.store,
            lines,
            config(attempt_timeout_s=timeout_s),
            clock=clock or SystemClock(),
            schedule=schedule,
            random=lambda: NOON,
        )

    async def meet(self, fault: Fault, kind: str, peer: Peer) -> None:
        """Send one delivery to the peer, and one to somebody else at the same time; judge what became of both."""
        faulty, healthy = await self.integrate(kind, peer.fields), await self.befriend()
        bad, good = make(faulty, due_us=now_us()), make(healthy, due_us=now_us())
        async with running(self.engine(QUICK_S if fault.slow else AMPLE_S)):
            with memory_bounded(fault.heavy):
                await self.outbox.insert([bad, good])
                state, noted = await self.settled(bad), await self.outbox.noted(bad)
            await self.settled(good)
        self._judge(fault, state, noted)
        await self._judge_the_other(bad, good, slow=fault.slow)
        assert peer.heard == int(fault.heard)
        after = await self.outbox.integration(faulty)
        assert (after.enabled, bool(after.disabled_reason)) == (not fault.disables, fault.disables)
        assert (await self.outbox.integration(healthy)).enabled

    async def settled(self, delivery: Delivery, *, attempts: int = 1, within_s: float = 60.0) -> State:
        """Wait until so many attempts are over."""
        end_s = time.monotonic() + within_s
        while len(await self.outbox.noted(delivery)) < attempts:
            assert time.monotonic() < end_s, f"no attempt {attempts} was recorded: {await self.outbox.state(delivery)}"
            await asyncio.sleep(0.02)
        return await self.outbox.state(delivery)

    def written(self) -> str:
        """Everything that the ledger says, whatever its columns are."""
        tables = ("delivery_attempts", "deliveries", "breakers")
        queries = [f"SELECT t::text FROM {table} t" for table in tables]
        queries.append("SELECT coalesce(disabled_reason, '') FROM integrations")
        with self.database.superuser() as connection:
            return "\n".join(str(row[0]) for query in queries for row in connection.execute(query))

    def betrayed(self, text: str) -> set[str]:
        """Which of the secrets that were used here stand in ``text``."""
        return {secret for secret in self._secrets if secret in text}

    def _judge(self, fault: Fault, state: State, noted: list[Noted]) -> None:
        (attempt,) = noted
        assert (state.status, attempt.attempt, attempt.outcome) == (fault.status, 1, OUTCOME[fault.status]), attempt
        said = attempt.receipt if fault.status == DELIVERED else attempt.detail
        assert fault.says in said
        assert (attempt.detail == "") == (fault.status == DELIVERED)
        assert (state.last_error or "") == attempt.detail
        assert max(len(attempt.detail), len(attempt.receipt)) <= 1024
        assert not fault.slow or attempt.duration_ms / 1000 < QUICK_S + _GRACE_S
        if fault.status == RETRYING:
            wait_us = state.due_us - attempt.started_us - attempt.duration_ms * 1000
            assert wait_us / S == pytest.approx(fault.wait_s, abs=2)
            assert (state.finished_us, state.leased_by) == (None, None)
        else:
            assert state.finished_us is not None

    async def _judge_the_other(self, bad: Delivery, good: Delivery, *, slow: bool) -> None:
        (arrived,) = self.friend.received
        assert arrived.headers["webhook-id"] == str(good.delivery_id), "somebody else's delivery came here"
        attempt, beside = (await self.outbox.noted(good))[0], (await self.outbox.noted(bad))[0]
        assert (await self.outbox.state(good)).status == DELIVERED
        if slow:
            assert attempt.started_us + attempt.duration_ms * 1000 < beside.started_us + beside.duration_ms * 1000


@asynccontextmanager
async def bench(database: Database, folder: Path) -> AsyncIterator[Bench]:
    """Set a bench up."""
    outbox = await PostgresOutbox.open(database)
    async with http_receiver() as friend:
        made = Bench(database, outbox, friend, Authority(folder))
        try:
            yield made
        finally:
            await made.services.http.close()
            await outbox.close()


def webhook(url: str, **fields: Any) -> dict[str, Any]:
    """What a customer fills in for a webhook, with a secret wherever there is room for one."""
    path, query = URL_SECRETS
    headers = {"Authorization": HEADER_SECRET}
    return {"url": f"{url}/{path}?token={query}", "secret": SIGNING_SECRET, "headers": headers, **fields}


def now_us() -> int:
    return SystemClock().now_us()


@contextmanager
def memory_bounded(measured: bool) -> Iterator[None]:
    """With ``measured``, fail if more is held at any moment than a peer may make us hold. (Measuring is slow.)"""
    if not measured:
        yield
        return
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield
        assert tracemalloc.get_traced_memory()[1] - before < _MOST_MEMORY_BYTES
    finally:
        tracemalloc.stop()


async def _named(host: str, port: int) -> list[str]:
    """Everybody under ``example`` is at home; others are looked up as in production."""
    return ["127.0.0.1"] if host.endswith(".example") else await Resolver().look_up(host, port)
