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
ALL = "examples,coverage,fuzzing,stateful"
ASKED = {
    "customer_admin": ("^/customer/", ALL),
    "operator_admin": ("^/operator/", ALL),
    "admin key": ("^/api/admin/", ALL),
    "nobody": ("^/(?!ingest/)", "fuzzing"),
}
"""What each is to try, and how."""
CONFIG = """
[generation]
deterministic = true
max-examples = 6
[phases.stateful.generation]
max-examples = 30
"""
NOT_ASKED = "/test$"
"""Each waits for its outcome, and would go to an address that was made up."""


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    running = Product(tmp_path_factory.mktemp("asked"), more_plugins=["accounts"])
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


def ask(product: Product, folder: Path, *options: str) -> str:
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
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests"), "SCHEMATHESIS_HOOKS": "support.generated_hooks"},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("who", ASKED)
def test_no_answer_is_a_fault_or_one_that_the_document_does_not_allow(
    product: Product, tmp_path: Path, who: str
) -> None:
    paths, phases = ASKED[who]
    chosen = ("--include-path-regex", paths, "--exclude-path-regex", NOT_ASKED, "--phases", phases)
    said = ask(product, tmp_path, *credentials(product, who), *chosen)
    found = [re.search(pattern, said) for pattern in (r"Tested: (\d+)", r"(\d+) generated", r"Links: +(\d+) covered")]
    tested, generated, linked = (int(each[1]) if each else 0 for each in found)
    assert tested > 10, said
    assert generated > 300, said
    assert linked > 3 or phases != ALL, said
