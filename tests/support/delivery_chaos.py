"""Transitions of alerts told over four channels while deliver processes are killed, and what each receiver heard.

Two deliver processes work one outbox: the product's own, which its supervisor starts again, and a second one, which is
started again here. Receivers write down what reaches them before they answer; afterwards their notes are compared with
the ledger.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from support.mosquitto import open_broker
from support.product import Product
from support.sink_process import Sink
from support.sinks import SinkSpec
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TENANT = "chaos"
PLUGINS = ["snmp", "email", "mqtt_channel"]
SETTINGS = "[delivery]\nattempt_timeout_s = 3\nlease_s = 5\n"
"""A dead process's deliveries are taken up after 13 s."""
LOST = "the worker ended before"
"""How the record of a lost attempt begins."""
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_CHUNK = 25
_CLOSED_LATER = 2
_DELAY_S = 0.03
"""Receivers take their time, so that something is always under way when a process dies."""

_TELL = """
    WITH made AS MATERIALIZED (
        SELECT a.alert_id, i.integration_id, gen_random_uuid() AS delivery_id
        FROM unnest(%(alerts)s::uuid[]) AS a (alert_id) CROSS JOIN unnest(%(integrations)s::uuid[])
            AS i (integration_id)
    )
    INSERT INTO deliveries (tenant_id, delivery_id, integration_id, alert_id, route_id, event, cause, notification,
                            due_at)
    SELECT %(tenant)s::text, delivery_id, integration_id, alert_id, integration_id, %(event)s::text, 'alert',
           jsonb_build_object(
               'alert_id', alert_id, 'tenant_id', %(tenant)s::text, 'site_id', 's-1', 'device_id', 'chaos-000000',
               'alert_type', 'NO_HEARTBEAT', 'severity', 4, 'severity_name', 'MAJOR', 'confidence', 0.9, 'summary', 'x',
               'status', %(event)s::text, 'event', %(event)s::text, 'created_at', '2026-09-21T14:13:20Z',
               'delivery_id', delivery_id), clock_timestamp()
    FROM made
"""
_OPEN = """
    INSERT INTO alerts (tenant_id, alert_id, device_id, site_id, alert_type, fingerprint, status, severity, confidence,
                        summary, opened_at)
    SELECT %s, alert_id, 'chaos-000000', 's-1', 'NO_HEARTBEAT', alert_id::text, 'OPEN', 4, 0.9, 'silent', now()
    FROM (SELECT gen_random_uuid() AS alert_id FROM generate_series(1, %s)) AS a
    RETURNING alert_id
"""
_UNFINISHED = "SELECT count(*) FROM deliveries WHERE status IN ('PENDING', 'SENDING', 'RETRYING')"
_LEDGER = """
    SELECT i.type, d.delivery_id::text, d.alert_id::text, d.event, d.status, COALESCE(d.last_error, ''),
           (SELECT count(*) FROM delivery_attempts t
            WHERE t.tenant_id = d.tenant_id AND t.delivery_id = d.delivery_id AND starts_with(t.detail, %s))
    FROM deliveries d JOIN integrations i USING (tenant_id, integration_id)
"""


@dataclass(frozen=True)
class Told:
    """A delivery as the ledger has it. ``lost_attempts``: how often a process died before it could say what came."""

    channel: str
    delivery_id: str
    alert_id: str
    event: str
    status: str
    reason: str
    lost_attempts: int

    @property
    def key(self) -> str:
        """What the receiver of this channel notes."""
        return f"{self.alert_id}/{self.event}" if self.channel == "snmp" else self.delivery_id


