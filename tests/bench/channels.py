"""How much goes out: each channel, from a full outbox through the real deliver process to a cheap receiver."""

from __future__ import annotations

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.bare_client import BareSpec
from bench.figures import Bench, Figure, Fleet, Meter, say
from bench.outbox import DEVICES, TENANTS, Emptied, clear, emptied, fill, integrate
from bench.receiver import SECRET
from support.sink_process import Sink
from support.sinks import SinkSpec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bench.outbox import Integration
    from support.product import Product

MANY = 20
"""Endpoints, each with an integration."""
WARM_UP = 10
"""Deliveries of each integration, before anything is measured."""
_WITHIN_S = 180.0
_V3 = {
    "version": "3",
    "user": "bench",
    "auth_protocol": "SHA-256",
    "auth_password": "authentication of a bench",
    "priv_protocol": "AES-128",
    "priv_password": "privacy of a bench",
}
FLEETS = [Fleet(f"bench-{number}", DEVICES) for number in range(TENANTS)]


def webhooks(bench: Bench) -> list[Figure]:
    """Signed webhooks to 20 endpoints; then to one, 10 at a time."""
    count = _count(bench, 20_000)
    with bench.product(*FLEETS) as (product, _), Sink(bench.fresh_folder(), SinkSpec("webhook", MANY)) as sink:
        limit = bare(bench, "webhook", sink.ports, 200)
        many = integrate(product, "webhook", [webhook_config(port) for port in sink.ports])
        return [
            _figure(product, sink, many, count, f"Webhooks to {MANY} endpoints", 1000, limit),
            _figure(product, sink, many[:1], count // 4, "Webhooks to one endpoint, 10 at a time", 1000, limit),
        ]


def traps(bench: Bench) -> list[Figure]:
    """SNMP traps to 20 receivers: version 2c, and version 3 with SHA-256 and AES-128."""
    count, figures = _count(bench, 10_000), []
    with (
        bench.product(*FLEETS, more_plugins=["snmp"]) as (product, _),
        Sink(bench.fresh_folder(), SinkSpec("snmp", MANY)) as sink,
    ):
        limit = bare(bench, "snmp", sink.ports, 1)
        for name, security in (("v2c", {"community": "bench"}), ("v3 authPriv", _V3)):
            configs = [{"host": "127.0.0.1", "port": port, **security} for port in sink.ports]
            made = integrate(product, "snmp", configs)
            figures.append(_figure(product, sink, made, count, f"SNMP {name} traps to {MANY} receivers", 400, limit))
    return figures


def mails(bench: Bench) -> list[Figure]:
    """Mails on kept connections, three an integration, through 20 servers; then through one."""
    count = _count(bench, 6_000)
    with (
        bench.product(*FLEETS, more_plugins=["email"]) as (product, _),
        Sink(bench.fresh_folder(), SinkSpec("email", MANY)) as sink,
    ):
        limit = bare(bench, "email", sink.ports, 3 * MANY)
        many = integrate(product, "email", [_mail(port) for port in sink.ports])
        return [
            _figure(product, sink, many, count, f"Mails through {MANY} servers", 200, limit),
            _figure(product, sink, many[:1], count // 3, "Mails through one server, 3 at a time", 200, limit),
        ]


def publishes(bench: Bench) -> list[Figure]:
    """MQTT publishes with QoS 1 to Mosquitto: 20 integrations on 20 of its ports; then one."""
    count = _count(bench, 15_000)
    with bench.product(*FLEETS, more_plugins=["mqtt_channel"]) as (product, _), broker(bench, MANY) as ports:
        limit = bare(bench, "mqtt", ports, 200)
        many = integrate(product, "mqtt", [{"url": f"mqtt://127.0.0.1:{port}"} for port in ports])
        return [
            _figure(product, None, many, count, f"MQTT publishes (QoS 1) to {MANY} listeners", 1000, limit),
            _figure(product, None, many[:1], count // 3, "MQTT publishes to one listener, 10 at a time", 1000, limit),
        ]


def _count(bench: Bench, normal: int) -> int:
    return 5 * normal if bench.full else normal


def webhook_config(port: int) -> dict[str, Any]:
    """A webhook to a port of this machine."""
    return {"url": f"http://127.0.0.1:{port}/hook", "secret": SECRET}


def _mail(port: int) -> dict[str, Any]:
    addresses = {"from_address": "pulse@bench.example", "to": ["ops@bench.example"]}
    return {"host": "127.0.0.1", "port": port, "tls": "none", **addresses}


def _figure(
    product: Product,
    sink: Sink | None,
    integrations: list[Integration],
    count: int,
    name: str,
    aim: int,
    limit: float,
) -> Figure:
    say(name)
    got = sink.count if sink else 0
    result, spent = drain(product, integrations, count)
    arrived = sink.count - got - WARM_UP * len(integrations) if sink else count
    assert arrived == count, f"{arrived} of {count} arrived"
    return Figure(
        name,
        f"{result.rate:,.0f}/s recorded as delivered; {spent.each(count)}",
        f"≥ {aim:,}",
        result.rate >= aim,
        f"{limit:,.0f}/s: bare client",
        result.rate / limit,
    )


def drain(product: Product, integrations: list[Integration], count: int) -> tuple[Emptied, Meter]:
    """Deliver ``count`` after a short warm-up, and say how fast, and what it took."""
    with product.superuser() as connection:
        fill(connection, integrations, WARM_UP * len(integrations))
        emptied(connection, _WITHIN_S)
        clear(connection)
        with Meter(product, "deliver", "delivery") as spent:
            fill(connection, integrations, count)
            result = emptied(connection, _WITHIN_S)
        clear(connection)
    return result, spent


def bare(bench: Bench, kind: Any, ports: list[int], connections: int) -> float:
    """Let a bare client speak to the same receiver; return messages a second."""
    say(f"{kind}: a bare client")
    folder = bench.fresh_folder()
    folder.mkdir(parents=True)
    path = folder / "bare.json"
    path.write_bytes(msgspec.json.encode(BareSpec(kind, ports, connections, 5.0 if bench.full else 2.0)))
    done = subprocess.run(
        [sys.executable, "-m", "bench.bare_client", str(path)],
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
        check=True,
        capture_output=True,
    )
    return float(done.stdout)


@contextmanager
def broker(bench: Bench, listeners: int) -> Iterator[list[int]]:
    """Mosquitto for anybody, on loopback."""
    from support.mosquitto import open_broker

    with open_broker(bench.fresh_folder(), listeners) as ports:
        yield ports
