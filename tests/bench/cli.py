"""Chooses benches, runs them one after the other, prints one table."""

from __future__ import annotations

import argparse
import datetime as dt
import os
import platform
import sys
from typing import TYPE_CHECKING

import psutil

from bench import (
    alert_storm,
    alerting,
    channels,
    crash,
    footprint,
    hanging,
    lists,
    mqtt_crowds,
    mqtt_fuzz,
    mqtt_ways,
    pages,
    sizes,
    telemetry,
    throughput,
    watched,
)
from bench.figures import Bench, BenchFunction, Figure, say

if TYPE_CHECKING:
    from collections.abc import Sequence

BENCHES: dict[str, BenchFunction] = {
    "mqtt": throughput.mqtt,
    "mqtt_many": mqtt_ways.mqtt_many,
    "mqtt_qos": mqtt_ways.mqtt_qos,
    "mqtt_tls": mqtt_ways.mqtt_tls,
    "mqtt_idle": mqtt_crowds.mqtt_idle,
    "mqtt_logins": mqtt_crowds.mqtt_logins,
    "mqtt_commands": mqtt_crowds.mqtt_commands,
    "http_batch": throughput.http_batch,
    "http_single": throughput.http_single,
    "watched": watched.watched,
    "silence": alerting.silence,
    "recovery": alerting.recovery,
    "storm": footprint.storm,
    "idle": footprint.idle,
    "memory": footprint.memory,
    "crash": crash.crash,
    "webhooks": channels.webhooks,
    "traps": channels.traps,
    "mails": channels.mails,
    "publishes": channels.publishes,
    "hanging": hanging.hanging,
    "storm_out": alert_storm.storm_out,
    "chaos": crash.chaos,
    "lists": lists.lists,
    "pages": pages.pages,
    "telemetry": telemetry.telemetry,
    "sizes": sizes.sizes,
    "fuzz": mqtt_fuzz.fuzz,
}


def main(arguments: Sequence[str]) -> int:
    """Run the benches that were named, or all of them. The exit code is 1 when one of them broke."""
    asked = _parser().parse_args(arguments)
    bench = Bench(full=asked.full, small=asked.small)
    figures: list[Figure] = []
    broken = 0
    try:
        for name in asked.names or BENCHES:
            say(f"{name}: {(BENCHES[name].__doc__ or '').partition(chr(10))[0]}")
            try:
                figures += BENCHES[name](bench)
            except (AssertionError, OSError, psutil.Error) as error:
                broken += 1
                say(f"{name} broke: {error}")
                figures.append(Figure(name, "broke", "-", met=False))
    finally:
        bench.close()
    sys.stdout.write(table(figures, " ".join(["python -m tests.bench", *arguments])))
    return 1 if broken else 0


def table(figures: Sequence[Figure], command: str) -> str:
    """Lay the figures out as a Markdown table, under the machine and the command."""
    head = ("figure", "measured", "limit in the same run", "ratio", "aim", "met")
    rows = [
        (
            one.name,
            one.value,
            one.limit,
            "-" if one.ratio is None else f"{one.ratio:.2f}",
            one.aim,
            "yes" if one.met else "no",
        )
        for one in figures
    ]
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in [head, tuple("-" * width for width in widths), *rows]
    ]
    return "\n".join([f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC, {machine()}", command, "", *lines]) + "\n"


def machine() -> str:
    """Say what this was measured on, and how busy it was with other things."""
    memory_gb = psutil.virtual_memory().total / 1e9
    busy = os.getloadavg()[2]
    return (
        f"{os.cpu_count()} cores, {memory_gb:.0f} GB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load average {busy:.1f}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *BENCHES], help=", ".join(BENCHES))
    parser.add_argument(
        "--small", action="store_true", help="a hundredth of the pages' and readings' world: does it work at all?"
    )
    parser.add_argument("--full", action="store_true", help="the issue's own durations: some 40 minutes in all")
    return parser