@dataclass(frozen=True)
class Verdict:
    """The ledger beside the receivers' notes."""

    transitions: int
    told_by_closed: int
    repeated: int
    lost: tuple[Told, ...]
    """Nobody heard of these, nor of what was to tell them."""
    unexplained: tuple[Told, ...]
    """These came more often than attempts were lost."""
    strangers: int
    """What came and stands in no ledger."""

    @property
    def holds(self) -> bool:
        """Everything was told, and more than once only where a process died in between."""
        return not self.lost and not self.unexplained and not self.strangers

    def __str__(self) -> str:
        return (
            f"{self.transitions} notifications: {len(self.lost)} lost {self.lost[:3]}, {self.told_by_closed} told by "
            f"their CLOSED, {self.repeated} came again, {len(self.unexplained)} of them unexplained "
            f"{self.unexplained[:3]}, {self.strangers} strangers"
        )


def judge(ledger: Sequence[Told], heard: Mapping[str, Counter[str]]) -> Verdict:
    """Compare. ``heard``: for each channel, how often each key came."""
    by_id = {one.delivery_id: one for one in ledger}
    keys = {(one.channel, one.key) for one in ledger}

    def came(one: Told) -> int:
        return heard[one.channel][one.key]

    def teller(one: Told) -> Told | None:
        return by_id.get(one.reason.removeprefix("told by delivery ").partition(":")[0])

    cancelled = [one for one in ledger if one.status == "CANCELLED"]
    untold = [one for one in cancelled if (by := teller(one)) is None or by.alert_id != one.alert_id or not came(by)]
    unheard = [one for one in ledger if one.status != "CANCELLED" and not came(one)]
    again = [one for one in ledger if came(one) > 1]
    return Verdict(
        transitions=len(ledger),
        told_by_closed=len(cancelled) - len(untold),
        repeated=len(again),
        lost=(*untold, *unheard),
        unexplained=tuple(one for one in again if came(one) > 1 + one.lost_attempts),
        strangers=sum((channel, key) not in keys for channel, counts in heard.items() for key in counts),
    )


