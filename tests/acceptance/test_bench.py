"""The bench of pages, in a world of a hundredth: it says all that it is asked, whatever the figures."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from support.chromium import CHROMIUM
from support.pages import FETCHED
from support.tree import ROOT


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.skipif(not FETCHED, reason="needs what `make` fetches with npm")
@pytest.mark.timeout(400)
def test_the_bench_of_pages_says_all_that_it_is_asked() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--small", "pages"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    figures = re.findall(r"^\| (\S.*?) +\| (.*?) +\|", ran.stdout, re.MULTILINE)[2:]
    told = dict(figures)
    assert "/customer/dashboard: GET → page read" in told
    assert re.fullmatch(r"[0-9.]+ s; [1-9]\d+ KB sent, .*", told["/customer/devices/…: first load in Chromium"])
    assert "PUBACK → shown on the open page of its device (3 times)" in told
