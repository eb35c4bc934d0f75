"""docs/how-to/capacity.md: its table follows from its formulas, and its formulas from what things weigh."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from bench.sizes import METRICS, of_a_device, of_a_reading
from support.tree import ROOT

if TYPE_CHECKING:
    from support.database import Database

PAGE = (ROOT / "docs" / "how-to" / "capacity.md").read_text()
METRICS_A_READING, DAYS = 5, 90
MINUTES_A_DAY = 1440
GB = 1e9


def formula(name: str) -> tuple[float, ...]:
    """The numbers of a formula, in their order."""
    (found,) = re.findall(rf"^    {name} +(?:r )?= (.*)$", PAGE, re.MULTILINE)
    return tuple(float(each) for each in re.findall(r"(?<![\w.])\d+(?:\.\d+)?", found))


def rows() -> dict[int, tuple[str, ...]]:
    found = re.findall(r"^\| ([\d,]+) \| (.*) \|$", PAGE, re.MULTILINE)
    return {int(devices.replace(",", "")): tuple(rest.split(" | ")) for devices, rest in found}


def reckoned(devices: int) -> tuple[str, ...]:
    """A row, as the formulas have it, for a message a minute."""
    (per_minute,) = formula("readings a second")
    minutes, first_b, each_b = formula("disk a day")
    device_kb, rest_gb = formula("disk")
    single_us, least, more_us = formula("cores")
    base_gb, state_kb, index_b, index_minutes = formula("memory")
    assert minutes == index_minutes == MINUTES_A_DAY
    rate = devices / per_minute
    a_day = devices * minutes * (first_b + each_b * METRICS_A_READING)
    disk = DAYS * a_day + device_kb * 1e3 * devices + rest_gb * GB
    cores = min(single_us * 1e-6 * rate, least + more_us * 1e-6 * rate)
    memory = base_gb * GB + state_kb * 1e3 * devices + index_b * devices * index_minutes
    return (
        f"{rate:,.1f}" if rate < 10 else f"{rate:,.0f}",
        f"{a_day / GB:.2f} GB" if a_day < GB else f"{a_day / GB:.2g} GB",
        f"{disk / GB:,.0f} GB",
        f"{cores:.2f}",
        f"{memory / GB:.1f} GB",
    )


def test_the_table_follows_from_the_formulas() -> None:
    assert list(rows()) == [100, 1_000, 10_000, 100_000]
    assert {devices: reckoned(devices) for devices in rows()} == rows()


def test_the_formulas_follow_from_what_is_measured() -> None:
    told = re.search(
        r"1, 5, 20 metrics in PostgreSQL \| (\d+) B, (\d+) B, (\d+) B; of these (\d+) B in the index", PAGE
    )
    assert told
    *readings, index = map(int, told.groups())
    _, first_b, each_b = formula("disk a day")
    for metrics, measured in zip(METRICS, readings, strict=True):
        assert first_b + each_b * metrics == pytest.approx(measured, rel=0.02)
    assert formula("memory")[2] == pytest.approx(index, rel=0.05)
    single_us, least, more_us = formula("cores")
    cpu_us = {
        float(rate.replace(",", "")): float(us) for rate, us in re.findall(r"at ([\d,]+) a second \| (\d+) µs", PAGE)
    }
    assert set(cpu_us) == {1_000, 59_000}
    for rate, us in cpu_us.items():
        assert min(single_us * rate, least * 1e6 + more_us * rate) == pytest.approx(us * rate, rel=0.02)


def test_things_weigh_what_the_page_says(database: Database) -> None:
    """On a small scale: a schema that makes readings heavier must change the page."""
    _, first_b, each_b = formula("disk a day")
    with database.superuser() as connection:
        device = of_a_device(connection, 300)
        for metrics in METRICS:
            taken = of_a_reading(connection, metrics, 15)
            assert taken.bytes == pytest.approx(first_b + each_b * metrics, rel=0.15), metrics
            assert taken.indexes == pytest.approx(formula("memory")[2], rel=0.25)
    assert device.bytes < formula("disk")[0] * 1e3
