"""How much comes in over MQTT with other qualities of service, versions and numbers of connections, and over TLS."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from bench.figures import Bench, Figure, Fleet, Meter, say
from bench.footprint import committed
from support.certificates import Authority
from support.mqtt_crowd import allow_files
from support.product import free_ports

if TYPE_CHECKING:
    from support.product import Device, Product

CONNECTIONS, MANY = 200, 5_000
AIMS = {0: 25_000, 1: 20_000, 2: 8_000}
AIM_TLS = 0.7
NAMES = {4: "MQTT 3.1.1", 5: "MQTT 5"}
_WARM_UP_S = 3.0
_CONNECT_WITHIN_S = 120.0
_FILES = 12_000


def seconds_of(bench: Bench) -> float:
    """How long each run takes."""
    return 60.0 if bench.full else 3.0 if bench.small else 15.0


def mqtt_many(bench: Bench) -> list[Figure]:
    """MQTT QoS 1 from 5,000 connections, in both versions."""
    count = MANY // 50 if bench.small else MANY
    allow_files(_FILES)
    with bench.product(Fleet("bench", count)) as (product, (fleet,)):
        return [_figure(bench, product, fleet, qos=1, version=version, window=4) for version in (4, 5)]


def mqtt_qos(bench: Bench) -> list[Figure]:
    """MQTT QoS 0, 1 and 2 from 200 connections, MQTT 5 beside 3.1.1."""
    with bench.product(Fleet("bench", CONNECTIONS)) as (product, (fleet,)):
        rates: dict[tuple[int, int], float] = {}
        return [
            _figure(bench, product, fleet, qos=qos, version=version, beside=rates) for qos in AIMS for version in NAMES
        ]


def mqtt_tls(bench: Bench) -> list[Figure]:
    """MQTT QoS 1 over kept connections with TLS, beside the same without."""
    folder = bench.fresh_folder()
    folder.mkdir()
    authority = Authority(folder)
    authority.server("localhost")
    (port,) = free_ports(1)
    config = f'tls_cert = "{folder / "localhost.pem"}"\ntls_port = {port}\n'
    with bench.product(Fleet("bench", CONNECTIONS), config=config) as (product, (fleet,)):
        asked: dict[str, Any] = {"devices": fleet, "seconds": seconds_of(bench) / 2}
        plain = [_loaded(bench, product, **asked)]
        secret = [_loaded(bench, product, port=port, tls_ca=str(authority.file()), **asked) for _ in range(2)]
        plain.append(_loaded(bench, product, **asked))
    rates = [sum(result["rate"] for result, _ in runs) / 2 for runs in (plain, secret)]
    ratio = rates[1] / rates[0]
    return [
        Figure(
            f"MQTT QoS 1 over TLS, {CONNECTIONS} kept connections",
            f"{rates[1]:,.0f} msg/s acknowledged; {secret[0][1]}",
            "≥ 0.70 of plain",
            ratio >= AIM_TLS,
            f"{rates[0]:,.0f} msg/s without TLS; {plain[0][1]}",
            ratio,
        )
    ]


def _figure(
    bench: Bench,
    product: Product,
    fleet: list[Device],
    *,
    qos: int,
    version: int,
    window: int = 64,
    beside: dict[tuple[int, int], float] | None = None,
) -> Figure:
    say(f"mqtt: QoS {qos} of {NAMES[version]} from {len(fleet):,} connections")
    asked: dict[str, Any] = {
        "devices": fleet,
        "qos": qos,
        "version": version,
        "window": window,
        "seconds": seconds_of(bench),
    }
    result, cpu = (_read if qos == 0 else _loaded)(bench, product, **asked)
    rate = result["rate"]
    other = None
    if beside is not None:
        beside[qos, version] = rate
        other = beside.get((qos, 4)) if version != 4 else None
    return Figure(
        f"{NAMES[version]} QoS {qos}, {len(fleet):,} connections",
        f"{rate:,.0f} msg/s {'committed' if qos == 0 else 'acknowledged'}; {cpu}",
        f"≥ {AIMS[qos]:,}",
        rate >= AIMS[qos],
        f"{other:,.0f} msg/s: {NAMES[4]}" if other else "-",
        rate / other if other else None,
    )


def _loaded(bench: Bench, product: Product, *, port: int | None = None, **asked: Any) -> tuple[dict[str, Any], str]:
    """A run to its end. The CPU is that of its messages, from when all connections are there."""
    spec = {"way": "mqtt", "port": port or product.mqtt_port, "connections": len(asked["devices"]), **asked}
    load = bench.start_load(**spec)
    try:
        load.connected(within_s=_CONNECT_WITHIN_S)
        with Meter(product) as spent:
            result = load.result(within_s=asked["seconds"] + 180)
    finally:
        load.kill()
    assert not result["out_of_order"], result
    return result, spent.each(result["acknowledged"])


def _read(bench: Bench, product: Product, **asked: Any) -> tuple[dict[str, Any], str]:
    """A run that nobody acknowledges: what was committed in the middle of it counts."""
    spec = {"way": "mqtt", "port": product.mqtt_port, "connections": len(asked["devices"]), **asked}
    seconds = spec.pop("seconds")
    load = bench.start_load(**spec, seconds=seconds + 600)
    try:
        load.connected(within_s=_CONNECT_WITHIN_S)
        time.sleep(_WARM_UP_S)
        with Meter(product) as spent:
            before, began = committed(product), time.monotonic()
            time.sleep(seconds)
            count, took_s = committed(product) - before, time.monotonic() - began
    finally:
        load.kill()
    return {"rate": count / took_s}, spent.each(count)
