"""The running product, asked by Schemathesis for whatever its OpenAPI document allows, and for what it forbids.

Bounded: a fixed seed and a few examples an operation, so that the same is asked each time.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from http import HTTPStatus
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pulse_server.embedded import running_url
from support import two_tenants
from support.product import ADMIN_KEY, Product, status_of
from support.tree import ROOT
from support.waiting import until_sync

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECKS = [
    *("not_a_server_error", "status_code_conformance", "content_type_conformance"),
    *("response_headers_conformance", "response_schema_conformance"),
    *("negative_data_rejection", "missing_required_header", "unsupported_method"),
    *("ignored_auth", "use_after_free", "ensure_resource_availability"),
]
UNLIMITED = "[limits]\nwrites_per_s = 0\naddress_writes_per_s = 0\nfailures_per_minute = 0\n"
"""So that what is asked is answered, not only counted."""
ASKED = {
    "customer_admin": "^/customer/",
    "operator_admin": "^/operator/",
    "admin key": "^/api/admin/",
    "nobody": "^/(?!ingest/)",
}
WANDERERS = [who for who in ASKED if who != "nobody"]
"""Whom links lead on."""
HOOKS = "support.generated_hooks"
CONFIG = """
[generation]
deterministic = true
max-examples = 6
[phases.stateful.generation]
max-examples = 60
"""
NOT_ASKED = "/(test|events)$"
"""A test waits for its outcome, and would go to an address that was made up; a stream goes on for ever."""
NOT_ON_THE_WAY = f"{NOT_ASKED}|/api-tokens/"
"""A token that was revoked (DELETE) can still be looked at: who made it, when it was used last."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = Product(tmp_path_factory.mktemp("asked"), more_plugins=["accounts"], config=UNLIMITED)
    running.start()
    ready = f"http://127.0.0.1:{running.web_port}/readyz"
    until_sync(lambda: status_of(ready) == HTTPStatus.OK, what="the web role")
    two_tenants.fill(SimpleNamespace(url=running_url(running.data_dir / "postgres")))  # type: ignore[arg-type]
    yield running
    running.stop()


def credentials(product: Product, who: str) -> list[str]:
    """The header by which the product knows a caller."""
    if who == "nobody":
        return []
    if who == "admin key":
        return ["-H", f"X-Admin-Key: {ADMIN_KEY}"]
    tenant = ["--tenant", two_tenants.TENANTS[0]] if who == "customer_admin" else []
    said = product.pulse("tokens", "add", "--name", "generated", "--role", who, *tenant)
    token = re.search(r"pulse_[\w-]{43}", said.stdout)
    assert token, said.stderr
    return ["-H", f"Authorization: Bearer {token[0]}"]


def ask(product: Product, folder: Path, *options: str, **environment: str) -> str:
    """Run it; what it says at its end, if it found nothing wrong."""
    url = f"http://127.0.0.1:{product.web_port}/openapi.json"
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--no-color", "--config-file", str(config)),
            *("run", url, "--checks", ",".join(CHECKS), "--warnings", "off"),
            *("--continue-on-failure", "--request-timeout", "60", *options),
        ],
        cwd=folder,
        env={**os.environ, **environment, "PYTHONPATH": str(ROOT / "tests"), "SCHEMATHESIS_HOOKS": HOOKS},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr
    return done.stdout


def figures(said: str) -> tuple[int, int, int]:
    """How many operations were tested, how many links followed, and how many requests made."""
    found = [re.search(pattern, said) for pattern in (r"Tested: (\d+)", r"Links: +(\d+) covered", r"(\d+) generated")]
    tested, linked, generated = (int(each[1]) if each else 0 for each in found)
    return tested, linked, generated


@pytest.mark.slow
@pytest.mark.parametrize("who", ASKED)
def test_no_answer_is_a_fault_or_one_that_the_document_does_not_allow(
    product: Product, tmp_path: Path, who: str
) -> None:
    phases = "fuzzing" if who == "nobody" else "examples,coverage,fuzzing"
    chosen = ("--include-path-regex", ASKED[who], "--exclude-path-regex", NOT_ASKED, "--phases", phases)
    said = ask(product, tmp_path, *credentials(product, who), *chosen)
    tested, _, generated = figures(said)
    assert tested > 10, said
    assert generated > 300, said


@pytest.mark.slow
@pytest.mark.parametrize("who", WANDERERS)
def test_nor_is_any_on_the_way_from_what_is_made_to_what_can_be_done_with_it(
    product: Product, tmp_path: Path, who: str
) -> None:
    chosen = ("--include-path-regex", ASKED[who], "--exclude-path-regex", NOT_ON_THE_WAY, "--phases", "stateful")
    said = ask(product, tmp_path, *credentials(product, who), *chosen, "--mode", "positive", PULSE_PLAINLY="1")
    assert figures(said)[1] > 0, said  # how many of the hundreds, chance decides
