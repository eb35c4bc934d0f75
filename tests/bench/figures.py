"""What a bench yields, and what it is given to work with."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from support.generator import Generator
from support.load_stats import LoadSpec
from support.product import Device, Product, add_devices, raise_limits


@dataclass(frozen=True)
class Fleet:
    """Devices to register: their tenant, how many, and their staleness threshold (an hour: never, in a bench)."""

    tenant: str
    count: int
    stale_after_s: float = 3600.0


@dataclass(frozen=True)
class Figure:
    """One line of the table. ``limit`` was measured in the same run; ``met`` says whether the aim was reached."""

    name: str
    value: str
    aim: str
    met: bool
    limit: str = "-"
    ratio: float | None = None


class Bench:
    """The means of one run of benches."""

    def __init__(self, *, full: bool, small: bool = False) -> None:
        self.full = full
        self.small = small
        self.folder = Path(tempfile.mkdtemp(prefix="pulse-bench-"))
        self.folder.chmod(0o755)
        self._runs = 0
        self.facts: dict[str, float] = {}
        """What one bench found out and another may use, such as the rate that can be sustained."""

    def close(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def fresh_folder(self) -> Path:
        """A folder of its own for each run."""
        self._runs += 1
        return self.folder / str(self._runs)

    @contextmanager
    def product(self, *fleets: Fleet, **options: Any) -> Iterator[tuple[Product, list[list[Device]]]]:
        """The product, fresh and running, with these devices, its rate limit out of the way."""
        product = Product(self.fresh_folder(), **options)
        try:
            with product.arranged() as connection:
                raise_limits(connection)
                made = [
                    add_devices(
                        connection, fleet.tenant, fleet.count, prefix=fleet.tenant, stale_after_s=fleet.stale_after_s
                    )
                    for fleet in fleets
                ]
            product.start(within_s=120)
            yield product, made
        finally:
            product.stop()

    def load(self, **asked: Any) -> dict[str, Any]:
        """Run the load generator to its end and return its result."""
        return self.start_load(**asked).result(within_s=asked.get("seconds", 0) + 180)

    def start_load(self, **asked: Any) -> Generator:
        """Start the load generator."""
        return Generator(self.fresh_folder(), "load", asdict(LoadSpec(**asked)))


class Meter:
    """The CPU that a role and PostgreSQL take while a block runs: what a busy machine does not change."""

    def __init__(self, product: Product, role: str = "pipeline", unit: str = "message") -> None:
        self._role = role
        self._unit = unit
        self._process = product.process(role)
        self._postgres = product.process("postgres")
        self.role_s = self.postgres_s = 0.0

    def __enter__(self) -> Self:
        self._before = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        spent = {pid: seconds - self._before.get(pid, 0.0) for pid, seconds in self._read().items()}
        self.role_s = spent.pop(self._process.pid)
        self.postgres_s = sum(spent.values())

    def each(self, count: int) -> str:
        """CPU time of one of ``count``, for people."""
        role, postgres = (1e6 * spent / max(1, count) for spent in (self.role_s, self.postgres_s))
        return f"CPU a {self._unit}: {self._role} {role:.0f} µs, PostgreSQL {postgres:.0f} µs"

    def _read(self) -> dict[int, float]:
        found = {}
        for process in (self._process, self._postgres, *self._postgres.children()):
            with suppress(psutil.NoSuchProcess):
                found[process.pid] = cpu_s(process)
        return found


def cpu_s(process: psutil.Process) -> float:
    """CPU time that a process has taken so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def percentile(values: list[float], part: float) -> float:
    """The value below which ``part`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]


def rss_mb(product: Product, *names: str) -> float:
    """Resident memory of the named processes together, in MB."""
    return sum(float(product.process(name).memory_info().rss) for name in names) / 1e6


def say(text: str) -> None:
    """Tell whoever waits what is going on, beside the table."""
    sys.stderr.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stderr.flush()


BenchFunction = Callable[[Bench], list[Figure]]