class SecondWorker:
    """A deliver process beside the product's own."""

    def __init__(self, product: Product) -> None:
        self._command = [sys.executable, "-m", "pulse_server", "--config", str(product.folder / "pulse.toml")]
        self._log = product.folder / "second.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it, on whatever port is free for its metrics."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PULSE_")}
        environment["PULSE_METRICS_DELIVER__PORT"] = "0"
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "run", "--role", "deliver"], stdout=log, stderr=log, env=environment
            )

    def kill(self) -> None:
        """Kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()


@contextmanager
def stage(folder: Path, forget: int = 0) -> Iterator[tuple[Product, list[str], dict[str, Path]]]:
    """The product with an integration of each channel, and receivers; give it, the integrations' ids and the notes.

    :param forget: the webhooks' receiver loses every so-manieth: for showing that this is noticed.
    """
    notes = {kind: folder / f"{kind}.notes" for kind in ("webhook", "email", "snmp", "mqtt")}
    for path in notes.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    with ExitStack() as stack:
        (broker_port,) = stack.enter_context(open_broker(folder / "broker", settings="max_queued_messages 0"))
        ports = {"mqtt": broker_port}
        for kind in ("webhook", "email", "snmp"):
            lossy = forget if kind == "webhook" else 0
            sink = Sink(folder / kind, SinkSpec(kind, notes=str(notes[kind]), forget=lossy, delay_s=_DELAY_S))
            ports[kind] = stack.enter_context(sink).ports[0]
        reader = SinkSpec("mqtt", notes=str(notes["mqtt"]), broker_port=broker_port)
        stack.enter_context(Sink(folder / "reader", reader))
        product = Product(folder / "product", more_plugins=PLUGINS, config=SETTINGS)
        stack.callback(product.stop)
        product.start(within_s=120)
        product.add_devices(TENANT, 1, prefix=TENANT)
        yield product, [_integration(product, kind, port) for kind, port in ports.items()], notes


def _integration(product: Product, kind: str, port: int) -> str:
    here: dict[str, Any] = {"host": "127.0.0.1", "port": port}
    config = {
        "webhook": {"url": f"http://127.0.0.1:{port}/hook", "secret": _SECRET},
        "email": here | {"tls": "none", "from_address": "pulse@chaos.example", "to": ["ops@chaos.example"]},
        "snmp": here | {"community": "chaos", "notification": "inform", "timeout_s": 2},
        "mqtt": {"url": f"mqtt://127.0.0.1:{port}"},
    }[kind]
    body = {"tenant_id": TENANT, "type": kind, "name": kind, "config": config}
    return str(product.admin("integrations", body)["integration_id"])


def experiment(
    folder: Path, *, alerts: int, kills: int, every_s: tuple[float, float], seed: int | None = None, forget: int = 0
) -> Verdict:
    """Open and close so many alerts, kill so many times, wait until nothing is left to do, and judge."""
    chance = random.Random(seed)
    with stage(folder, forget) as (product, integrations, notes), product.superuser() as connection:
        second = SecondWorker(product)
        try:
            feed = _Feed(connection, integrations, alerts)
            for number in range(kills):
                feed.run_until(time.monotonic() + chance.uniform(*every_s), (number + 1) / (kills + 1))
                _kill(product, second, own=chance.random() < 0.5)
            feed.run_until(time.monotonic() + 1.0, 1.0)
            until_sync(
                lambda: connection.execute(_UNFINISHED).fetchone() == (0,),
                within_s=120 + alerts / 50,
                every_s=0.5,
                what="the end of all deliveries",
            )
            ledger = [Told(*row) for row in connection.execute(_LEDGER, (LOST,))]
            _wait_for_the_reader(ledger, notes["mqtt"])
        finally:
            second.kill()
    return judge(ledger, {kind: heard_in(path) for kind, path in notes.items()})


class _Feed:
    """Opens alerts chunk by chunk, and closes each chunk some chunks later: many are told by their CLOSED alone."""

    def __init__(self, connection: Any, integrations: list[str], alerts: int) -> None:
        self._connection = connection
        self._integrations = integrations
        self._alerts = alerts
        self._opened = 0
        self._waiting: list[list[Any]] = []

    def run_until(self, end_s: float, part: float) -> None:
        """Feed until so much of all is in, over the time that is left."""
        while self._opened < part * self._alerts:
            left = -(-(part * self._alerts - self._opened) // _CHUNK)
            self._open_some(min(_CHUNK, self._alerts - self._opened))
            time.sleep(max(0.0, end_s - time.monotonic()) / left)
        while part == 1.0 and self._waiting:
            self._tell(self._waiting.pop(0), "CLOSED")

    def _open_some(self, count: int) -> None:
        self._opened += count
        with self._connection.transaction():
            rows = self._connection.execute(_OPEN, (TENANT, count)).fetchall()
            self._waiting.append([row[0] for row in rows])
            self._tell(self._waiting[-1], "OPEN")
        if len(self._waiting) > _CLOSED_LATER:
            self._tell(self._waiting.pop(0), "CLOSED")

    def _tell(self, alerts: list[Any], event: str) -> None:
        values = {"alerts": alerts, "integrations": self._integrations, "tenant": TENANT, "event": event}
        self._connection.execute(_TELL, values)


def _kill(product: Product, second: SecondWorker, *, own: bool) -> None:
    if own:
        try:
            product.process("deliver", within_s=0.1).kill()
        except (AssertionError, psutil.NoSuchProcess):
            own = False  # its supervisor still waits before it starts it again
    if not own:
        second.kill()
        second.start()


def _wait_for_the_reader(ledger: Sequence[Told], notes: Path) -> None:
    """The broker has what was delivered; give its subscriber the time to hear of it."""
    wanted = {one.key for one in ledger if one.channel == "mqtt" and one.status == "DELIVERED"}
    end_s = time.monotonic() + 20
    while wanted - heard_in(notes).keys() and time.monotonic() < end_s:
        time.sleep(0.2)


def heard_in(notes: Path) -> Counter[str]:
    """How often each key was noted."""
    return Counter(line.split(" ", 1)[1] for line in notes.read_text().splitlines())
