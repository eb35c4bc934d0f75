"""What a bench yields, and what it is given to work with."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from support.generator import Generator
from support.load_stats import LoadSpec
from support.product import Device, Product


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

    def __init__(self, *, full: bool) -> None:
        self.full = full
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
    def product(self, config: str = "") -> Iterator[Product]:
        """The product, fresh and running, its rate limit out of the way."""
        product = Product(self.fresh_folder(), config=config)
        try:
            product.start()
            product.raise_limits()
            yield product
        finally:
            product.stop()

    def load(self, **asked: Any) -> dict[str, Any]:
        """Run the load generator to its end and return its result."""
        return self.start_load(**asked).result(within_s=asked.get("seconds", 0) + 180)

    def start_load(self, **asked: Any) -> Generator:
        """Start the load generator."""
        return Generator(self.fresh_folder(), "load", asdict(LoadSpec(**asked)))


def devices(product: Product, count: int, *, tenant: str = "bench", **options: Any) -> list[Device]:
    """Register devices that never become stale by themselves."""
    return product.add_devices(tenant, count, **{"stale_after_s": 3600, **options})


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
